"""Training engines on two processes, each as its users start it."""

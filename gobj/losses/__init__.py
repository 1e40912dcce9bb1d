"""The losses without state."""

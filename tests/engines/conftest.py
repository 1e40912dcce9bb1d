"""Leave the scripts of the engines to be started by the test."""

collect_ignore = ["ddp.py", "fsdp.py", "lightning_ddp.py", "accelerate_loop.py", "trainer.py"]

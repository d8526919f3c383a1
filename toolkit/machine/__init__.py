"""What this machine has: processor, GPUs, packages, and whether they work."""

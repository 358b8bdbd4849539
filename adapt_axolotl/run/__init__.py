"""One training run: what it draws, its state from step to step, and its checkpoints."""

"""What a run leaves behind in `<output_dir>/adapt/`: written atomically, read by anyone. The names
and keys are a contract; see docs/architecture.md."""

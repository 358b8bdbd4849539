"""What the tasks' validation losses are folded into: one objective a file, behind one type."""

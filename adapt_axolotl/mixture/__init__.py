"""What to draw: static schemes, the learned mixture, the objectives. Pure numpy; K tasks."""

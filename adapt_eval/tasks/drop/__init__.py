"""DROP with another stop."""

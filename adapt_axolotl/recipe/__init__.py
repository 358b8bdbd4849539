"""A recipe as the user wrote it: read and checked, changed line by line, searched for dangers."""

"""The `adapt:` block of a recipe: each key with its meaning and its check."""

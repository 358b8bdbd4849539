"""Task files of our own for lm-eval, which reads the YAML; see each for why it is here."""

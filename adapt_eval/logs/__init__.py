"""Results that others measured: logs of lm-eval, Inspect and lighteval, one module each."""

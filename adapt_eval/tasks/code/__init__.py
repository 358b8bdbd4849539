"""Benchmarks that run code: lm-eval's, with our sandbox as the scorer."""

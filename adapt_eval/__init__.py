"""Evaluation of fine-tuned models: suites of benchmarks. Stands on its own."""

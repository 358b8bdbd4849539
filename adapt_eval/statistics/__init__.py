"""The statistics of paired comparisons, after Miller 2024 (arXiv 2411.00640).

Legend: n items, C clusters, d differences of shape (n,), R resamples, K benchmarks.
Numpy and SciPy only; nothing here knows what a benchmark is.
"""

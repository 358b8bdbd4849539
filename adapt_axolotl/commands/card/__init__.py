"""A run as a folder that can be shared: its card, its recipe, the picture of its mixture.

The one folder that reads what `adapt-eval` leaves, through `adapt_eval` itself.
"""

"""Which of two or more runs is better, how sure that is, and what it cost in tokens."""

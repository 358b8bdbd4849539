"""How many supervised tokens a run may train on: the amount, the ledger that keeps to it, and the
learning-rate schedule that follows it."""

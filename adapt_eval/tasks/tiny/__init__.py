"""The embedded suite: four families on data made here."""

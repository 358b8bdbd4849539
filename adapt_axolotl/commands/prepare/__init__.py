"""A clone of allenai/natural-instructions as a mixture of task types, one task for each type:
`adapt-axolotl prepare natural-instructions`."""

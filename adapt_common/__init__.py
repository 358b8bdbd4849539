"""What `adapt_axolotl` and `adapt_eval` both do with files, git, Markdown and run records.

Standard library only, so that importing it costs nothing.
"""

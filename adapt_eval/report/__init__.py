"""What a person reads: tables in the terminal, Markdown, and one HTML page."""

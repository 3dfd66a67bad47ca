"""A table on the terminal, as HTML, Markdown, LaTeX and CSV. Nothing here computes a number."""

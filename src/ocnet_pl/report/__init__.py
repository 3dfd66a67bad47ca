"""Reports of a table: terminal, HTML, Markdown, LaTeX and CSV. They compute no scores."""

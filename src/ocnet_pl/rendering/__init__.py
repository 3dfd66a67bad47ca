"""A table as text, files and pictures. Nothing here computes a number."""

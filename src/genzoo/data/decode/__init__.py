"""Careful readers of files: one for each kind of content."""

"""From tensors to pictures and files: how examples of every kind are drawn and written."""

STILLS = (".png", ".jpg", ".jpeg", ".webp")
"""Endings of the pictures that can be written."""
FILMS = (".gif", ".mp4")
"""Endings of the films that can be written."""

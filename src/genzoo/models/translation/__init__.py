"""Systems of the translation family."""

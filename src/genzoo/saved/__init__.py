"""Keep a system in a file, and make it from the file again."""

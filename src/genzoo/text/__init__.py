"""Text, as files and as words: TOML and JSON read and written, captions and prompts cut into the words of a vocabulary."""

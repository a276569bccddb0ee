"""From tensors to pictures and files: how examples of every kind are drawn and written."""

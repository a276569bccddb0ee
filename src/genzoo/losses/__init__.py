"""Pure functions of tensors that systems minimise or score with."""

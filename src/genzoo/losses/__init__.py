"""Pure functions of tensors that systems minimize or score with."""

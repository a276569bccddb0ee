"""Systems of the conditional family."""

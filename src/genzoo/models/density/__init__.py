"""Systems of the density family."""

"""Systems of the flows family."""

"""Systems of the exemplar family."""

"""Trained systems for other programs: what of a system can be a file, its graph, the comparison, and what is said beside it."""

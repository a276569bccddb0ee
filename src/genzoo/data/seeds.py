"""The seed of the one stored order of every data set: a split is a property of the data, not of a run."""

ORDER_SEED = 20_140_610
"""Never changed: a set that is cached today is found again, in the same order."""

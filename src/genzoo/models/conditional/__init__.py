"""Systems of the conditional family.

Strong at: images of a class that one names.

Fails by: as adversarial; a class may collapse by itself, and a label that the data hardly have gives little.
"""

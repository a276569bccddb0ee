"""Systems of the adversarial family.

Strong at: sharp samples in one pass, at any size; walks through a latent space.

Fails by: collapse to a part of the data, players that circle or of whom one wins; nothing says how probable an image is, so what is missing
shows only in recall, coverage and counts of modes.
"""

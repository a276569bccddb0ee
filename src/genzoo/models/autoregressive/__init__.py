"""Systems of the autoregressive family.

Strong at: the best likelihoods, completion of any missing part, lossless compression.

Fails by: drawing is one pass for each pixel or sample; no latent space; what is far apart hangs together loosely.
"""

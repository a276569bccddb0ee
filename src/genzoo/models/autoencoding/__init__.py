"""Systems of the autoencoding family.

Strong at: codes: reconstruction, editing, compact latents for another model to learn; training that converges.

Fails by: blurred samples where pixels are averaged over what the code does not hold; a bound and not the likelihood; codes that go unused
(posterior collapse, dead entries of a codebook).
"""

"""Systems of the exemplar family.

Strong at: a texture from one picture, without training.

Fails by: growing garbage or copying verbatim; slow at large windows; nothing but texture.
"""

"""Systems of the translation family.

Strong at: mapping images of one domain to another, with or without pairs.

Fails by: changes of shape; details hidden in the output so that the way back succeeds; a wrong match that loses nothing.
"""

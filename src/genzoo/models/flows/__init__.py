"""Systems of the flows family.

Strong at: exact likelihood, sampling and encoding in one pass each; checks that a map can be inverted.

Fails by: as many latents as pixels, so large and slow nets for what they reach; volume and continuity must be kept, so thin or separate
supports are bridged; high likelihood beside poor samples.
"""

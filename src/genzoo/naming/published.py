"""What names of published trained models begin with; such a name stands wherever a run is taken, and is no path and no system."""

HUB = "hf:"
"""A model of the Hugging Face hub, hf:OWNER/NAME."""
ZOO = "zoo:"
"""A model of the package genzoo-zoo, or one that 'genzoo import' fetches: zoo:NAME."""
PUBLISHED = (HUB, ZOO)

"""The studio: a page on one's own machine over the public API (`genzoo studio runs/`)."""

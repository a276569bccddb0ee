"""From a source to a cache entry: how examples of every kind are chosen, brought to one form and stored, row by row."""

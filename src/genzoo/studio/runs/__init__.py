"""What the pages of runs show and do, without any web: states, curves, forms, processes, blind tests."""

"""Programs that made what the package ships: `python -m tools.NAME` from the root of the repository."""

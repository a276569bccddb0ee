"""Endpoints, one file for each: `NEEDS` names the capabilities that a system must have, and `add(app, served)` adds it. They are found by file."""

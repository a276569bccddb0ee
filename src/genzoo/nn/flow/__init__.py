"""Modules of normalizing flows that two or more systems share."""

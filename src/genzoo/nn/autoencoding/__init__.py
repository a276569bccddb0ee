"""Modules of autoencoders that two or more systems share."""

"""Modules of adversarial networks that two or more systems share."""

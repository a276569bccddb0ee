"""Modules of autoregressive models that two or more systems share."""

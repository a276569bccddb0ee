"""Systems of the autoregressive family."""

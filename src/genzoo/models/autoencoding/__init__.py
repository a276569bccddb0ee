"""Systems of the autoencoding family."""

"""Systems of the adversarial family."""

"""What a trained system is used for: one module per verb, each over a capability of `core.capabilities`, none over a name."""

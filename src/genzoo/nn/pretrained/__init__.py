"""Published networks with frozen weights."""

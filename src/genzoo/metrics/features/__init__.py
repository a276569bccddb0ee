"""Feature extractors: the networks behind them, their weights, their resizing."""

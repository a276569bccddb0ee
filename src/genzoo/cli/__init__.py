"""The command line: thin functions over the public API, and one table of them."""

"""Find the class behind a name, a file or an installed package, and what is known of it without importing torch."""

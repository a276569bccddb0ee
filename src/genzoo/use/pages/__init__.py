"""Static pages and charts."""

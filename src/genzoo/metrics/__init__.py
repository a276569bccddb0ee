"""Measures: pure maths in functions, streaming state in small classes; feature extractors carry their name and digest."""

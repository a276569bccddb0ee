"""What several measures compute with."""

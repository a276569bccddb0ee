"""What other programs have trained, taken in as runs: their files are read and nothing in them is executed."""

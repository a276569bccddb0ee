"""What each system reaches on real data. `python -m proofs` lists the proofs and runs them; the pages they fill are docs/results."""

"""The systems, one file each, in family folders that hold systems and nothing else."""

"""The core: what a system is, where systems are found, how a signature becomes a form, and how a checkpoint is kept."""

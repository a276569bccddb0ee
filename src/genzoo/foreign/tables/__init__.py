"""One file for each program whose checkpoints are taken in: how they are told, and which of their tensors is which of ours."""

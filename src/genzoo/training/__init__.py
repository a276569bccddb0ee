"""Training: one loop for every system; `start` begins a run and goes on with one."""

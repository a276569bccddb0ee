"""What several processes of one training share: one batch, its sums, its random numbers, and who speaks for all."""

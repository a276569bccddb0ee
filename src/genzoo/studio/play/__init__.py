"""What the play routes share: what a system offers to a page, results that can be fetched as files, and pictures and latents that a page has sent."""

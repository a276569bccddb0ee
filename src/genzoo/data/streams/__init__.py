"""Sets that are larger than the disk: shards at a URL or in a folder, read as a run needs them, through a cache of bounded size."""

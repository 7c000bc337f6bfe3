"""Results in files: references, golden packs, shards, earlier reports, a phone's results."""

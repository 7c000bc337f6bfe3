"""Results that outlive their run: references, golden packs, shards, earlier reports, what a phone wrote."""

"""Models that find objects: each with its class, box, mask and score."""

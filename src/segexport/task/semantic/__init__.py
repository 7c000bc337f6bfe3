"""Models that give the class of each pixel."""

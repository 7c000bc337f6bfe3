"""From measurements to a verdict: paired bootstrap, gates, limits for each precision."""

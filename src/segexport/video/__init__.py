"""Segments videos, with masks smoothed over time."""

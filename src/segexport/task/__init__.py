"""Semantic and instance segmentation: a task is one object, and everything else asks it."""

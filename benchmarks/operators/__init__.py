"""The operators of the sweep, with their attributes and tensors; one file per family."""

"""The tasks: semantic and instance segmentation, one object each."""

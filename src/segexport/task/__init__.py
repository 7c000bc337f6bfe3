"""The tasks: semantic segmentation and instance segmentation."""

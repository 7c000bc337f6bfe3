"""What differs between semantic and instance segmentation."""

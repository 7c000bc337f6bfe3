"""Instance segmentation: objects with class, box, mask and score."""

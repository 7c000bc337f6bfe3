"""Video: frames in, smoothed masks out."""

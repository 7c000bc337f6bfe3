"""The build cache, and atomic writes of files and folders."""

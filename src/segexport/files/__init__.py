"""The build cache, output folders and files that appear whole or not at all."""

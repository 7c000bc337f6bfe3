"""Runs exports beside their reference on the same images."""

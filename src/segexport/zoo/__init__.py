"""Trained networks that were measured in every target and precision, and the choice of one of them."""

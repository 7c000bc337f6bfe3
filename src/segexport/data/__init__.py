"""Datasets: reading, checking, converting to PaddleSeg's form, splitting."""

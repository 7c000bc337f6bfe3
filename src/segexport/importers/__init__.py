"""Finds the files of PaddleSeg and PaddleX models, old and new, and reads their preprocessing."""

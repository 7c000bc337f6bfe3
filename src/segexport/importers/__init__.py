"""Reads exports of PaddleSeg and PaddleX, old and new: the model's files and the preprocessing that they state."""

"""Datasets as people have them: read, looked through, converted into PaddleSeg's form, split."""

"""Datasets as people have them: looked through, converted into PaddleSeg's form, split."""

"""A model as its user calls it: predict, evaluate, pipelines."""

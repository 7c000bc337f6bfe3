"""Clusters of pixels: lanes and instances from the embeddings of a network."""

"""Serves a model over HTTP with the requests and responses of PaddleX's basic serving."""

"""A model behind HTTP, with the requests and answers of PaddleX's basic serving."""

"""Which operators the sweep builds, with which attributes and tensors: data, a file per family."""

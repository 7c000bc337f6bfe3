"""segexport: from a trained PaddlePaddle segmentation model to a phone, with proof."""

__version__ = "0.1.0"

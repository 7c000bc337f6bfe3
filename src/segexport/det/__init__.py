"""PaddleX's class of instance segmentation, by PaddleX's names: build a network, train it, evaluate it, predict.

>>> from segexport import det
>>> model = det.MaskRCNN(num_classes=3, backbone="ResNet18")
>>> model.train(12, "data", eval_dataset="data", image_size=(1344, 800), save_dir="output")  # doctest: +SKIP

PaddleDetection builds the network and computes its losses (toolchain `paddledet`). A feature of PaddleX's class that
this lacks raises an error; no weights are known by a name.
"""

from segexport.det.mask_rcnn import MaskRCNN

__all__ = ["MaskRCNN"]

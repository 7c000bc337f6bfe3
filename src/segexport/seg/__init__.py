"""PaddleX's classes of semantic segmentation, by PaddleX's names: build a network, train it, evaluate it, predict.

>>> from segexport import seg
>>> model = seg.DeepLabv3p(num_classes=11, backbone="MobileNetV2_x1.0")
>>> model.train(100, "data", eval_dataset="data", image_size=(512, 256), save_dir="output")  # doctest: +SKIP

PaddleSeg builds the networks (`segexport.commands.train`). A feature of PaddleX's classes that these lack raises an
error; no weights are known by a name.
"""

from segexport.seg.segmenter import DeepLabv3p, FastSCNN, HRNet, UNet

__all__ = ["DeepLabv3p", "FastSCNN", "HRNet", "UNet"]

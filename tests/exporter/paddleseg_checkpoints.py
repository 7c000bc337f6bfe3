"""Runs in PaddleSeg's toolchain: trains nothing, but writes checkpoints as its `train.py` does, with what they compute.

`<python> -I paddleseg_checkpoints.py FOLDER` writes, for each network of `networks.json` there, `NAME.pdparams` and
`NAME.npz`: an image, and the first output of the model's own class for it.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import paddle
import paddleseg.models  # noqa: F401 - fills the manager
from paddleseg.cvlibs import manager


def built(section: dict) -> paddle.nn.Layer:
    params = {key: built(value) if isinstance(value, dict) else value for key, value in section.items()}
    kinds = {**manager.MODELS.components_dict, **manager.BACKBONES.components_dict}
    return kinds[params.pop("type")](**params)


def main(folder: Path) -> None:
    for name, section in json.loads((folder / "networks.json").read_text()).items():
        paddle.seed(1)
        np.random.seed(1)
        network = built(section)
        for layer in network.sublayers():  # scores of a trained network's size: new ones are far smaller
            if isinstance(layer, paddle.nn.Conv2D):
                fan_in = int(np.prod(layer.weight.shape[1:]))
                layer.weight.set_value(paddle.randn(layer.weight.shape) * (2 / fan_in) ** 0.5)
            elif isinstance(layer, paddle.nn.BatchNorm2D):
                layer._momentum = 0.0
        network.train()
        channels = section.get("backbone", section).get("in_channels", 3)
        # As a training, statistics of many images: the variance of two, behind a pool to one pixel, is close to 0, and
        # its normalization would enlarge rounding to 1e-4 of the scores.
        image = paddle.randn([32, channels, 64, 96])
        with paddle.no_grad():
            network(image)
        network.eval()
        with paddle.no_grad():
            scores = network(image[:1])[0]
        paddle.save(network.state_dict(), str(folder / f"{name}.pdparams"))
        np.savez(folder / f"{name}.npz", image=image[:1].numpy(), scores=scores.numpy())


if __name__ == "__main__":
    main(Path(sys.argv[1]))

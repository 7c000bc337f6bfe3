"""Tiny nets, exported as PaddleSeg would export them, and the reference that runs them."""

from __future__ import annotations

import zlib  # noqa: F401  (before paddle, which bundles another zlib)
from pathlib import Path

import numpy as np
import paddle
import paddle.inference
from paddle import nn

from segexport.exporter.program import Program, read


def export(layer: nn.Layer, folder: Path, *shapes: list[int], dtype: str = "float32") -> Program:
    """`paddle.jit.save` of `layer` in eval mode, read back."""
    layer.eval()
    specs = [paddle.static.InputSpec(shape, dtype, f"x{index}") for index, shape in enumerate(shapes)]
    paddle.jit.save(paddle.jit.to_static(layer, input_spec=specs, full_graph=True), str(folder / "exported"))
    return read(folder / "exported.pdmodel", folder / "exported.pdiparams")


def infer(program: Program, folder: Path, feeds: dict[str, np.ndarray]) -> list[np.ndarray]:
    """Paddle Inference on the program's files, one thread, IR optimisation off; the outputs in fetch order."""
    model, params = program.write(folder, "reference")
    config = paddle.inference.Config(str(model), str(params))
    config.disable_gpu()
    config.disable_glog_info()
    config.switch_ir_optim(False)
    config.set_cpu_math_library_num_threads(1)
    predictor = paddle.inference.create_predictor(config)
    for name in predictor.get_input_names():
        predictor.get_input_handle(name).copy_from_cpu(feeds[name])
    predictor.run()
    return [predictor.get_output_handle(name).copy_to_cpu() for name in predictor.get_output_names()]


def random_feeds(program: Program, *shapes: tuple[int, ...], seed: int = 0) -> dict[str, np.ndarray]:
    """Seeded standard-normal float32 inputs of the given shapes (default: the program's own)."""
    random = np.random.RandomState(seed)
    sizes = shapes or tuple(program.shape(name) for name in program.feed_names)
    pairs = zip(program.feed_names, sizes, strict=True)
    return {name: random.standard_normal(shape).astype(np.float32) for name, shape in pairs}


def randomize_norms(layer: nn.Layer, seed: int = 0) -> nn.Layer:
    """Gives every BatchNorm statistics and factors that are not the identity."""
    random = np.random.RandomState(seed)
    for norm in layer.sublayers():
        if isinstance(norm, nn.BatchNorm2D):
            shape = norm.weight.shape
            norm.weight.set_value(random.uniform(0.5, 1.5, shape).astype(np.float32))
            norm.bias.set_value(random.uniform(-0.5, 0.5, shape).astype(np.float32))
            norm._mean.set_value(random.uniform(-0.5, 0.5, shape).astype(np.float32))
            norm._variance.set_value(random.uniform(0.5, 2, shape).astype(np.float32))
    return layer


class SmallSegmenter(nn.Layer):
    """Stem, depthwise block with an SE gate, a residual, a concat with a skip, dropout, bilinear upsampling."""

    def __init__(self, classes: int = 3) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2D(3, 16, 3, 2, 1, bias_attr=False), nn.BatchNorm2D(16), nn.Hardswish())
        self.depthwise = nn.Sequential(nn.Conv2D(16, 16, 3, 1, 1, groups=16), nn.BatchNorm2D(16), nn.ReLU6())
        self.squeeze = nn.Sequential(
            nn.AdaptiveAvgPool2D(1), nn.Conv2D(16, 8, 1), nn.ReLU(), nn.Conv2D(8, 16, 1), nn.Hardsigmoid()
        )
        self.down = nn.Sequential(nn.Conv2D(16, 32, 3, 2, 1), nn.BatchNorm2D(32), nn.PReLU(32))
        self.mix = nn.Sequential(nn.Conv2D(48, 24, 1), nn.BatchNorm2D(24), nn.ReLU(), nn.Dropout(0.5))
        self.head = nn.Conv2D(24, classes, 1)

    def forward(self, x):
        skip = self.stem(x)
        wide = self.depthwise(skip)
        wide = skip + wide * self.squeeze(wide)
        deep = nn.functional.interpolate(self.down(wide), scale_factor=2, mode="bilinear")
        logits = self.head(self.mix(paddle.concat([deep, wide], axis=1)))
        return nn.functional.interpolate(logits, size=x.shape[2:], mode="bilinear")

"""Compares int8 exports of small networks with the float network: an operator between two convolutions, in each target.

    python benchmarks/int8_operators.py [--only NAME]... [--to TARGET]... [--json FILE]

A check of a whole network hides one operator's fault among many; here it is all there is. The operator reads what a
convolution gives, as it is or behind a ReLU or a tanh, and a convolution reads its result, so that the runtime fuses
what it fuses in a network. No operator stays float (`agreement: 0`). The error is the root mean square error relative
to the standard deviation of the float output, on four images that look like those of the calibration.

    fine      at most twice the error of the ONNX export, or 3 %
    off       more
    refused   the target does not take the network
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import paddle
from paddle import nn
from paddle.nn import functional as F
from stamped import save

from segexport import preprocess
from segexport.artifact import ModelArtifact
from segexport.data.dataset import Dataset
from segexport.errors import SegexportError
from segexport.exporter import program
from segexport.exporter.from_paddle import ImportOptions, import_model
from segexport.files.store import Store
from segexport.pipeline.plan import PlanRunner, plan
from segexport.pipeline.registry import runtime_for, targets
from segexport.pipeline.step import StepContext
from segexport.recipe.schema import Recipe
from segexport.runtimes.base import RunOptions

SIDE, CHANNELS = 32, 16
CONFIG = "Deploy:\n  model: model.pdmodel\n  params: model.pdiparams\n  transforms:\n  - type: Normalize\n"
Operator = Callable[[paddle.Tensor], paddle.Tensor]


def _up(x: paddle.Tensor, **options: object) -> paddle.Tensor:
    return F.interpolate(x, scale_factor=2, **options)


def _gated(x: paddle.Tensor) -> paddle.Tensor:
    return x * F.sigmoid(x.mean([2, 3], keepdim=True))


def _shuffled(x: paddle.Tensor) -> paddle.Tensor:
    return x.reshape([1, 4, CHANNELS // 4, SIDE, SIDE]).transpose([0, 2, 1, 3, 4]).reshape([1, CHANNELS, SIDE, SIDE])


def _attended(x: paddle.Tensor) -> paddle.Tensor:
    return F.softmax(x.matmul(x.transpose([0, 1, 3, 2])) * 0.1).matmul(x)


OPERATORS: dict[str, Operator] = {
    "nothing": lambda x: x,
    **{f"max over {axes}": lambda x, axes=axes: x.max(axes, keepdim=True) for axes in (1, 3, (2, 3))},
    **{f"min over {axes}": lambda x, axes=axes: x.min(axes, keepdim=True) for axes in (1, (2, 3))},
    **{f"mean over {axes}": lambda x, axes=axes: x.mean(axes, keepdim=True) for axes in (1, 2, (2, 3))},
    **{f"sum over {axes}": lambda x, axes=axes: x.sum(axes, keepdim=True) for axes in (1, (2, 3))},
    "norm over 1": lambda x: x.norm(axis=1, keepdim=True),
    **{name: getattr(F, name) for name in ("relu", "relu6", "sigmoid", "tanh", "elu", "hardswish", "hardsigmoid")},
    **{name: getattr(F, name) for name in ("swish", "gelu", "mish", "softplus", "leaky_relu", "softsign", "selu")},
    "abs": paddle.abs,
    "exp": lambda x: paddle.exp(0.3 * x),
    "sqrt": lambda x: paddle.sqrt(x.abs()),
    "square": paddle.square,
    "clip": lambda x: x.clip(-1.0, 0.7),
    "negative": lambda x: -x,
    "one minus": lambda x: 1 - x,
    "divided": lambda x: x / 3.1,
    "maximum": lambda x: paddle.maximum(x, -0.5 * x),
    "minimum": lambda x: paddle.minimum(x, F.tanh(x)),
    "where": lambda x: paddle.where(x > 0, x, -0.3 * x),
    "added": lambda x: x + F.sigmoid(x),
    "subtracted": lambda x: x - F.relu(x),
    "product": lambda x: x * F.tanh(x),
    "quotient": lambda x: x / (1 + x.abs()),
    "gated": _gated,
    "gated by pixel": lambda x: x * F.sigmoid(x.mean(1, keepdim=True)),
    "max pool 2": lambda x: F.max_pool2d(x, 2),
    "max pool 3": lambda x: F.max_pool2d(x, 3, 1, 1),
    "max pool ceil": lambda x: F.max_pool2d(x, 3, 2, 0, ceil_mode=True),
    "average pool 2": lambda x: F.avg_pool2d(x, 2),
    "average pool 3": lambda x: F.avg_pool2d(x, 3, 1, 1),
    "average pool 3, padding counts": lambda x: F.avg_pool2d(x, 3, 1, 1, exclusive=False),
    "average pool ceil": lambda x: F.avg_pool2d(x, 3, 2, 0, ceil_mode=True),
    "adaptive average 4": lambda x: F.adaptive_avg_pool2d(x, 4),
    "adaptive average 5": lambda x: F.adaptive_avg_pool2d(x, 5),
    "adaptive maximum 4": lambda x: F.adaptive_max_pool2d(x, 4),
    "global average": lambda x: F.adaptive_avg_pool2d(x, 1),
    "global maximum": lambda x: F.adaptive_max_pool2d(x, 1),
    "bilinear": lambda x: _up(x, mode="bilinear"),
    "bilinear, aligned": lambda x: _up(x, mode="bilinear", align_corners=True),
    "nearest": lambda x: _up(x, mode="nearest"),
    "shrunk": lambda x: F.interpolate(x, scale_factor=0.5, mode="bilinear"),
    "max of bilinear": lambda x: _up(x, mode="bilinear").max(1, keepdim=True),
    "pixel shuffle": lambda x: F.pixel_shuffle(x, 2),
    "channel shuffle": _shuffled,
    "transposed": lambda x: x.transpose([0, 1, 3, 2]),
    "flipped": lambda x: x.flip([3]),
    "rolled": lambda x: x.roll(3, 2),
    "padded": lambda x: F.pad(x, [1, 2, 1, 2]),
    "padded with 0.7": lambda x: F.pad(x, [1, 2, 1, 2], value=0.7),
    "padded, reflected": lambda x: F.pad(x, [1, 2, 1, 2], mode="reflect"),
    "padded, replicated": lambda x: F.pad(x, [1, 2, 1, 2], mode="replicate"),
    "slice": lambda x: x[:, 3:11],
    "strided slice": lambda x: x[:, :, ::2, 1::2],
    "split": lambda x: paddle.add(*x.split(2, 1)),
    "concat": lambda x: paddle.concat([x, F.tanh(x)], 1),
    "concat of unequal": lambda x: paddle.concat([x, 0.05 * x.max(1, keepdim=True)], 1),
    "concat of means": lambda x: paddle.concat([x.mean(1, keepdim=True), x.max(1, keepdim=True)], 1),
    "softmax over channels": lambda x: F.softmax(x, 1),
    "softmax over width": lambda x: F.softmax(x, 3),
    "attention": _attended,
    "layer norm": lambda x: F.layer_norm(x, [SIDE]),
    "instance norm": F.instance_norm,
    "unit length": lambda x: F.normalize(x, axis=1),
    "prelu": lambda x: F.prelu(x, paddle.full([1], 0.2)),
    "prelu of channels": nn.PReLU(CHANNELS),
    "batch norm": nn.BatchNorm2D(CHANNELS),
    "group norm": nn.GroupNorm(4, CHANNELS),
    "convolution": nn.Conv2D(CHANNELS, 24, 3, stride=2, padding=1),
    "convolution 1x5": nn.Conv2D(CHANNELS, 24, (1, 5), padding=(0, 2)),
    "convolution, dilated": nn.Conv2D(CHANNELS, 24, 3, padding=2, dilation=2),
    "convolution, grouped": nn.Conv2D(CHANNELS, 24, 3, padding=1, groups=4),
    "convolution, depthwise": nn.Conv2D(CHANNELS, CHANNELS, 3, padding=1, groups=CHANNELS),
    "convolution, depthwise 2": nn.Conv2D(CHANNELS, 2 * CHANNELS, 5, padding=2, groups=CHANNELS),
    "transposed convolution": nn.Conv2DTranspose(CHANNELS, 8, 4, stride=2, padding=1),
    "transposed convolution, uneven": nn.Conv2DTranspose(CHANNELS, 8, 3, stride=2, padding=1, output_padding=1),
    "transposed convolution, depthwise": nn.Conv2DTranspose(CHANNELS, CHANNELS, 2, stride=2, groups=CHANNELS),
    "linear": nn.Linear(SIDE, 24),
}
WAYS: dict[str, Operator] = {"conv": lambda x: x, "relu": F.relu, "tanh": F.tanh}  # between a convolution and it


class Between(nn.Layer):
    """A convolution, one of the ways in, an operator, and a convolution."""

    def __init__(self, operator: Operator, way: str, seed: int) -> None:
        super().__init__()
        paddle.seed(seed)
        self.first, self._operator, self._way = nn.Conv2D(3, CHANNELS, 3, padding=1), operator, way
        with paddle.no_grad():
            width = operator(self._before(paddle.randn([1, 3, SIDE, SIDE]))).shape[1]
        self.last = nn.Conv2D(width, 8, 1)

    def _before(self, x: paddle.Tensor) -> paddle.Tensor:
        return WAYS[self._way](2 * self.first(x))

    def forward(self, x: paddle.Tensor) -> paddle.Tensor:
        return self.last(self._operator(self._before(x)))


class Several(nn.Layer):
    def __init__(self, parts: list[nn.Layer]) -> None:
        super().__init__()
        self.parts = nn.LayerList(parts)

    def forward(self, x: paddle.Tensor) -> list[paddle.Tensor]:
        return [part(x) for part in self.parts]


def outputs(artifact: ModelArtifact, data: Dataset) -> list[list[np.ndarray]]:
    """The outputs of some images, channels first."""
    manifest, found = artifact.manifest, []
    with runtime_for(manifest.format).open(artifact, RunOptions()) as session:
        for sample in data.subset(4, 0):
            tensor, placement = preprocess.example(manifest.preprocess, sample.image)
            given = session.outputs(preprocess.feed(manifest.inputs, tensor, placement))
            last = [spec.layout.endswith("C") for spec in manifest.outputs]
            found.append([np.moveaxis(one, -1, 1) if turned else one for one, turned in zip(given, last, strict=True)])
    return found


def exported(folder: Path, parts: list[nn.Layer], to: str, data: Dataset) -> list[ModelArtifact]:
    """The parts as one network, as fp32 ONNX and in int8.

    Raises:
        SegexportError: The target does not take one of them.
    """
    net = Several(parts)
    net.eval()
    spec = paddle.static.InputSpec([1, 3, SIDE, SIDE], name="x")
    paddle.jit.save(paddle.jit.to_static(net, input_spec=[spec], full_graph=True), str(folder / "model"))
    (folder / "deploy.yaml").write_text(CONFIG)
    mask = program.read(folder / "model.pdmodel", folder / "model.pdiparams").outputs()[0].name
    store = Store(folder / "store")
    source = import_model(folder, ImportOptions(mask_output=mask), store)
    exports = [{"to": "onnx", "precision": "fp32"}, {"to": to, "precision": "int8", "calibration": {"agreement": 0}}]
    known = tuple(targets()[one["to"]].Recipe.model_validate(one) for one in exports)
    chains = plan(Recipe.model_construct(model=None, data=None, exports=known), source, data.fingerprint).chains
    runner = PlanRunner(store, StepContext(data=data))
    return [runner.build(name, source, chain) for name, chain in chains.items()]


def errors(parts: dict[str, nn.Layer], to: str, data: Dataset) -> dict[str, float | str]:
    """Name of each part -> its error in int8, or why there is none."""
    try:
        with tempfile.TemporaryDirectory() as scratch:
            made = exported(Path(scratch), list(parts.values()), to, data)
            expected, found = (outputs(one, data) for one in made)
    except SegexportError as error:
        if len(parts) == 1:
            return dict.fromkeys(parts, f"refused: {error.what}")
        return {name: error for one in parts for name, error in errors({one: parts[one]}, to, data).items()}
    return {name: _error(expected, found, place) for place, name in enumerate(parts)}


def _error(expected: list[list[np.ndarray]], found: list[list[np.ndarray]], place: int) -> float:
    floats, int8 = (np.stack([image[place].reshape(-1) for image in one]) for one in (expected, found))
    return float(np.sqrt(((floats - int8) ** 2).mean() / max(floats.var(), 1e-12)))


def verdict(error: float | str, of_onnx: float | str) -> str:
    if isinstance(error, str):
        return error
    usual = 0.0 if isinstance(of_onnx, str) else of_onnx
    return f"{'off' if error > max(0.03, 2 * usual) else 'fine'} {error:.4f}"


def noise(folder: Path) -> Dataset:
    random = np.random.default_rng(2)
    for index in range(16):
        coarse = random.integers(0, 255, (8, 8, 3)).astype(np.uint8)
        cv2.imwrite(str(folder / f"{index}.png"), cv2.resize(coarse, (SIDE, SIDE)))
    return Dataset.open(folder, "val")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", action="append", choices=list(OPERATORS), help="an operator")
    parser.add_argument("--to", action="append", help="a target")
    parser.add_argument("--together", type=int, default=8, help="networks that are exported as one")
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    wanted = ["onnx", *(to for to in given.to or targets() if to != "onnx")]
    names = [(name, way) for name in given.only or OPERATORS for way in WAYS]
    rows: dict[str, dict[str, float | str]] = {}
    with tempfile.TemporaryDirectory() as scratch:
        data = noise(Path(scratch))
        for start in range(0, len(names), given.together):
            some = enumerate(names[start : start + given.together])
            parts = {f"{name}, {way}": Between(OPERATORS[name], way, seed) for seed, (name, way) in some}
            for to in wanted:
                for part, error in errors(parts, to, data).items():
                    row = rows.setdefault(part, {})
                    row[to] = error
                    print(f"{part:36} {to:12} {verdict(error, row['onnx'])}", flush=True)
            if given.json:
                save(given.json, rows)


if __name__ == "__main__":
    main()

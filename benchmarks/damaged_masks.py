"""Masks of camvid_small and of damaged versions of it: the populations for simulations of the gate."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from segexport.judge.bootstrap import paired_delta
from segexport.measure.metrics import class_counts, confusion_matrix

WIDTH, HEIGHT, CLASSES, TILE = 256, 192, 11, 8


@dataclass(frozen=True)
class Scenario:
    """An export that is `sound`, except in some tiles where it is `broken`.

    Attributes:
        margin: Intended loss of mIoU.
        images: Fraction of the images that may be damaged.
        only_class: Damage only pixels to which the reference gives this class; None: any.
    """

    name: str
    sound: str
    broken: str
    margin: float
    images: float = 1.0
    only_class: int | None = None


def mixed(scenario: Scenario, masks: dict[str, np.ndarray], reference: np.ndarray, loss: float) -> np.ndarray:
    """Class counts of an export whose pooled mIoU over all images is `loss` below the reference's; sound at 0."""
    truth, sound, broken = masks["truth"], masks[scenario.sound], masks[scenario.broken]
    if loss == 0:
        return counts_of(sound, truth)
    rng = np.random.default_rng(7)
    order = rng.random((len(truth), HEIGHT // TILE, WIDTH // TILE)).repeat(TILE, 1).repeat(TILE, 2)
    damaged = rng.permutation(len(truth)) < round(scenario.images * len(truth))
    order[~damaged] = 2
    if scenario.only_class is not None:
        order[masks["reference"] != scenario.only_class] = 2
    low, high = 0.0, 1.0
    for _ in range(16):
        share = (low + high) / 2
        counts = counts_of(np.where(order < share, broken, sound), truth)
        too_much = paired_delta(reference, counts, resamples=2).delta < -loss
        low, high = (low, share) if too_much else (share, high)
    return counts


def counts_of(masks: np.ndarray, truth: np.ndarray) -> np.ndarray:
    return np.stack([class_counts(confusion_matrix(t, m, CLASSES)) for t, m in zip(truth, masks, strict=True)])


def masks_of(split: str, model: Path, camvid: Path, work: Path) -> dict[str, np.ndarray]:
    """Masks (images, height, width) uint8 of the truth, the model and its damaged versions.

    The masks are stored in `work`: the models run once per split.
    """
    work.mkdir(parents=True, exist_ok=True)
    kept = work / f"masks_{split}.npz"
    if not kept.exists():
        np.savez_compressed(kept, **_run_models(split, model, camvid, work))
    return dict(np.load(kept))


def versions(work: Path) -> dict[str, str]:
    """Versions of the software that ran the models."""
    return json.loads((work / "versions.json").read_text())


def _run_models(split: str, model: Path, camvid: Path, work: Path) -> dict[str, np.ndarray]:
    import onnx
    import onnxruntime
    import paddle2onnx
    from onnx import numpy_helper
    from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static
    from onnxruntime.quantization.shape_inference import quant_pre_process

    def pairs(name: str) -> list[list[str]]:
        return [line.split() for line in (camvid / f"{name}.txt").read_text().splitlines()]

    def tensor(path: str, change: Callable[[np.ndarray], np.ndarray] = lambda image: image) -> np.ndarray:
        image = cv2.resize(cv2.imread(str(camvid / path)), (WIDTH, HEIGHT), interpolation=cv2.INTER_AREA)
        image = change(np.ascontiguousarray(image[..., ::-1])).astype(np.float32)
        return np.ascontiguousarray(((image / 255 - 0.5) / 0.5).transpose(2, 0, 1)[None])

    exported, folded = str(work / "fp32.onnx"), str(work / "folded.onnx")
    paddle2onnx.export(str(model / "model.pdmodel"), str(model / "model.pdiparams"), exported, opset_version=13)
    quant_pre_process(exported, folded)
    name = onnx.load(folded).graph.input[0].name

    class Calibration(CalibrationDataReader):
        def __init__(self) -> None:
            self.tensors = ({name: tensor(image)} for image, _ in pairs("train")[::12])

        def get_next(self) -> dict[str, np.ndarray] | None:
            return next(self.tensors, None)

    int8 = str(work / "int8.onnx")
    kinds = {"activation_type": QuantType.QUInt8, "weight_type": QuantType.QInt8}
    quantize_static(folded, int8, Calibration(), quant_format=QuantFormat.QDQ, per_channel=True, **kinds)

    def changed(path: Path, change: Callable[[np.ndarray], np.ndarray]) -> str:
        graph = onnx.load(folded)
        for weight in graph.graph.initializer:
            values = numpy_helper.to_array(weight)
            if values.dtype == np.float32 and values.ndim == 4:
                weight.CopyFrom(numpy_helper.from_array(change(values).astype(np.float32), weight.name))
        onnx.save(graph, str(path))
        return str(path)

    def to_bits(bits: int) -> Callable[[np.ndarray], np.ndarray]:
        def change(values: np.ndarray) -> np.ndarray:
            scale = np.abs(values).max(axis=(1, 2, 3), keepdims=True) / (2 ** (bits - 1) - 1)
            scale[scale == 0] = 1
            return np.round(values / scale) * scale

        return change

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1

    def masks(path: str, change: Callable[[np.ndarray], np.ndarray] = lambda image: image) -> np.ndarray:
        session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
        outputs = (session.run(None, {name: tensor(image, change)})[0][0] for image, _ in pairs(split))
        return np.stack([output.argmax(0).astype(np.uint8) for output in outputs])

    versions = {module.__name__: module.__version__ for module in (onnx, onnxruntime, paddle2onnx, cv2)}
    (work / "versions.json").write_text(json.dumps(versions))
    labels = [cv2.imread(str(camvid / label), cv2.IMREAD_UNCHANGED) for _, label in pairs(split)]
    return {
        "truth": np.stack([cv2.resize(label, (WIDTH, HEIGHT), interpolation=cv2.INTER_NEAREST) for label in labels]),
        "reference": masks(exported),
        "int8": masks(int8),
        "fp16": masks(changed(work / "fp16.onnx", lambda values: values.astype(np.float16))),
        **{f"weights_{bits}_bit": masks(changed(work / f"w{bits}.onnx", to_bits(bits))) for bits in (5, 4, 3)},
        "blurred": masks(exported, lambda image: cv2.GaussianBlur(image, (0, 0), 1.0)),
        "darkened": masks(exported, lambda image: np.clip(image.astype(np.float32) - 25, 0, 255)),
        "swapped_channels": masks(exported, lambda image: image[..., ::-1]),
    }

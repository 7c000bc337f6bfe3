"""How often the mIoU gate lets an export through that loses exactly its margin, on real per-image confusions.

The images of CamVid val and what the model makes of them are the population, so the true delta is known. Exports that
lose exactly the margin are mixed from a sound export and a broken one, tile by tile. Sets of images are drawn with
replacement and judged by the gate: false passes at the margin should stay at 5 % or less. Power is what a quarter of
the sets say of exports that lose half the margin, or nothing.

A loss that sits in a share of the images only is let through by the sets that hold none of them, and by hardly any
other (columns "unseen" and "seen"). What no gate can see is bounded by the number of images that it asks for: with
`gates.PASS_IMAGES` it is under 5 % for a share of one in five, and one in ten needs 29.

    python benchmarks/gate_simulation.py --model ../shared/models/camvid_small --camvid CAMVID --work WORK

`--work` keeps the masks; the model runs once. Needs paddle2onnx, onnx and onnxruntime for that first run.
"""

from __future__ import annotations

import argparse
import json
import math
import platform
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from statistics import NormalDist

import cv2
import numpy as np
from bootstrap_speed import cpu_name

from segexport.judge import bootstrap
from segexport.judge.bootstrap import holm, paired_delta
from segexport.judge.gates import FAMILY_LEVEL, PASS_IMAGES, miou_check
from segexport.measure.metrics import class_counts, confusion_matrix
from segexport.measure.student_t import student_t_quantile
from segexport.recipe.limits import Limits
from segexport.verdict import Verdict

RESULT = Path(__file__).parent / "results" / "gate_simulation.json"
WIDTH, HEIGHT, CLASSES, TILE = 256, 192, 11, 8
SET_SIZES = (10, 14, 25, 50, 101)
PEDESTRIAN, CAR = 9, 8


@dataclass(frozen=True)
class Scenario:
    """An export that is `sound`, except in some tiles where it is `broken`.

    Attributes:
        margin: mIoU that it shall lose.
        images: Share of the images that may be damaged.
        only_class: Damage only where the reference sees this class.
    """

    name: str
    sound: str
    broken: str
    margin: float
    images: float = 1.0
    only_class: int | None = None


SCENARIOS = (
    Scenario("int8, 4-bit weights in places", "int8", "weights_4_bit", 0.01),
    Scenario("fp32, 3-bit weights in places", "reference", "weights_3_bit", 0.01),
    Scenario("5-bit weights, blurred input in places", "weights_5_bit", "blurred", 0.005),
    Scenario("fp16 weights, darkened input in places", "fp16", "darkened", 0.001),
    Scenario("int8, half of the images damaged", "int8", "weights_3_bit", 0.01, images=0.5),
    Scenario("int8, only pedestrians damaged", "int8", "weights_3_bit", 0.01, only_class=PEDESTRIAN),
    Scenario("int8, only cars damaged", "int8", "swapped_channels", 0.01, only_class=CAR),
    Scenario("int8, a fifth of the images damaged", "int8", "weights_3_bit", 0.01, images=0.2),
    Scenario("int8, a tenth of the images damaged", "int8", "weights_3_bit", 0.01, images=0.1),
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", type=Path, required=True, help="folder of camvid_small")
    parser.add_argument("--camvid", type=Path, required=True, help="CamVid in PaddleSeg's form")
    parser.add_argument("--work", type=Path, required=True, help="masks and intermediate models are kept here")
    parser.add_argument("--repeats", type=int, default=1000)
    parser.add_argument("--resamples", type=int, default=1000)
    options = parser.parse_args()
    options.work.mkdir(parents=True, exist_ok=True)
    cache = options.work / "masks.npz"
    if not cache.exists():
        np.savez_compressed(cache, **run_models(options.model, options.camvid, options.work))
    masks = dict(np.load(cache))
    start = time.perf_counter()
    rows = []
    for scenario in SCENARIOS:
        rows += simulate(scenario, masks, options.repeats, options.resamples)
        print(f"{time.perf_counter() - start:6.0f} s: {scenario.name}", file=sys.stderr)
    result = {
        "what": "rates in %, of image sets drawn with replacement from CamVid val (101 images, 11 classes)",
        "repeats": options.repeats,
        "resamples": options.resamples,
        "monte_carlo_standard_error_at_5_percent": round(100 * math.sqrt(0.05 * 0.95 / options.repeats), 2),
        "device": cpu_name(),
        "python": platform.python_version(),
        "numpy": np.__version__,
        "versions_of_the_model_run": json.loads((options.work / "versions.json").read_text()),
        "seconds": round(time.perf_counter() - start),
        "rows": rows,
    }
    RESULT.parent.mkdir(exist_ok=True)
    RESULT.write_text(json.dumps(result, indent=1) + "\n")
    print_table(rows)


def simulate(scenario: Scenario, masks: dict[str, np.ndarray], repeats: int, resamples: int) -> Iterator[dict]:
    """One row per set size."""
    reference = counts_of(masks["reference"], masks["truth"])
    populations = [mixed(scenario, masks, reference, share * scenario.margin) for share in (1.0, 0.5, 0.0)]
    truths = [paired_delta(reference, population, resamples=2) for population in populations]
    damaged = (populations[0] != populations[2]).any((1, 2))
    for images in SET_SIZES:
        rng = np.random.default_rng(images)
        draws = rng.integers(0, len(reference), (repeats, images))
        tallies = dict.fromkeys(("gate", "interval", "seen", "false_fail", "percentile", "bca", "t", "holm"), 0)
        for seed, drawn in enumerate(draws):
            found = paired_delta(reference[drawn], populations[0][drawn], resamples=resamples, seed=seed)
            verdict = miou_check(found, Limits(miou_margin=-truths[0].delta), agreement=0.0).verdict
            tallies["gate"] += verdict is Verdict.PASS
            inside = found.interval[0] >= truths[0].delta
            tallies["interval"] += inside
            tallies["seen"] += inside and damaged[drawn].any()
            tallies["false_fail"] += verdict is Verdict.FAIL
            for name, lower in other_lower_bounds(reference[drawn], populations[0][drawn], resamples, seed).items():
                tallies[name] += lower >= truths[0].delta
            p_values = [
                one.p_not_worse_than(-true.delta) for one, true in zip(found.classes, truths[0].classes, strict=True)
            ]
            tallies["holm"] += min(holm(p_values)) < FAMILY_LEVEL
        fewer = draws[: max(1, repeats // 4)]
        found = [
            [paired_delta(reference[drawn], population[drawn], resamples=resamples) for drawn in fewer]
            for population in populations[1:]
        ]
        detectable = float(np.mean([one.smallest_detectable for one in found[1]]))
        lower = [
            np.array([one.interval[0] - truth.delta for one in row])
            for row, truth in zip(found, truths[1:], strict=True)
        ]
        rates = {name: round(100 * count / repeats, 2) for name, count in tallies.items()}
        # A lower end that is less than the slack below the true delta is inside a margin with that slack.
        powers = {
            name: round(100 * float((low >= -slack).mean()), 1) if images >= PASS_IMAGES else 0.0
            for name, low, slack in (
                ("half", lower[0], scenario.margin / 2),
                ("zero", lower[1], scenario.margin),
                ("detect", lower[1], detectable),
            )
        }
        row = {
            "scenario": scenario.name,
            "margin": scenario.margin,
            "true_delta": round(truths[0].delta, 6),
            "images": images,
            "false_pass_at_margin": rates["gate"],
            "interval_inside_at_margin": rates["interval"],
            "interval_inside_though_damage_was_seen": rates["seen"],
            "false_fail_at_margin": rates["false_fail"],
            "false_pass_of_plain_percentile": rates["percentile"],
            "false_pass_of_bca": rates["bca"],
            "false_pass_of_t": rates["t"],
            "pass_at_half_margin": powers["half"],
            "pass_at_zero_loss": powers["zero"],
            "smallest_detectable": round(detectable, 5),
            "pass_at_zero_loss_with_that_margin": powers["detect"],
            "class_gate_family_wise_error": rates["holm"],
            "sets_without_a_damaged_image": round(100 * (1 - damaged.mean()) ** images, 2),
        }
        yield row


def other_lower_bounds(reference: np.ndarray, export: np.ndarray, resamples: int, seed: int) -> dict[str, float]:
    """Lower 97.5 % bounds of intervals that were not chosen, from resamples of their own."""
    normal = NormalDist()
    features = bootstrap._features(reference, export)
    influences = features @ bootstrap._gradient(features.sum(0))
    delta, images = float(bootstrap._mean_difference(features.sum(0))), len(features)
    error = bootstrap._standard_error(influences)
    weights = np.random.default_rng(seed).multinomial(images, np.full(images, 1 / images), size=resamples)
    deltas = bootstrap._mean_difference(weights @ features)
    below = ((deltas < delta).mean() + (deltas <= delta).mean()) / 2
    bias = normal.inv_cdf(min(max(below, 1 / resamples), 1 - 1 / resamples))
    acceleration = (influences**3).sum() / (6 * (influences**2).sum() ** 1.5)
    shifted = bias + normal.inv_cdf(0.025)
    level = normal.cdf(bias + shifted / (1 - acceleration * shifted))
    return {
        "percentile": float(np.quantile(deltas, 0.025)),
        "bca": float(np.quantile(deltas, level)),
        "t": delta - student_t_quantile(0.975, images - 1) * error,
    }


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


def print_table(rows: list[dict]) -> None:
    columns = {
        "images": "images",
        "false_pass_at_margin": "false pass",
        "sets_without_a_damaged_image": "unseen",
        "interval_inside_though_damage_was_seen": "seen",
        "false_pass_of_plain_percentile": "(percentile",
        "false_pass_of_bca": "BCa",
        "false_pass_of_t": "t)",
        "false_fail_at_margin": "false fail",
        "pass_at_half_margin": "pass at half",
        "pass_at_zero_loss": "at zero",
        "smallest_detectable": "detectable",
        "pass_at_zero_loss_with_that_margin": "power there",
        "class_gate_family_wise_error": "classes",
    }
    print(f"{'scenario':40}", *columns.values(), sep="  ")
    for row in rows:
        print(f"{row['scenario']:40}", *(f"{row[key]:>{len(title)}}" for key, title in columns.items()), sep="  ")


def run_models(model: Path, camvid: Path, work: Path) -> dict[str, np.ndarray]:
    """Masks (images, height, width) uint8 of the truth, of the model and of what becomes of it when it is damaged."""
    import onnx
    import onnxruntime
    import paddle2onnx
    from onnx import numpy_helper
    from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static
    from onnxruntime.quantization.shape_inference import quant_pre_process

    def pairs(split: str) -> list[list[str]]:
        return [line.split() for line in (camvid / f"{split}.txt").read_text().splitlines()]

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

    def rounded(path: Path, change: Callable[[np.ndarray], np.ndarray]) -> str:
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
        outputs = (session.run(None, {name: tensor(image, change)})[0][0] for image, _ in pairs("val"))
        return np.stack([output.argmax(0).astype(np.uint8) for output in outputs])

    versions = {module.__name__: module.__version__ for module in (onnx, onnxruntime, paddle2onnx, cv2)}
    (work / "versions.json").write_text(json.dumps(versions))
    labels = [cv2.imread(str(camvid / label), cv2.IMREAD_UNCHANGED) for _, label in pairs("val")]
    return {
        "truth": np.stack([cv2.resize(label, (WIDTH, HEIGHT), interpolation=cv2.INTER_NEAREST) for label in labels]),
        "reference": masks(exported),
        "int8": masks(int8),
        "fp16": masks(rounded(work / "fp16.onnx", lambda values: values.astype(np.float16))),
        **{f"weights_{bits}_bit": masks(rounded(work / f"w{bits}.onnx", to_bits(bits))) for bits in (5, 4, 3)},
        "blurred": masks(exported, lambda image: cv2.GaussianBlur(image, (0, 0), 1.0)),
        "darkened": masks(exported, lambda image: np.clip(image.astype(np.float32) - 25, 0, 255)),
        "swapped_channels": masks(exported, lambda image: image[..., ::-1]),
    }


if __name__ == "__main__":
    main()

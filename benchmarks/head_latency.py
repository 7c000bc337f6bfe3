"""Measures each head: size, times of inference and of making the mask, agreement with the mask from logits.

    python benchmarks/head_latency.py --shared SHARED --images FOLDER [--models NAME ...] [--seconds 6] [-o FILE]

Models: a trained portrait net (2 classes) and a trained street net (11 classes) on real images, and a graph of the zoo
with seeded weights, with its 19 classes and widened to 150, on noise. All heads of one format are timed alternately.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from contextlib import ExitStack
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
from stamped import save

from segexport.artifact import ModelArtifact, write_artifact
from segexport.data.images import decode_image
from segexport.errors import SegexportError
from segexport.exporter import program as programs
from segexport.exporter.from_paddle import ImportOptions, import_model
from segexport.exporter.program import Program
from segexport.exporter.set_head import SetHead
from segexport.exporter.to_onnx import ToOnnx
from segexport.exporter.to_paddle_lite import ToPaddleLite
from segexport.files.store import Store
from segexport.measure import latency
from segexport.measure.latency_statistics import latency_ratio
from segexport.pipeline.registry import runtime_for
from segexport.pipeline.step import Step, StepContext
from segexport.preprocess import apply, enlarge_mask
from segexport.runtimes.base import RunOptions, Session
from segexport.spec import Preprocess, Resize

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests/exporter"))
import zoo

HEADS = (
    ("logits", "int32"), ("softmax", "int32"), ("argmax", "int32"), ("argmax", "uint8"), ("argmax_small", "int32"),
    ("argmax_small", "uint8"),
)  # fmt: skip
FORMATS: dict[str, type[Step]] = {"onnx": ToOnnx, "paddle-lite": ToPaddleLite}
MANY_CLASSES = 150  # as many as ADE20K has


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shared", type=Path, required=True, help="The folder of test models and graphs.")
    parser.add_argument("--images", type=Path, required=True, help="A folder of photographs.")
    parser.add_argument("--limit", type=int, default=20, help="At most so many photographs.")
    parser.add_argument("--seconds", type=float, default=6.0, help="Timing of all heads of one model and format.")
    parser.add_argument("--models", nargs="*", metavar="NAME", help="Only these: portraits, streets, zoo19, zoo150.")
    parser.add_argument("-o", "--output", type=Path)
    given = parser.parse_args()
    every = sorted(path for path in given.images.iterdir() if path.suffix in (".png", ".jpg"))
    photographs = [decode_image(path) for path in every[:: max(1, len(every) // given.limit)][: given.limit]]
    result = {"seconds": given.seconds, "threads": 1, "models": {}}
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        for name, (source, images) in sources(given.shared, folder, photographs).items():
            if given.models and name.replace(", ", "").split()[0] not in given.models:
                continue
            result["models"][name] = {
                "classes": source.manifest.num_classes,
                "input": list(source.manifest.inputs[0].shape),
                "images": len(images),
                **{to: rows(source, to, images, folder / name / to, given.seconds) for to in FORMATS},
            }
            if given.output:
                save(given.output, result)
    print(table(result))


def sources(shared: Path, folder: Path, photographs: list) -> dict[str, tuple[ModelArtifact, list]]:
    """Name -> the imported model and its images, uint8 RGB."""
    found, store = {}, Store(folder / "store")
    for name, place in (("portraits", "pphumanseg_lite/export_softmax"), ("streets", "camvid_small")):
        found[name] = import_model(shared / "models" / place, ImportOptions(), store), photographs
    zoo.fill(shared / "zoo/pp_mobileseg_tiny.pdmodel", folder / "zoo19")
    filled = programs.read(folder / "zoo19/model.pdmodel", folder / "zoo19/model.pdiparams")
    widen(filled, MANY_CLASSES).write(folder / "zoo150")
    random = np.random.default_rng(0)
    for classes in (19, MANY_CLASSES):
        _, _, height, width = filled.shape(filled.feed_names[0])
        options = ImportOptions(
            preprocess=Preprocess(geometry=(Resize(width=width, height=height),)),
            labels=tuple(f"class {index}" for index in range(classes)),
        )
        noise = [random.integers(0, 256, (height, width, 3), np.uint8) for _ in range(2)]
        found[f"zoo, {classes} classes"] = import_model(folder / f"zoo{classes}", options, store), noise
    return found


def widen(program: Program, classes: int) -> Program:
    """Returns the program with more classes: its last convolution gets seeded filters with the same spread."""
    wide, random = program.copy(), np.random.default_rng(1)
    producers, name = wide.producers(), wide.fetch_names[0]
    while True:
        op = producers[name]
        wide.vars[name].dims = (wide.vars[name].dims[0], classes, *wide.vars[name].dims[2:])
        if op.type == "elementwise_add":  # the bias
            op.inputs["Y"] = [wide.add_param("bias", random.normal(0, 0.1, (1, classes, 1, 1)).astype(np.float32))]
        if op.type == "conv2d":
            break
        name = op.input("X")
    filters = program.params[op.input("Filter")]
    shape = (classes, *filters.shape[1:])
    wide.set_param(op.input("Filter"), random.normal(0, filters.std(), shape).astype(np.float32))
    wide.prune()
    wide.verify("the widened program")
    return wide


def rows(source: ModelArtifact, to: str, images: list, folder: Path, seconds: float) -> dict[str, dict]:
    """Head -> its measurements, or the reason why it has none."""
    found: dict[str, dict] = {}
    with ExitStack() as stack:
        sessions: dict[str, Session] = {}
        programs: dict[str, latency.TimedModel] = {}
        tensors = [apply(source.manifest.preprocess, image)[0] for image in images]
        for head, dtype in HEADS:
            name = head if dtype == "int32" else f"{head}, {dtype}"
            try:
                export = exported(source, to, head, dtype, folder / f"{head}-{dtype}")
            except SegexportError as error:
                found[name] = {"refused": error.what}
                continue
            runtime = runtime_for(export.manifest.format)
            sessions[name] = stack.enter_context(runtime.open(export, RunOptions()))
            programs[name] = latency.TimedModel(partial(runtime.open, export, RunOptions()), [tensors[0]])
            found[name] = {"size_bytes": export.size_bytes, "output": list(export.manifest.outputs[0].shape)}
        masks: dict[str, list[np.ndarray]] = {}
        for name, session in sessions.items():
            predictions = [session.infer([tensor]) for tensor in tensors]
            masks[name] = [each.mask for each in predictions]
            found[name]["mask_ms"] = float(np.median([each.postprocess_ms for each in predictions]))
        for name in sessions:
            pairs = zip(masks[name], masks["logits"], strict=True)
            shares = [float((enlarge_mask(mask, own.shape) == own).mean()) for mask, own in pairs]
            found[name] |= {"agreement": float(np.mean(shares)), "agreement_worst": min(shares)}
    timings = latency.measure(programs, seconds)
    for name, timing in timings.items():
        ratio = latency_ratio(timing.sessions_ms, timings["logits"].sessions_ms)
        found[name] |= {
            "inference_ms": float(np.median(timing.samples_ms)),
            "ratio": ratio.value,
            "ratio_interval": ratio.interval,
            "drifted": ratio.drift() is not None,
        }
    return found


def exported(source: ModelArtifact, to: str, head: str, dtype: str, folder: Path) -> ModelArtifact:
    """Exports the model with this head."""
    artifact = source
    for step in (SetHead(SetHead.Params(head=head, dtype=dtype)), FORMATS[to]()):
        place = folder / step.kind
        place.mkdir(parents=True)
        context = replace(StepContext(), key=step.kind)
        artifact = write_artifact(place, step.run(artifact, place, context))
    return artifact


def table(result: dict) -> str:
    """Formats the results as Markdown."""
    lines = [
        "| Model | Format | Head | Size | Inference | Ratio to logits | Making the mask | Agreement | Worst image |",
        "|---|---|---|---:|---:|---:|---:|---:|---:|",
    ]
    for name, model in result["models"].items():
        for to in FORMATS:
            for head, row in model[to].items():
                if "refused" in row:
                    lines.append(f"| {name} | {to} | {head} | refused: {row['refused'].split(' (')[0]} | | | | | |")
                    continue
                interval = row["ratio_interval"]
                shown = "" if head == "logits" or interval is None else f" ({interval[0]:.2f}–{interval[1]:.2f})"
                drift = " *" if row["drifted"] else ""
                lines.append(
                    f"| {name} | {to} | {head} | {row['size_bytes']:,} | {row['inference_ms']:.1f} ms "
                    f"| {row['ratio']:.2f}{shown}{drift} | {row['mask_ms']:.2f} ms "
                    f"| {row['agreement']:.3%} | {row['agreement_worst']:.3%} |"
                )
    return "\n".join(lines)


if __name__ == "__main__":
    main()

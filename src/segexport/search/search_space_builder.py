"""Finds out what there is to choose from: the layers that can be int8 and what each takes, what can be trained."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import get_args

from segexport import preprocess
from segexport.artifact import ModelArtifact, digest_of
from segexport.errors import SegexportError
from segexport.exporter.to_onnx import WORKERS
from segexport.files.atomic import write_file
from segexport.pipeline.registry import STEPS
from segexport.process.worker import Worker
from segexport.recipe.schema import Calibration, ExportRecipe, OnnxExport, PaddleLiteExport, StepRecipe
from segexport.search.candidate import Candidate
from segexport.search.evaluate import Workbench
from segexport.search.space import Layer, Space, Training, grouped
from segexport.spec import Format, Precision

MOST_GROUPS = 32  # single layers are tried alone up to so many; of more, neighbours are tried together
KEPT_MACS = (0.75, 0.5, 0.35)
_PROFILED_RUNS = 6


def survey(bench: Workbench, to: Format, *, teacher: str, train: bool, file: Path) -> Space:
    """The space of a model; kept in `file`, since it holds times that a second look would find a little different."""
    if file.is_file():
        try:
            return _with_teacher(Space.model_validate_json(file.read_bytes()), teacher)
        except ValueError:
            file.unlink()
    found = _looked_at(bench, to, teacher, train)
    write_file(file, json.dumps(found.model_dump(mode="json"), indent=1).encode())
    return found


def _with_teacher(space: Space, teacher: str) -> Space:
    """The space with the original where it lies now, if it was moved since."""
    if space.training is None or Path(space.training.teacher).exists():
        return space
    return space.model_copy(update={"training": space.training.model_copy(update={"teacher": teacher})})


def space_key(bench: Workbench, to: Format, train: bool) -> str:
    """What decides which tries there are and what they measure."""
    learning = bench.learning.fingerprint if bench.learning is not None else ""
    chain = bench.chain(Candidate(export=exports(to)[-1]))
    return digest_of(
        {
            "search": 1,
            "model": bench.source.digest,
            "images": [bench.images.fingerprint, bench.screened],
            "learning": learning,
            "label_map": dict(bench.label_map or {}),
            "run": [bench.threads, bench.device],
            "to": to.value,
            "train": train,
            "key": chain[-1].key,
        }
    )[:16]


def exports(to: Format) -> tuple[ExportRecipe, ...]:
    """Every precision of a target, fp32 first."""
    if to is Format.ONNX:
        return tuple(OnnxExport(to=to, precision=one) for one in (Precision.FP32, Precision.FP16, Precision.INT8))
    return tuple(PaddleLiteExport(to=to, precision=one) for one in (Precision.FP32, Precision.FP16, Precision.W8))


def _looked_at(bench: Workbench, to: Format, teacher: str, train: bool) -> Space:
    found = {"precisions": exports(to)}
    if bench.learning is None:
        without_int8 = tuple(export for export in found["precisions"] if export.precision is not Precision.INT8)
        return Space(precisions=without_int8)
    if to is Format.ONNX:
        found |= {"methods": calibration_methods(), "switches": calibration_switches()}
        found |= _layers(bench)
    if to is Format.PADDLE_LITE and "calibrate" in STEPS:
        int8 = PaddleLiteExport(to=to, precision=Precision.INT8)
        found["more"] = (Candidate(steps=(StepRecipe(step="calibrate"),), export=int8),)
    if train and "finetune" in STEPS:
        found |= {"training": _training(bench, teacher), "qat": "qat" in STEPS and to is Format.ONNX}
        if _prunable(bench.source):
            found["kept_macs"] = KEPT_MACS
    return Space(**found)


def calibration_methods() -> tuple[str, ...]:
    """Ways to choose ranges other than the default."""
    field = Calibration.model_fields["method"]
    return tuple(method for method in get_args(field.annotation) if method != field.default)


def calibration_switches() -> tuple[str, ...]:
    """Settings that are off by default."""
    return tuple(name for name, field in Calibration.model_fields.items() if field.default is False)


def _layers(bench: Workbench) -> dict[str, object]:
    """The products of the graph, with their times in float and in int8."""
    fp32, _, int8 = (Candidate(export=export) for export in exports(Format.ONNX))
    sample = bench.images.read(0).image
    with (
        tempfile.TemporaryDirectory() as scratch,
        Worker(WORKERS / "onnx_layers_worker.py", needs="onnx", threads=bench.threads, name="layers") as worker,
    ):
        model, folded = bench.make(fp32), str(Path(scratch) / "folded.onnx")
        arguments = {"fp32": str(model.file("model")), "folded": folded}
        arguments["float_operators"] = list(Calibration().float_operators)
        answer, _ = worker.call("layers", arguments, timeout_s=bench.timeout_s)
        times: list[dict[str, float]] = [{}, {}]
        if bench.device == "cpu":
            try:
                files = folded, str(bench.make(int8).file("model"))
                tensor, _ = preprocess.apply(model.manifest.preprocess, sample)
                for place, file in enumerate(files):
                    given = {"model": file, "prefix": str(Path(scratch) / "profile"), "runs": _PROFILED_RUNS}
                    times[place] = worker.call("profile", given, [tensor], timeout_s=bench.timeout_s)[0]["ms"]
            except SegexportError:  # int8 may be impossible; the try itself will say why
                times = [{}, {}]
    layers = tuple(
        Layer(name=name, operator=kind, float_ms=times[0].get(name), int8_ms=times[1].get(name))
        for name, kind in answer["layers"]
    )
    return {"layers": layers, "operators": tuple(answer["operators"]), "groups": grouped(layers, MOST_GROUPS)}


def _training(bench: Workbench, teacher: str) -> Training:
    """A step runs the original and the student forwards, and the student backwards, on each image of a batch."""
    training = Training(teacher=teacher, labelled=bench.learning.labelled)
    from segexport.pipeline.registry import runtime_for

    tensor, _ = preprocess.apply(bench.source.manifest.preprocess, bench.images.read(0).image)
    with runtime_for(Format.PADDLE).open(bench.source, bench.options) as session:
        forward_ms = float(session.bench([tensor], 3)[-1])
    return training.model_copy(update={"step_seconds": forward_ms / 1e3 * 6 * training.batch})


def _prunable(source: ModelArtifact) -> bool:
    from segexport.compress.prune import prune
    from segexport.exporter import program

    try:
        found = prune(program.read(source.file("model"), source.file("params")), 1 - min(KEPT_MACS) ** 0.5)
    except SegexportError:
        return False
    return found.macs_cut_ratio > 1 - max(KEPT_MACS)

"""Builds the search space: the layers that can run in int8 with their times, and the possible trainings."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, get_args

from segexport import preprocess
from segexport.artifact import ModelArtifact, digest_of
from segexport.errors import SegexportError
from segexport.files.atomic import write_file
from segexport.pipeline.registry import runtime_for, target_named
from segexport.recipe.calibration import Calibration
from segexport.recipe.export import ExportRecipe
from segexport.search.candidate import Candidate
from segexport.search.evaluate import Workbench
from segexport.search.space import Space, Training, grouped
from segexport.spec import Format, Precision

MOST_GROUPS = 32  # with more layers than this, neighbouring layers are tried together
KEPT_MACS = (0.75, 0.5, 0.35)


Look = Callable[[Workbench, str, str, bool], Space]


def survey(bench: Workbench, to: str, *, teacher: str, train: bool, file: Path, look: Look | None = None) -> Space:
    """Returns the space of a model; stores it in `file`, because times vary between measurements.

    Args:
        look: As `look_at`, which is the default.
    """
    if file.is_file():
        try:
            return _with_teacher(Space.model_validate_json(file.read_bytes()), teacher)
        except ValueError:
            file.unlink()
    start = time.monotonic()
    found = (look or look_at)(bench, to, teacher, train)
    found = found.model_copy(update={"seconds": round(time.monotonic() - start, 2)})
    write_file(file, json.dumps(found.model_dump(mode="json", exclude_unset=True), indent=1).encode())
    return found


def _with_teacher(space: Space, teacher: str) -> Space:
    """Updates the original's path in the space, if it was moved."""
    if space.training is None or Path(space.training.teacher).exists():
        return space
    return space.model_copy(update={"training": space.training.model_copy(update={"teacher": teacher})})


def space_key(bench: Workbench, to: str, train: bool) -> str:
    """Returns a key of everything that determines the attempts and their measurements."""
    learning = bench.learning.fingerprint if bench.learning is not None else ""
    chain = bench.chain(Candidate(export=exports(to)[-1]))
    return digest_of(
        {
            "search": 6,
            "model": bench.source.digest,
            "images": [bench.images.fingerprint, bench.screened],
            "learning": learning,
            "label_map": dict(bench.label_map or {}),
            "run": [bench.threads, bench.device],
            "to": to,
            "train": train,
            "key": chain[-1].key,
        }
    )[:16]


def exports(to: str) -> tuple[ExportRecipe, ...]:
    """Returns the exports of a target in every searched precision, fp32 first."""
    target = target_named(to)
    return tuple(target.Recipe(to=to, precision=precision) for precision in target.searched)


def look_at(bench: Workbench, to: str, teacher: str, train: bool) -> Space:
    """Looks at the layers of a model and their times, and at its possible trainings."""
    target = target_named(to)
    found: dict[str, Any] = {"precisions": exports(to)}
    if bench.learning is None:
        without_int8 = tuple(export for export in found["precisions"] if export.precision is not Precision.INT8)
        return Space(precisions=without_int8)
    found["more"] = tuple(
        Candidate(export=target.Recipe(to=to, precision=precision)) for precision in target.searched_whole
    )
    layers = _layers(bench, to)
    if layers is not None:
        found |= {"methods": _others("method"), "roundings": _others("rounding")}
        found |= {"switches": calibration_switches(), **layers}
    if train:
        found |= {"training": _training(bench, teacher), "qat": layers is not None}
        if _prunable(bench.source):
            found["kept_macs"] = KEPT_MACS
    return Space(**found)


def _others(setting: str) -> tuple[str, ...]:
    """Returns the values of a calibration setting other than the default."""
    field = Calibration.model_fields[setting]
    return tuple(value for value in get_args(field.annotation) if value != field.default)


def calibration_switches() -> tuple[str, ...]:
    """Returns the calibration settings that are off by default."""
    return tuple(name for name, field in Calibration.model_fields.items() if field.default is False)


def _layers(bench: Workbench, to: str) -> dict[str, object] | None:
    """Returns the graph's products with float and int8 times; None if the target cannot separate them."""
    candidates = {export.precision: Candidate(export=export) for export in exports(to)}
    if Precision.INT8 not in candidates:
        return None
    fp32, int8, timed = candidates[Precision.FP32], candidates[Precision.INT8], bench.device == "cpu"
    if int8.calibration is not None:
        int8 = int8.calibrated(agreement=0.0)  # every layer in int8, so that each has a time
    artifact = bench.make(fp32)
    tensor, _ = preprocess.example(artifact.manifest.preprocess, bench.images.read(0).image)
    quantization_s = 0.0

    def quantized() -> ModelArtifact:
        nonlocal quantization_s
        start = time.monotonic()
        made = bench.make(int8)
        quantization_s = round(time.monotonic() - start, 2)
        return made

    found = target_named(to).layers(
        artifact, quantized if timed else None, [tensor], threads=bench.threads, timeout_s=bench.timeout_s
    )
    if found is None:
        return None
    layers, operators = found
    made = {"made": (fp32.key, int8.key) if quantization_s else (fp32.key,), "quantization_seconds": quantization_s}
    return {"layers": layers, "operators": operators, "groups": grouped(layers, MOST_GROUPS), **made}


def _training(bench: Workbench, teacher: str) -> Training:
    """Estimates training time: a step runs original and student forward, and the student backward, per image."""
    training = Training(teacher=teacher, labelled=bench.learning is not None and bench.learning.labelled)
    tensor, _ = preprocess.example(bench.source.manifest.preprocess, bench.images.read(0).image)
    with runtime_for(Format.PADDLE).open(bench.source, bench.options) as session:
        forward_ms = float(session.bench([tensor], 3)[-1])
    return training.model_copy(update={"step_seconds": forward_ms / 1e3 * 6 * training.batch_size})


def _prunable(source: ModelArtifact) -> bool:
    from segexport.compress.prune import prune
    from segexport.exporter import program

    try:
        found = prune(program.read(source.file("model"), source.file("params")), 1 - min(KEPT_MACS) ** 0.5)
    except SegexportError:
        return False
    return found.macs_cut_ratio > 1 - max(KEPT_MACS)

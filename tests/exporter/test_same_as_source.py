"""How far a conversion may be from its source: int8 also as far as half of what rounding itself changes."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest

from segexport.errors import UnsupportedModelError
from segexport.exporter import same_as_source
from segexport.exporter.same_as_source import require_same
from segexport.pipeline.step import StepContext
from segexport.spec import Precision

SCORES = np.linspace(-2, 2, 400, dtype=np.float32).reshape(1, 4, 10, 10)
SPREAD = float(SCORES.std())


def judged(monkeypatch, off: float, rounding: float, precision: Precision = Precision.INT8) -> str:
    """`require_same` of a model whose scores are off by this part of the spread, as those before rounding are."""

    def outputs_of(artifact: Any, *_: object) -> list[list[np.ndarray]]:
        shift = {"source": 0.0, "made": off}.get(str(artifact.path), rounding)
        return [[SCORES + np.float32(shift * SPREAD)]]

    monkeypatch.setattr(same_as_source, "made_inputs", lambda *_: [])
    monkeypatch.setattr(same_as_source, "outputs_of", outputs_of)
    monkeypatch.setattr(same_as_source, "unquantized_onnx", lambda *_: None)
    manifest = SimpleNamespace(
        outputs=[SimpleNamespace(semantics="logits")], target=SimpleNamespace(precision=precision), image=None
    )
    source, made = (SimpleNamespace(path=Path(name), manifest=manifest, file=Path) for name in ("source", "made"))
    monkeypatch.setattr(same_as_source, "_where", lambda *_: "")
    return require_same(
        cast("Any", source),
        cast("Any", made),
        cast("Any", SimpleNamespace(title="X")),
        StepContext(),
        cast("Any", None),
    )


def test_a_small_difference_needs_no_comparison_with_rounding(monkeypatch):
    assert "rounding" not in judged(monkeypatch, 0.09, rounding=0.0)


def test_what_rounding_changes_twice_as_much_is_allowed(monkeypatch):
    assert "0.2 of their spread" in judged(monkeypatch, 0.2, rounding=0.45).replace("2.0e-01", "0.2")


@pytest.mark.parametrize(
    ("off", "rounding", "precision"),
    [(0.2, 0.3, Precision.INT8), (0.2, 0.0, Precision.INT8), (0.2, 9.0, Precision.FP32), (np.nan, 9.0, Precision.INT8)],
)
def test_more_is_another_model(monkeypatch, off, rounding, precision):
    with pytest.raises(UnsupportedModelError, match="converts this model into another one"):
        judged(monkeypatch, off, rounding, precision)

"""Instructions of one inference, counted by the real QEMU in the real ONNX Runtime for arm64."""

from __future__ import annotations

from pathlib import Path

import pytest

from segexport.measure.instructions import CORES, count_instructions

from .conftest import require_tools
from .models import convolution


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_counts_repeat_and_grow_with_the_model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tools = require_tools("count")
    monkeypatch.setenv("SEGEXPORT_ANDROID_TOOLS", str(tools))
    small, large = (convolution(tmp_path / str(channels), channels=channels) for channels in (4, 12))
    first, again, more = (count_instructions(artifact) for artifact in (small, small, large))
    for core in CORES:
        counted = [found.counts[core].instructions for found in (first, again, more)]
        assert counted[0] > 20_000  # 24x32 pixels, 5 classes, 36 products each, of which an instruction does four
        assert abs(counted[1] - counted[0]) <= 1_000  # a few hundred, of however many
        assert counted[2] > counted[0] + 20_000
        assert first.counts[core].counted_by == f"ONNX Runtime 1.26.0 for arm64, QEMU's {core}"

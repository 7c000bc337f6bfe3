"""Networks with these heads, from Paddle's own export to lanes and instances in another format."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import segexport
from segexport.artifact import read_artifact

NETWORKS = Path(__file__).resolve().parents[1] / "exporter" / "networks.py"


@pytest.mark.parametrize(("name", "kind"), [("lanenet", "lanes"), ("spatial_embedding", "spatial_embedding")])
def test_the_rule_goes_from_the_import_to_the_export(tmp_path, name, kind):
    command = [sys.executable, "-W", "ignore", str(NETWORKS), str(tmp_path), "64x96", name]
    subprocess.run(command, check=True, capture_output=True, timeout=200)
    (tmp_path / "p.yaml").write_text("geometry:\n  - {op: resize, width: 96, height: 64}\n")
    importing = segexport.ImportOptions.from_strings(postprocess=kind, preprocess=tmp_path / "p.yaml")
    model = tmp_path / f"{name}.pdmodel"
    segexport.export(model, tmp_path / "onnx", to="onnx", importing=importing)
    assert read_artifact(tmp_path / "onnx").manifest.postprocess.kind == kind
    picture = np.random.default_rng(0).integers(0, 256, (50, 70, 3)).astype(np.uint8)
    with segexport.load(tmp_path / "onnx") as opened:
        (found,) = opened.predict(picture)  # of random weights: whatever it finds, it is lanes or objects
        assert type(found).__name__ == ("LaneResult" if kind == "lanes" else "InstanceResult")
        assert found.summary

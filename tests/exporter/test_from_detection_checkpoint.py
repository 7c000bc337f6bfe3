"""A Mask R-CNN of PaddleDetection: from its checkpoint and its configuration to what the model's own class computes."""

from __future__ import annotations

import pickle
import subprocess
from pathlib import Path

import numpy as np
import pytest
from detection_networks import write_config
from installed import require_worker

from segexport.errors import InputError
from segexport.exporter import program
from segexport.exporter.from_paddle import ImportOptions, import_model
from segexport.files.store import Store

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """The configuration, a checkpoint, and what its own class computes."""
    python = require_worker("ppdet", optional=True)
    folder = tmp_path_factory.mktemp("detector") / "config"
    write_config(folder)
    script = Path(__file__).with_name("detection_networks.py")
    done = subprocess.run([python, "-I", script, folder], capture_output=True, text=True, timeout=600, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    return folder


def options(folder: Path) -> ImportOptions:
    return ImportOptions(config=folder / "mask_rcnn.yml", input_size=(128, 96))


def test_it_computes_what_the_models_own_class_computes(folder, tools, tmp_path):
    made = import_model(folder / "model.pdparams", options(folder), Store(tmp_path))
    assert made.manifest.num_classes == 3
    assert any("PaddleDetection built MaskRCNN" in note for note in made.manifest.lineage[0].notes)
    own = np.load(folder / "own.npz")
    graph = program.read(made.file("model"), made.file("params"))
    fed = {"image": own["image"], "im_shape": np.float32([[96, 128]]), "scale_factor": np.float32([[1, 1]])}
    found = tools.paddle(graph, [fed[name] for name in graph.feed_names])
    boxes = next(value for value in found if value.ndim == 2 and value.shape[1] == 6)
    masks = next(value for value in found if value.ndim == 3)
    objects = own["bbox"][:, 1] > 0
    assert objects.sum() > 2
    assert np.ptp(own["bbox"][:, 2:]) > 10  # pixels
    # PaddleDetection's export for ONNX adds an object with the score 0, so that there is always one.
    kept = boxes[:, 1] > 0
    np.testing.assert_allclose(boxes[kept], own["bbox"][objects], rtol=0, atol=1e-3)  # pixels
    np.testing.assert_allclose(boxes[kept, :2], own["bbox"][objects, :2], rtol=0, atol=1e-5)  # classes and scores
    assert (masks[kept] == own["mask"][objects]).mean() > 0.999


def test_every_weight_is_accounted_for(folder, tmp_path):
    weights = pickle.loads((folder / "model.pdparams").read_bytes())
    weights["extra"] = weights.pop(next(name for name in weights if name.startswith("neck")))
    (tmp_path / "model.pdparams").write_bytes(pickle.dumps(weights))
    with pytest.raises(InputError, match=r"1 weights are missing and 1 are left over") as caught:
        import_model(tmp_path / "model.pdparams", options(folder), Store(tmp_path / "store"))
    assert "extra" in caught.value.cause


def test_what_paddledetection_has_not(folder, tmp_path):
    file = write_config(tmp_path / "own")
    file.write_text(file.read_text() + "architecture: MaskRCN\nMaskRCN: {}\n")
    with pytest.raises(InputError, match="architecture: PaddleDetection has no 'MaskRCN'"):
        import_model(folder / "model.pdparams", ImportOptions(config=file), Store(tmp_path / "store"))

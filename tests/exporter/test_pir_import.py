"""A folder as Paddle 3 and PaddleX write it is imported and exported like any other."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pir_cases
import pytest
from toolchain import Toolchain

from segexport.errors import InputError, UnsupportedModelError
from segexport.exporter import program as programs
from segexport.exporter.from_paddle import ImportOptions, import_model
from segexport.exporter.rewrites import rewrite_for
from segexport.files.store import Store
from segexport.spec import Format

CASES = pir_cases.read(Path(__file__).resolve().parent.parent / "golden" / "pir" / "cases.zip")
CONFIG = """\
Global:
  model_name: Tiny
PreProcess:
  transform_ops:
  - Resize:
      target_size: [32, 24]
      keep_ratio: false
  - Normalize:
      mean: [0.5, 0.4, 0.3]
      std: [0.5, 0.5, 0.5]
  - ToCHWImage: null
PostProcess:
  label_list: [sky, road, tree, car]
"""


@pytest.fixture
def export(tmp_path: Path) -> Path:
    """A folder of PaddleX 3: inference.json, inference.pdiparams and inference.yml."""
    folder = tmp_path / "export"
    folder.mkdir()
    model, params = CASES["segmentation_dynamic"].write(folder)
    model.rename(folder / "inference.json")
    params.rename(folder / "inference.pdiparams")
    (folder / "inference.yml").write_text(CONFIG)
    return folder


def test_a_folder_is_imported(export: Path, tmp_path: Path) -> None:
    manifest = import_model(export, ImportOptions(), Store(tmp_path / "store")).manifest
    assert manifest.format == Format.PADDLE
    assert [file.path for file in manifest.files] == ["model.pdmodel", "model.pdiparams"]
    assert manifest.inputs[0].shape == (-1, 3, -1, -1)
    assert (manifest.outputs[0].name, manifest.outputs[0].semantics) == ("fetch_name_0", "probability")
    assert [label.name for label in manifest.labels] == ["sky", "road", "tree", "car"]
    assert "translated from Paddle 3's .json into a legacy program" in manifest.lineage[0].notes


def test_the_parameters_file_stands_for_the_model(export: Path, tmp_path: Path) -> None:
    store = Store(tmp_path / "store")
    assert import_model(export / "inference.pdiparams", ImportOptions(), store).manifest.num_classes == 4


@pytest.mark.parametrize("target", ["onnx", "paddle-lite x86"])
def test_exports_agree_with_paddle_3(export: Path, tmp_path: Path, tools: Toolchain, target: str) -> None:
    case = CASES["segmentation_dynamic"]
    height, width = case.feed[0].shape[2:]
    options = ImportOptions(input_size=(width, height))
    artifact = import_model(export, options, Store(tmp_path / "store"))
    program = programs.read(artifact.file("model"), artifact.file("params"))
    changed, _ = rewrite_for(target, program)
    feed = [case.feed[0][:1]]
    (found,) = tools.onnx(changed, feed) if target == "onnx" else tools.lite(changed, feed)
    whole = np.concatenate([found, tools.paddle(program, [case.feed[0][1:2]])[0]])  # the case has a batch of 2
    assert whole.shape == case.shapes[0]
    assert pir_cases.relative_difference(pir_cases.sample(whole), case.samples[0]) <= 1e-5


def test_a_model_without_its_parameters(export: Path, tmp_path: Path) -> None:
    (export / "inference.pdiparams").unlink()
    with pytest.raises(InputError, match="a program without its parameters"):
        import_model(export, ImportOptions(), Store(tmp_path / "store"))


def test_a_model_that_cannot_be_translated_leaves_nothing(export: Path, tmp_path: Path) -> None:
    file = export / "inference.json"
    file.write_text(file.read_text().replace('"1.relu6"', '"1.flash_attn"'))
    store = tmp_path / "store"
    with pytest.raises(UnsupportedModelError, match=r"flash_attn \(1x, layer /Sequential/ReLU6/\)"):
        import_model(export, ImportOptions(), Store(store))
    assert not [path for path in store.rglob("*") if path.suffix in (".pdmodel", ".pdiparams", ".part")]

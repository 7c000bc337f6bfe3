"""The examples in the docstrings of the Python API run unchanged, on the built-in model."""

from __future__ import annotations

import doctest
import inspect
import shutil
from pathlib import Path
from typing import Any

import pytest
from installed import require, require_worker

import segexport
from segexport.commands import api
from segexport.commands.run import DEMO_RECIPE

DEMO = DEMO_RECIPE.parent
LONG = {
    "bench",
    "check",
    "compress",
    "doctor",
    "finetune",
    "recommend",
    "record_reference",
    "run",
    "train",
}  # they time, or train


@pytest.fixture(scope="module")
def folder(tmp_path_factory, shared_cache):
    """What the examples name: `export`, `data`, `photos`, `street.png`, and some exports that were made before."""
    require("paddle", "paddle2onnx", "onnx", "onnxruntime")
    root = tmp_path_factory.mktemp("examples")
    shutil.copytree(DEMO / "model", root / "export")
    shutil.copytree(DEMO / "model", root / "model")  # which the recipe names
    shutil.copytree(DEMO / "data", root / "data")
    shutil.copy(root / "data" / "all.txt", root / "data" / "val.txt")  # a reference is recorded on ten images at least
    shutil.copytree(DEMO / "data" / "images", root / "photos")
    shutil.copy(DEMO_RECIPE, root / "recipe.yaml")
    shutil.copy(DEMO / "data" / "images" / "tile_00.png", root / "street.png")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SEGEXPORT_CACHE", str(shared_cache))
        patch.chdir(root)
        segexport.export("export", "my-onnx", to="onnx")
        shutil.copytree("my-onnx", "fp32")
        segexport.export("export", "int8", to="onnx", precision="int8", calibration="data")
        shutil.copytree("int8", "my-int8")
        (root / "pipeline.yaml").write_text("Pipeline: {model: my-onnx}\n")
        yield root


def examples(name: str) -> list[str]:
    function = getattr(api, name, None) or getattr(segexport, name)
    found = doctest.DocTestParser().get_examples(inspect.getdoc(function) or "")
    if found and all(example.options.get(doctest.SKIP) for example in found):
        pytest.skip("the docstring says that its example needs more than the built-in model")
    return [example.source for example in found if not example.options.get(doctest.SKIP)]


NAMES = [name for name in segexport.__all__ if name not in ("ImportOptions", "SegexportError")]


@pytest.mark.parametrize("name", [pytest.param(name, marks=pytest.mark.slow if name in LONG else ()) for name in NAMES])
def test_the_example_runs(name: str, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if name == "train":
        require_worker("paddleseg", optional=True)
    for path in folder.iterdir():  # each example writes into a separate folder
        (tmp_path / path.name).symlink_to(path)
    if name == "export":
        (tmp_path / "my-int8").unlink()
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {"segexport": segexport}
    sources = examples(name)
    assert sources
    for source in sources:
        exec(compile(source, f"<example of {name}>", "exec"), names)

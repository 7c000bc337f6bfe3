"""The Python API: its names, what they are called with, and what comes back looks like something."""

from __future__ import annotations

import inspect
import subprocess
import sys
from html import escape
from pathlib import Path

import numpy as np
import pytest

import segexport
from segexport.commands import api
from segexport.predict.prediction import SegmentationResult
from segexport.spec import Label

FUNCTIONS = [name for name in segexport.__all__ if name not in ("ImportOptions", "SegexportError", "Tiles")]


@pytest.mark.parametrize("name", FUNCTIONS)
def test_a_function_has_a_docstring_with_errors_and_an_example(name):
    function = getattr(api, name, None) or getattr(segexport, name)
    text = inspect.getdoc(function) or ""
    assert "Raises:" in text
    assert f"segexport.{name}(" in text
    assert inspect.signature(function, eval_str=False).return_annotation not in (inspect.Signature.empty, "Any")


def test_all_names_are_there_and_listed():
    assert set(segexport.__all__) <= set(dir(segexport))
    for name in segexport.__all__:
        assert callable(getattr(segexport, name))
    with pytest.raises(AttributeError, match="has no attribute 'exprot'"):
        getattr(segexport, "exprot")  # noqa: B009 - a typing error, which is what is tested


def test_a_package_of_the_same_name_is_called_like_the_function(tmp_path):
    """`import segexport.check.compare` puts the package where the function was."""
    import segexport.check.compare
    import segexport.diagnose.schema

    with pytest.raises(segexport.SegexportError, match="--reference is missing"):
        segexport.check("nothing")
    with pytest.raises(segexport.SegexportError, match="not an artifact"):
        segexport.diagnose(tmp_path / "nothing", reference="x", image="y")
    from segexport.check import compare

    assert compare.check.__name__ == "check"


def test_an_option_that_is_none_is_an_error():
    with pytest.raises(TypeError, match="precisoin"):
        segexport.export("a", "b", to="onnx", precisoin="int8")


def test_the_import_is_light():
    source = "import sys, segexport; print([m for m in ('numpy', 'pydantic', 'yaml', 'cv2') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", source], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_options_are_those_of_the_command_line():
    """One option, one name: each that the functions name is a field of the command's options."""
    from segexport.commands.check import CheckOptions
    from segexport.commands.compress import CompressOptions
    from segexport.commands.export import ExportOptions

    for function, options in ((api.check, CheckOptions), (api.compress, CompressOptions), (api.export, ExportOptions)):
        own = {"exports", "model", "output", "importing", "feedback", "options"}
        names = set(inspect.signature(function).parameters) - own
        assert names <= set(options.__dataclass_fields__)


def test_a_result_shows_itself():
    labels = (Label(id=0, name="sky", rgb=(0, 0, 0)), Label(id=1, name="road", rgb=(9, 9, 9)))
    mask = np.array([[0, 1], [1, 1]], np.uint8)
    result = SegmentationResult("a.png", np.zeros((2, 2, 3), np.uint8), mask, None, labels)
    assert repr(result) == "<SegmentationResult a.png: 2x2; sky 25.0%, road 75.0%>"
    assert result._repr_png_().startswith(b"\x89PNG")


def test_a_report_shows_itself():
    from report_sample import full_report

    report = full_report()
    assert repr(report).startswith(f"<Report {report.verdict.value}: ")
    shown = report._repr_html_()
    assert all(escape(export.name) in shown for export in report.exports)
    assert "<script" not in shown


def test_an_artifact_shows_itself():
    from recordings import subject

    artifact = subject().artifact
    assert artifact is not None
    assert repr(artifact).startswith(f"<{artifact.manifest.name}: ")
    assert str(Path(".")) in repr(artifact)

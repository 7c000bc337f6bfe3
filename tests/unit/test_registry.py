"""What can be named is found by entry point: segexport's own as that of other packages."""

from __future__ import annotations

import importlib.metadata
from importlib.metadata import EntryPoint, EntryPoints
from typing import Literal

import pytest

from segexport.check.sessions import in_each_runtime
from segexport.errors import EnvironmentMissingError, InputError
from segexport.exporter.targets.base import ExportTarget
from segexport.exporter.targets.onnx import OnnxTarget
from segexport.judge.results import Export
from segexport.pipeline import entry_points, registry
from segexport.recipe.export import ExportRecipe
from segexport.runtimes.ort import OnnxRuntime
from segexport.spec import Format, Precision


class Another(OnnxRuntime):
    name = "another"


class HalfExport(ExportRecipe):
    to: Literal["half"]


class Half(ExportTarget):
    """Does not say its steps."""

    name, Recipe = "half", HalfExport


@pytest.fixture
def with_entries(monkeypatch):
    """Adds entry points (group, name, value) to those that are installed."""

    own = importlib.metadata.entry_points

    def add(*more: tuple[str, str, str]) -> None:
        def found():
            kept = (entry for group in entry_points._GROUPS.values() for entry in own(group=group))
            return EntryPoints([*kept, *(EntryPoint(name, value, group) for group, name, value in more)])

        monkeypatch.setattr(importlib.metadata, "entry_points", found)
        entry_points.forget()

    yield add
    monkeypatch.undo()
    entry_points.forget()


@pytest.mark.parametrize("kind", list(entry_points._GROUPS))
def test_everything_loads(kind):
    assert entry_points.names(kind)
    assert all(entry_points.load(kind, name) for name in entry_points.names(kind))


def test_a_name_that_is_not_there_is_told_its_neighbour():
    with pytest.raises(InputError) as caught:
        entry_points.load("runtime", "onnxruntim")
    assert caught.value.what == "there is no runtime 'onnxruntim'"
    assert caught.value.hint == "did you mean 'onnxruntime'?"
    with pytest.raises(InputError) as caught:
        entry_points.load("runtime", "xyz")
    assert caught.value.hint == f"the runtimes are {', '.join(registry.runtimes())}"


def test_a_format_that_nothing_runs_is_refused_with_those_that_are_run():
    with pytest.raises(InputError) as caught:
        registry.runtime_for("tflite")
    assert caught.value.what == "no runtime here runs tflite"
    assert caught.value.cause == f"the installed runtimes run {', '.join(entry_points.formats())}"
    assert {"onnx", "openvino", "paddle", "paddle-lite"} <= set(entry_points.formats())


def test_a_broken_package_spoils_nothing_but_itself(with_entries):
    with_entries(("segexport.runtimes", "broken", "segexport.no_such_module:Runtime"))
    assert "broken" in entry_points.names("runtime")
    assert "broken" not in registry.runtimes()
    assert registry.runtime_for("onnx").name == "onnxruntime"
    with pytest.raises(EnvironmentMissingError) as caught:
        entry_points.load("runtime", "broken")
    assert caught.value.what == "runtime 'broken' of the package segexport.no_such_module:Runtime cannot be loaded"
    assert "No module named 'segexport.no_such_module'" in caught.value.cause


def test_a_runtime_that_is_named_comes_before_the_formats_first(with_entries):
    with_entries(("segexport.runtimes", "another", "test_registry:Another"))
    assert registry.runtime_for("onnx").name == "onnxruntime"
    assert registry.runtime_for("onnx", name="another").name == "another"
    with pytest.raises(InputError, match="there is no runtime 'anothr'\nhint: did you mean 'another'"):
        registry.runtime_for("onnx", name="anothr")
    with pytest.raises(InputError, match="runtime 'another' runs onnx, not paddle\nhint: what runs paddle: paddle"):
        registry.runtime_for("paddle", name="another")


def test_runtimes_of_a_format_begin_with_those_that_its_target_names(with_entries):
    with_entries(("segexport.runtimes", "another", "test_registry:Another"))
    found = [runtime.name for runtime in registry.runtimes_of("onnx")]
    assert (found[0], found[-1]) == ("onnxruntime", "another")


def test_an_export_is_checked_in_each_runtime_that_is_wanted_for_its_format(with_entries):
    with_entries(("segexport.runtimes", "another", "test_registry:Another"))
    exports = [Export("a", Format.ONNX, Precision.FP32), Export("b", Format.PADDLE_LITE, Precision.FP32)]

    def rows(*wanted: str) -> list[tuple[str, str]]:
        return [(row.name, row.runtime) for row in in_each_runtime(exports, wanted)]

    assert rows() == [("a", ""), ("b", "")]
    assert rows("another") == [("a", "another"), ("b", "")]
    assert rows("another", "onnxruntime", "another") == [
        ("a@another", "another"),
        ("a@onnxruntime", "onnxruntime"),
        ("b", ""),
    ]
    with pytest.raises(InputError, match="runtime 'paddle' runs paddle, and the exports are onnx, paddle-lite"):
        rows("paddle")


def test_what_another_package_brings_does_not_replace_segexports_own(with_entries):
    with_entries(("segexport.runtimes", "onnxruntime", "test_registry:Another"))
    assert registry.runtime_for("onnx").name == "onnxruntime"


def test_a_target_whose_recipe_has_another_name_is_refused():
    with pytest.raises(TypeError, match="must declare `to: Literal"):

        class Mine(OnnxTarget):
            name = "mine"


def test_a_target_that_is_not_whole_spoils_nothing_but_itself(with_entries):
    with_entries(("segexport.targets", "half", "test_registry:Half"))
    assert "half" not in registry.targets()
    assert {"onnx", "paddle-lite"} < set(registry.targets())
    with pytest.raises(
        EnvironmentMissingError, match="target 'half' of the package test_registry:Half cannot be"
    ) as told:
        registry.target_named("half")
    assert "abstract" in told.value.cause
    assert [error.what for error in entry_points.broken()] == [told.value.what]


def test_without_an_installation_there_are_segexports_own(monkeypatch):
    """As in a worker that imports segexport in another Python."""
    own = {target.name for target in registry.targets().values() if type(target).__module__.startswith("segexport.")}
    monkeypatch.setattr(importlib.metadata, "entry_points", lambda: EntryPoints([]))
    entry_points.forget()
    try:
        assert set(entry_points.names("target")) == own
        assert {"prune", "to_onnx"} < set(entry_points.names("step"))
    finally:
        entry_points.forget()

"""Plans and builds: chains that fit, keys that know what decides the bytes, work that is done once."""

from __future__ import annotations

from pathlib import Path

import pytest

from segexport.artifact import LineageEntry, Manifest, ModelArtifact, TargetDevice, file_entry, write_artifact
from segexport.errors import InputError, UnsupportedModelError
from segexport.files.store import Store
from segexport.pipeline.plan import Planned, PlanRunner, plan
from segexport.pipeline.registry import make_step
from segexport.pipeline.step import StepContext, check_chain, content_key, lineage_entry
from segexport.recipe.schema import Recipe
from segexport.spec import Format, Frozen, Label, Precision, Preprocess, TensorSpec


def recipe(*exports: dict, **changes) -> Recipe:
    content = {"model": {"path": "m"}, "data": {"path": "d"}, "exports": exports or ({"to": "onnx"},), **changes}
    return Recipe.model_validate(content)


@pytest.fixture
def source(tmp_path: Path) -> ModelArtifact:
    folder = tmp_path / "source"
    folder.mkdir()
    (folder / "model.pdmodel").write_bytes(b"program")
    tensor = TensorSpec(name="x", dtype="float32", shape=(1, 3, 4, 4), layout="NCHW", semantics="image")
    manifest = Manifest(
        name="m",
        format=Format.PADDLE,
        files=(file_entry(folder, "model.pdmodel"),),
        inputs=(tensor,),
        outputs=(tensor,),
        preprocess=Preprocess(),
        labels=(Label(id=0, name="a", rgb=(0, 0, 0)),),
        target=TargetDevice(arch="any", precision=Precision.FP32),
        lineage=(LineageEntry(step="import", version="1"),),
    )
    return write_artifact(folder, manifest)


class Append:
    """Adds a letter to the program, and counts how often it had to."""

    kind, version, needs, uses_data = "append", "1", (), False
    accepts = produces = Format.PADDLE

    class Params(Frozen):
        letter: str = "a"

    def __init__(self, letter: str = "a", error: Exception | None = None) -> None:
        self.params, self.error, self.runs = self.Params(letter=letter), error, 0

    def run(self, source: ModelArtifact, out_dir: Path, context: StepContext) -> Manifest:
        self.runs += 1
        if self.error is not None:
            raise self.error
        content = (source.path / "model.pdmodel").read_bytes() + self.params.letter.encode()
        (out_dir / "model.pdmodel").write_bytes(content)
        lineage = (*source.manifest.lineage, lineage_entry(self, context.key))
        return source.manifest.model_copy(update={"files": (file_entry(out_dir, "model.pdmodel"),), "lineage": lineage})


def chain(*steps: Append, start: str = "s") -> tuple[Planned, ...]:
    planned, key = [], start
    for step in steps:
        key = content_key(step, key, "", 0)
        planned.append(Planned(step, key))
    return tuple(planned)


def test_a_plan_shares_the_beginning_of_its_chains(source):
    exports = ({"to": "onnx"}, {"to": "onnx", "precision": "fp16"}, {"to": "onnx", "precision": "int8"})
    chains = plan(recipe(*exports, {"to": "paddle-lite", "precision": "w8"}), source, "data").chains
    kinds = {name: [planned.step.kind for planned in steps] for name, steps in chains.items()}
    assert kinds == {
        "onnx-fp32": ["to_onnx"],
        "onnx-fp16": ["to_onnx", "onnx_fp16"],
        "onnx-int8": ["to_onnx", "onnx_int8"],
        "paddle-lite-w8": ["to_paddle_lite"],
    }
    assert len({steps[0].key for name, steps in chains.items() if name.startswith("onnx")}) == 1
    assert len({planned.key for steps in chains.values() for planned in steps}) == 4


def keys(given: Recipe, source: ModelArtifact, data: str = "data") -> dict[str, str]:
    return {name: steps[-1].key for name, steps in plan(given, source, data).chains.items()}


def test_keys_change_with_what_decides_the_bytes_and_only_that(source):
    exports = ({"to": "onnx"}, {"to": "onnx", "precision": "int8"})
    before = keys(recipe(*exports), source)
    assert keys(recipe(*exports, title="another", check={"threads": 2}), source) == before
    other_data = keys(recipe(*exports), source, "other")
    assert other_data["onnx-fp32"] == before["onnx-fp32"]  # it looks at no image
    assert other_data["onnx-int8"] != before["onnx-int8"]
    calibrated = ({"to": "onnx"}, {"to": "onnx", "precision": "int8", "calibration": {"images": 7}})
    assert keys(recipe(*calibrated), source)["onnx-int8"] != before["onnx-int8"]
    assert keys(recipe(*exports, seed=1), source)["onnx-int8"] != before["onnx-int8"]
    other = ModelArtifact(source.path, source.manifest.model_copy(update={"preprocess": Preprocess(color="bgr")}))
    assert not set(keys(recipe(*exports), other).values()) & set(before.values())
    named = ModelArtifact(source.path, source.manifest.model_copy(update={"name": "another"}))
    assert not set(keys(recipe(*exports), named).values()) & set(before.values())  # what is kept carries the name


def test_the_key_knows_the_versions_of_step_and_tools(monkeypatch):
    step = Append()
    before = content_key(step, "s", "", 0)
    monkeypatch.setattr(Append, "version", "2")
    assert content_key(step, "s", "", 0) != before
    monkeypatch.setattr(Append, "version", "1")
    assert content_key(step, "s", "", 0) == before
    monkeypatch.setattr(Append, "needs", ("numpy",))
    assert content_key(step, "s", "", 0) != before


def test_a_chain_that_does_not_fit_is_refused_before_anything_runs():
    steps = [make_step("to_onnx", {}), make_step("to_paddle_lite", {})]
    with pytest.raises(InputError) as caught:
        check_chain(steps, Format.PADDLE)
    assert caught.value.what == "step 'to_paddle_lite' takes paddle, but step 'to_onnx' gives onnx"
    with pytest.raises(InputError, match="step 'to_onnx' takes paddle, but the model gives onnx"):
        check_chain(steps[:1], Format.ONNX)


def test_steps_that_do_not_exist_and_parameters_they_do_not_take(source):
    with pytest.raises(InputError) as caught:
        plan(recipe(steps=[{"step": "to_onx"}]), source, "")
    assert (caught.value.what, caught.value.hint) == ("there is no step 'to_onx'", "did you mean 'to_onnx'?")
    with pytest.raises(InputError) as caught:
        plan(recipe(steps=[{"step": "to_onnx", "params": {"simplfy": True}}]), source, "")
    assert caught.value.what == "step 'to_onnx' does not take these parameters"
    assert caught.value.cause == "simplfy: Extra inputs are not permitted"


def test_work_is_done_once_and_said(source, tmp_path):
    said = []
    first, second, third = Append("x"), Append("y"), Append("z")
    store = Store(tmp_path / "store")
    builder = PlanRunner(store, StepContext(), said.append)
    built = builder.build("one", source, chain(first, second))
    assert (built.path / "model.pdmodel").read_bytes() == b"programxy"
    assert [entry.step for entry in built.manifest.lineage] == ["import", "append", "append"]
    assert [entry.key for entry in built.manifest.lineage[1:]] == [planned.key for planned in chain(first, second)]
    built = builder.build("two", source, chain(first, third))
    assert (built.path / "model.pdmodel").read_bytes() == b"programxz"
    assert (first.runs, second.runs, third.runs) == (1, 1, 1)
    assert (builder.made.made, builder.made.found) == (3, 1)
    assert said[2] == "two: append found in the cache"
    again = PlanRunner(store, StepContext())
    again.build("one", source, chain(first, second))
    assert (again.made.made, again.made.found, first.runs) == (0, 2, 1)


def test_a_step_that_failed_is_not_tried_for_the_next_export(source, tmp_path):
    broken = Append("x", UnsupportedModelError("no such operator"))
    builder = PlanRunner(Store(tmp_path / "store"), StepContext())
    for name in ("one", "two"):
        with pytest.raises(UnsupportedModelError, match="no such operator"):
            builder.build(name, source, chain(broken, Append("y")))
    assert broken.runs == 1
    with pytest.raises(UnsupportedModelError):  # but by the next run it is: the reason may be gone
        PlanRunner(Store(tmp_path / "store"), StepContext()).build("one", source, chain(broken))
    assert broken.runs == 2


def test_a_damaged_output_is_made_again(source, tmp_path):
    step = Append("x")
    builder = PlanRunner(Store(tmp_path / "store"), StepContext())
    built = builder.build("one", source, chain(step))
    (built.path / "model.pdmodel").write_bytes(b"damaged")
    built = builder.build("one", source, chain(step))
    assert (built.path / "model.pdmodel").read_bytes() == b"programx"
    assert step.runs == 2


def test_a_bug_in_a_step_leaves_nothing(source, tmp_path):
    store = Store(tmp_path / "store")
    with pytest.raises(ZeroDivisionError):
        PlanRunner(store, StepContext()).build("one", source, chain(Append("x", ZeroDivisionError())))
    assert list(store.entries()) == []
    assert list(store.unfinished.iterdir()) == []


def test_a_step_that_needs_images_says_so():
    with pytest.raises(InputError) as caught:
        StepContext().images("int8 calibration")
    assert caught.value.what == "int8 calibration needs images, and none are given"

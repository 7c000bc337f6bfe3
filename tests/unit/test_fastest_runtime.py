"""The fastest runtime is measured, kept, and measured again when a version changes; no wrong one is chosen."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from fakes import FakeSession

from segexport.artifact import Manifest, ModelArtifact, TargetDevice, file_entry, write_artifact
from segexport.commands.bench import bench, render
from segexport.errors import InputError, WorkerCrashed
from segexport.files.store import Store
from segexport.pipeline import registry
from segexport.predict.fastest_runtime import fastest_runtime
from segexport.progress import Silence
from segexport.runtimes.base import RunOptions
from segexport.spec import Format, Label, Precision, Preprocess, TensorSpec


class Opened(FakeSession):
    def __enter__(self) -> Opened:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class Engine:
    """Gives the masks of `segment` in `ms` milliseconds."""

    runs, profiles = (Format.ONNX,), False

    def __init__(self, name: str, ms: float, segment: Callable[[np.ndarray], np.ndarray] | None = None) -> None:
        self.name = self.title = name
        self.ms, self.installed, self.opened, self.fault = ms, "1.0", 0, False
        self._segment = segment or (lambda x: (x[0, 0] > 0).astype(np.uint8))

    def version(self) -> str:
        return self.installed

    def open(self, artifact: ModelArtifact, options: RunOptions) -> FakeSession:
        self.opened += 1
        if self.fault:
            raise WorkerCrashed(f"{self.name}: the process was killed by SIGSEGV")
        session = Opened(self._segment, bench_ms=lambda _: self.ms)
        session.info = replace(session.info, runtime=self.name)
        return session


@pytest.fixture
def artifact(tmp_path) -> ModelArtifact:
    (tmp_path / "model.onnx").write_bytes(b"model")
    shape = (1, 3, 8, 8)
    return ModelArtifact(
        tmp_path,
        Manifest(
            name="net",
            format=Format.ONNX,
            files=(file_entry(tmp_path, "model.onnx"),),
            inputs=(TensorSpec(name="x", dtype="float32", shape=shape, layout="NCHW", semantics="image"),),
            outputs=(TensorSpec(name="y", dtype="float32", shape=(1, 2, 8, 8), layout="NCHW", semantics="logits"),),
            preprocess=Preprocess(),
            labels=tuple(Label(id=index, name=str(index), rgb=(0, 0, 0)) for index in range(2)),
            target=TargetDevice(arch="any", precision=Precision.FP32),
        ),
    )


@pytest.fixture
def engines(monkeypatch) -> Callable[..., None]:
    """Puts these runtimes in the place of all that are installed."""

    def put(*wanted: Engine) -> None:
        known = {engine.name: engine for engine in wanted}
        monkeypatch.setattr(registry, "instances", lambda kind: known if kind == "runtime" else {})
        monkeypatch.setattr(registry, "instance", lambda _kind, name: known[name])

    return put


def test_the_fastest_is_measured_once(engines, artifact, tmp_path):
    slow, quick, store = Engine("onnxruntime", 4.0), Engine("quick", 3.0), Store(tmp_path / "store")
    engines(slow, quick)
    assert fastest_runtime(artifact, RunOptions(), store=store) == "quick"
    opened = quick.opened
    assert opened > 3  # once for its masks, and once for each session that was timed
    assert fastest_runtime(artifact, RunOptions(), store=store) == "quick"
    assert quick.opened == opened
    slow.ms = 1.0  # unnoticed: the stored choice is used
    assert fastest_runtime(artifact, RunOptions(), store=store) == "quick"
    slow.installed = "1.1"
    assert fastest_runtime(artifact, RunOptions(), store=store) == "onnxruntime"
    assert fastest_runtime(artifact, RunOptions(threads=2), store=store) == "onnxruntime"
    assert quick.opened > 2 * opened  # other versions, and another number of threads


def test_no_other_is_chosen_that_is_not_surely_faster(engines, artifact, tmp_path):
    engines(Engine("onnxruntime", 2.0), Engine("same", 2.0))
    assert fastest_runtime(artifact, RunOptions(), store=Store(tmp_path / "store")) == "onnxruntime"


def test_one_with_other_masks_is_not_chosen_however_fast(engines, artifact, tmp_path):
    def wrong(x: np.ndarray) -> np.ndarray:
        return (x[0, 0] > 0.2).astype(np.uint8)

    engines(Engine("onnxruntime", 4.0), Engine("wrong", 1.0, wrong))
    assert fastest_runtime(artifact, RunOptions(), store=Store(tmp_path / "store")) == "onnxruntime"
    (kept,) = tmp_path.rglob("fastest.json")
    assert 0.5 < json.loads(kept.read_text())["disagree"]["wrong"] < 0.999


def test_one_that_crashes_is_left_out_and_tried_again(engines, artifact, tmp_path):
    broken, store = Engine("broken", 1.0), Store(tmp_path / "store")
    broken.fault = True
    engines(Engine("onnxruntime", 4.0), broken)
    assert fastest_runtime(artifact, RunOptions(), store=store) == "onnxruntime"
    broken.fault = False
    assert fastest_runtime(artifact, RunOptions(), store=store) == "broken"


def test_a_damaged_answer_is_measured_anew(engines, artifact, tmp_path):
    engines(Engine("onnxruntime", 4.0), Engine("quick", 2.0))
    store = Store(tmp_path / "store")
    fastest_runtime(artifact, RunOptions(), store=store)
    (kept,) = tmp_path.rglob("fastest.json")
    kept.write_text("{")
    assert fastest_runtime(artifact, RunOptions(), store=store) == "quick"


def test_where_one_runtime_is_installed_nothing_is_measured(engines, artifact):
    absent, only = Engine("onnxruntime", 1.0), Engine("only", 4.0)
    absent.installed = ""
    engines(absent, only)
    assert fastest_runtime(artifact, RunOptions()) == "only"
    assert only.opened == 0


# -- segexport bench -------------------------------------------------------------------------------------------


def benched(artifact: ModelArtifact, *paths: Path, **options) -> list[tuple[str, str, float]]:
    write_artifact(artifact.path, artifact.manifest)
    rows = bench([*(paths or (artifact.path,))], threads=[1], device="cpu", latency_seconds=0.1, **options)
    return [(row.name, row.runtime.split()[0], round(row.ratio, 3)) for row in rows]


def test_an_export_is_timed_in_the_runtimes_that_are_named(engines, artifact):
    engines(Engine("onnxruntime", 4.0), Engine("quick", 2.0))
    name = artifact.path.name
    assert [row[2] for row in benched(artifact)] == [1.0]
    assert [row[2] for row in benched(artifact, runtime=("onnxruntime", "quick"))] == [1.0, 0.5]
    assert [row[0] for row in benched(artifact, all_runtimes=True)] == [name, name]
    with pytest.raises(InputError, match="there is no runtime 'quik'\nhint: did you mean 'quick'"):
        benched(artifact, runtime=("quik",))
    with pytest.raises(InputError, match="--runtime and --all-runtimes cannot be combined"):
        benched(artifact, runtime=("quick",), all_runtimes=True)


def test_of_all_runtimes_one_that_fails_is_told_and_left_out(engines, artifact):
    broken = Engine("broken", 1.0)
    broken.fault = True
    engines(Engine("onnxruntime", 4.0), broken)
    told: list[str] = []

    class Told(Silence):
        def error(self, error) -> None:
            told.append(error.what)

    assert [row[2] for row in benched(artifact, all_runtimes=True, feedback=Told())] == [1.0]
    assert told == [f"{artifact.path.name} in broken: broken: the process was killed by SIGSEGV"]
    with pytest.raises(WorkerCrashed):
        benched(artifact, runtime=("broken",))


def test_a_folder_of_exports_stands_for_all_of_them(engines, artifact, tmp_path):
    engines(Engine("onnxruntime", 4.0))
    for name in ("b", "a"):
        (folder := tmp_path / "exports" / name).mkdir(parents=True)
        shutil.copy(artifact.file("model"), folder)
        write_artifact(folder, artifact.manifest)
    assert [row[0] for row in benched(artifact, tmp_path / "exports")] == ["a", "b"]


def test_a_table_of_several_runtimes_says_in_its_title_what_all_have_in_common(engines, artifact):
    engines(Engine("onnxruntime", 4.0), Engine("quick", 2.0))
    write_artifact(artifact.path, artifact.manifest)
    rows = bench([artifact.path], threads=[1], device="cpu", latency_seconds=0.1, all_runtimes=True)
    shown = render(rows, "table", color=False, width=120)
    head = next(line for line in shown.splitlines() if "Export" in line)
    assert head.split()[:3] == ["Export", "runtime", "load"]
    assert "to the first row; threads 1; input 8x8" in " ".join(shown.split())

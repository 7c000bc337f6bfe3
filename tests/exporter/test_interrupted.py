"""A converter that refuses leads on to the next try; one that the machine ended does not. Real tools, real signals."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
import yaml
from graphs import Graph
from installed import require_worker
from workshop import SIDE, Workshop

from segexport.artifact import ModelArtifact
from segexport.commands.run import run
from segexport.errors import Interrupted, UnsupportedModelError
from segexport.exporter import to_litert, to_mnn, to_ncnn, to_onnx, to_openvino, to_paddle_lite
from segexport.files.store import Store
from segexport.pipeline.plan import PlanRunner, planned
from segexport.pipeline.registry import make_step
from segexport.pipeline.step import StepContext
from segexport.process.worker import Worker

PLANTED = """
import json, os, signal, sys, time
from pathlib import Path
sys.path.insert(0, {workers!r})
import {name} as real

PLAN = Path({plan!r})

def planted(arguments, arrays):
    plan = json.loads(PLAN.read_text())
    what = str(arguments.get({argument!r}, "any"))
    plan["asked"].append(what)
    end = plan[what].pop(0) if plan.get(what) else ""
    PLAN.write_text(json.dumps(plan))
    if end == "NOTHING":
        return {{"version": "1", "left_out": [], "rounded": []}}, []
    if end == "HANG":
        time.sleep(60)
    if end == "MEMORY":
        raise MemoryError("Unable to allocate 9 GiB")
    if end:
        os.kill(os.getpid(), getattr(signal, end))
    return real.COMMANDS[{command!r}](arguments, arrays)

COMMANDS = {{**real.COMMANDS, {command!r}: planted}}
"""


class Planted:
    """The real worker, which a signal ends first, as often as the plan says."""

    def __init__(self, folder: Path, name: str, command: str, argument: str) -> None:
        self.folder, self.plan, real = folder, folder / "plan.json", to_onnx.WORKERS
        folder.mkdir()
        for file in real.glob("*.py"):
            (folder / file.name).symlink_to(file)
        (folder / f"{name}.py").unlink()
        given = {"workers": str(real), "name": name, "plan": str(self.plan), "command": command, "argument": argument}
        (folder / f"{name}.py").write_text(PLANTED.format(**given))
        self.ends()

    def ends(self, **ways: list[str]) -> None:
        """By what is asked (an opset, a place; `any`): the signals, one for each time.

        NOTHING: success without a file. HANG: no answer. MEMORY: an allocation that fails.
        """
        self.plan.write_text(json.dumps({"asked": [], **ways}))

    @property
    def asked(self) -> list[str]:
        return json.loads(self.plan.read_text())["asked"]


@pytest.fixture
def source(workshop: Workshop) -> ModelArtifact:
    graph = Graph()
    image = graph.feed(1, 3, SIDE, SIDE)
    convolution = {"strides": [1, 1], "paddings": [0, 0], "dilations": [1, 1], "groups": 1}
    convolution |= {"data_format": "NCHW", "padding_algorithm": "EXPLICIT"}
    inputs = {"Input": image, "Filter": graph.noise(3, 3, 1, 1)}
    out = graph.op("conv2d", inputs, (1, 3, SIDE, SIDE), slot="Output", **convolution)
    return workshop.imported(graph.program(out))


@pytest.fixture
def paddle2onnx(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Planted:
    planted = Planted(tmp_path / "workers", "paddle2onnx_worker", "convert", "opset")
    monkeypatch.setattr(to_onnx, "WORKERS", planted.folder)
    return planted


@pytest.fixture
def opt(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Planted:
    planted = Planted(tmp_path / "workers", "lite_opt_worker", "compile", "places")
    monkeypatch.setattr(to_paddle_lite, "WORKERS", planted.folder)
    return planted


CONVERTERS = {
    "openvino": (to_openvino, "openvino_worker", ("openvino",)),
    "mnn": (to_mnn, "mnn_convert_worker", ("MNN",)),
    "ncnn": (to_ncnn, "pnnx_worker", ("ncnn", "pnnx")),
    "litert": (to_litert, "litert_convert_worker", ("ai_edge_litert", "onnx")),
}


@pytest.fixture(params=CONVERTERS)
def converter(request, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[str, Planted]:
    """A target's name, and the worker that converts for it."""
    module, name, needs = CONVERTERS[request.param]
    require_worker(*needs)
    planted = Planted(tmp_path / "workers", name, "convert", "")
    monkeypatch.setattr(module, "WORKERS", planted.folder)
    return request.param, planted


def built(store: Store, source: ModelArtifact, step, timeout_s: float = 60) -> ModelArtifact:
    return PlanRunner(store, StepContext(timeout_s=timeout_s)).build("export", source, planned([step], source))


def opset_of(made: ModelArtifact) -> str:
    return next(note for note in made.manifest.lineage[-1].notes if note.startswith("opset "))


def test_a_converter_that_is_killed_once_converts_to_the_same_opset(source, paddle2onnx, tmp_path):
    untouched = built(Store(tmp_path / "untouched"), source, to_onnx.ToOnnx())
    paddle2onnx.ends(**{"16": ["SIGKILL"]})
    made = built(Store(tmp_path / "kept"), source, to_onnx.ToOnnx())
    assert paddle2onnx.asked == ["16", "16"]
    assert opset_of(made) == "opset 16"
    assert made.manifest.files == untouched.manifest.files


@pytest.mark.parametrize("signals", [["SIGKILL", "SIGKILL"], ["SIGTERM", "SIGKILL"]])
def test_a_converter_that_is_killed_again_is_an_error_and_keeps_nothing(source, paddle2onnx, tmp_path, signals):
    store, step = Store(tmp_path / "kept"), to_onnx.ToOnnx()
    paddle2onnx.ends(**{"16": list(signals)})
    with pytest.raises(Interrupted, match=r"paddle2onnx: the process was killed by SIGKILL during 'convert'"):
        built(store, source, step)
    assert paddle2onnx.asked == ["16", "16"]
    assert list(store.entries()) == []
    assert opset_of(built(store, source, step)) == "opset 16"  # the next run is as the first one would have been


def test_a_converter_that_aborts_each_time_refuses_and_the_next_opset_is_tried(source, paddle2onnx, tmp_path):
    paddle2onnx.ends(**{"16": ["SIGSEGV", "SIGSEGV"]})
    made = built(Store(tmp_path / "kept"), source, to_onnx.ToOnnx())
    assert paddle2onnx.asked == ["16", "16", "15"]
    assert opset_of(made) == "opset 15"


def test_aborts_at_every_opset_are_a_refusal(source, paddle2onnx, tmp_path):
    paddle2onnx.ends(**{opset: ["SIGABRT", "SIGABRT"] for opset in ("16", "15", "13", "11")})
    with pytest.raises(UnsupportedModelError, match=r"opset 16, 15, 13, 11 tried"):
        built(Store(tmp_path / "kept"), source, to_onnx.ToOnnx())
    assert len(paddle2onnx.asked) == 8


def test_an_abort_that_does_not_come_again_was_none(source, paddle2onnx, tmp_path):
    paddle2onnx.ends(**{"16": ["SIGSEGV"]})
    assert opset_of(built(Store(tmp_path / "kept"), source, to_onnx.ToOnnx())) == "opset 16"


def test_a_twin_that_was_killed_is_not_left_out(source, opt, tmp_path):
    store, step = Store(tmp_path / "kept"), to_paddle_lite.ToPaddleLite()
    opt.ends(x86=["SIGKILL", "SIGKILL"])
    with pytest.raises(Interrupted, match=r"Paddle-Lite Opt: the process was killed by SIGKILL"):
        built(store, source, step)
    assert list(store.entries()) == []
    opt.ends(arm=["SIGKILL"], x86=["SIGSEGV"])
    made = built(store, source, step)
    assert [entry.role for entry in made.manifest.files] == ["model", "host_model"]
    assert opt.asked == ["arm", "arm", "x86", "x86"]


def test_the_planted_worker_is_the_real_one(paddle2onnx):
    with Worker(paddle2onnx.folder / "paddle2onnx_worker.py", needs="paddle2onnx") as worker:
        paddle2onnx.ends(**{"16": []})
        with pytest.raises(Exception, match="model"):
            worker.call("convert", {"model": "no model", "params": "", "onnx": "", "opset": 16}, timeout_s=60)


def test_each_converter_from_onnx_is_judged_by_how_it_ends(source, converter, tmp_path):
    """Killed by the machine, hung, crashed, or done without a file: an error each time, and never a kept result."""
    target, planted = converter
    store = Store(tmp_path / "kept")
    onnx = built(store, source, to_onnx.ToOnnx())
    kept, step = len(list(store.entries())), make_step(f"to_{target}", {})
    for ends in (["SIGKILL", "SIGKILL"], ["SIGTERM", "SIGKILL"]):
        planted.ends(any=ends)
        with pytest.raises(Interrupted, match=r"was killed by SIGKILL during 'convert'"):
            built(store, onnx, step)
    for ends, cause in (
        (["SIGSEGV"] * 2, "killed by SIGSEGV"),
        (["NOTHING"], r"reported success and wrote no model\."),
    ):
        planted.ends(any=ends)
        with pytest.raises(UnsupportedModelError, match="cannot convert this model") as caught:
            built(store, onnx, step)
        assert re.search(cause, caught.value.cause)
    planted.ends(any=["HANG", "HANG"])
    with pytest.raises(Interrupted, match="convert"):
        built(store, onnx, step, timeout_s=1)
    assert len(list(store.entries())) == kept
    planted.ends(any=["SIGKILL"])
    assert built(store, onnx, step).manifest.format == target
    assert planted.asked == ["any", "any"]


ROWS = {
    "openvino": (["SIGKILL", "SIGKILL"], "was killed by SIGKILL during 'convert'"),
    "mnn": (["NOTHING"], "MNN cannot convert this model"),
    "ncnn": (["SIGSEGV", "SIGSEGV"], "pnnx cannot convert this model"),
    "litert": (["MEMORY", "MEMORY"], "the process got no memory during"),
}


def test_a_converter_that_ends_is_an_error_row_and_the_others_go_on(source, tmp_path, monkeypatch):
    for target, (module, name, needs) in CONVERTERS.items():
        require_worker(*needs)
        planted = Planted(tmp_path / f"workers-{target}", name, "convert", "")
        planted.ends(any=list(ROWS[target][0]))
        monkeypatch.setattr(module, "WORKERS", planted.folder)
    recipe = {
        "model": {"path": "net"},
        "data": {"path": "images"},
        "exports": [*({"to": target, "name": target} for target in ROWS), {"to": "onnx", "name": "onnx"}],
        "check": {"latency_seconds": 0, "worst_images": 0},
    }
    (tmp_path / "recipe.yaml").write_text(yaml.safe_dump(recipe))
    report = run(tmp_path / "recipe.yaml", tmp_path / "out", store=Store(tmp_path / "kept"))
    found = {row.name: (row.verdict.value, row.error or "") for row in report.exports}
    assert found["onnx"][0] == "PASS"
    for target, (_, said) in ROWS.items():
        assert found[target][0] == "ERROR"
        assert said in found[target][1]
        assert not (tmp_path / "out" / "exports" / target).exists()

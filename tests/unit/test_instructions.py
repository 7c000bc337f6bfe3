"""Counting instructions: what is counted, what is said where nothing counts, and how the counts are judged."""

from __future__ import annotations

import json
import re
import runpy
import shutil
from pathlib import Path

import pytest
from fakes import make_shim
from recordings import manifest
from test_conclude import measured, rows

from segexport.artifact import ModelArtifact
from segexport.commands.bench_count import bench_count, render, require_usual
from segexport.errors import InputError, WorkerFailed
from segexport.judge.cost_gates import instructions_check
from segexport.measure import instructions
from segexport.measure.instructions import CORES, PACKAGES, Instructions, count_instructions, here
from segexport.recipe.limits import Limits
from segexport.report.schema import InstructionCount
from segexport.runtimes.base import WORKERS
from segexport.spec import Format, Precision
from segexport.verdict import Verdict

LOCK = Path(__file__).resolve().parents[2] / "android_demo" / "ci" / "tools.lock"
# Writes what the plugin would: 5 million for start-up and loading, and 1000 for each run.
EMULATOR = r"""
while [ $# -gt 0 ]; do
  case $1 in
    -plugin) out=${2#*,out=} ;;
    *.onnx) runs=$2 ;;
  esac
  shift
done
[ -z "$out" ] || printf '%d\n' $((5000000 + 1000 * runs)) $((5000000 + 2000 * runs)) > "$out"
"""


@pytest.fixture
def model(tmp_path: Path) -> ModelArtifact:
    from onnx import TensorProto, helper, save

    image, answer = (helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, 3, 8, 8]) for name in "xy")
    graph = helper.make_graph([helper.make_node("Relu", ["x"], ["y"])], "relu", [image], [answer])
    (tmp_path / "model").mkdir()
    opset = helper.make_opsetid("", 13)
    save(helper.make_model(graph, opset_imports=[opset], ir_version=8), tmp_path / "model" / "model.onnx")
    own = manifest()
    own = own.model_copy(update={"inputs": (own.inputs[0].model_copy(update={"shape": (1, 3, 8, 8)}),)})
    files = (own.files[0].model_copy(update={"path": "model.onnx"}),)
    return ModelArtifact(tmp_path / "model", own.model_copy(update={"format": Format.ONNX, "files": files}))


def has_tools(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = folder / "tools" / "count"
    make_shim(root / "usr/bin/qemu-aarch64", EMULATOR)
    (root / "site/onnxruntime-1.26.0.dist-info").mkdir(parents=True)
    (root / ".complete").touch()
    monkeypatch.setenv("SEGEXPORT_ANDROID_TOOLS", str(folder / "tools"))


def counted(**found: int) -> Instructions:
    return Instructions({name: InstructionCount(instructions=n, counted_by="x") for name, n in found.items()})


def test_the_packages_that_are_named_are_those_that_are_fetched() -> None:
    lines = [line.split() for line in LOCK.read_text().splitlines() if line.startswith("count deb-")]
    assert len(lines) == 11
    assert set(re.findall(r"[a-z][\w.+-]*[\w+]", PACKAGES)) >= {name for _, _, name, *_ in lines}


def test_without_qemu_it_is_skipped_and_names_the_packages(model, tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("SEGEXPORT_ANDROID_TOOLS", str(tmp_path / "none"))
    found = count_instructions(model)
    assert set(found.skipped) >= set(CORES)
    for core in CORES:
        assert "qemu-user, libcapstone4 and liburing2" in found.skipped[core]
        assert "android_demo/ci/fetch_tools.sh count" in found.skipped[core]
    check = instructions_check(found, None, Limits(instructions_ratio_max=1.0), against="onnx-fp32")
    assert check.verdict is Verdict.SKIPPED
    assert "not counted: no QEMU that counts: it needs Debian's qemu-user" in check.message


@pytest.mark.skipif(shutil.which("cc") is None, reason="no C compiler")
def test_start_up_cancels(model, tmp_path, monkeypatch) -> None:
    has_tools(tmp_path, monkeypatch)
    found = count_instructions(model)
    assert [found.counts[core].instructions for core in CORES] == [1000, 1000]
    assert found.counts["cortex-a53"].counted_by == "ONNX Runtime 1.26.0 for arm64, QEMU's cortex-a53"


def test_without_a_compiler_it_is_skipped(model, tmp_path, monkeypatch) -> None:
    has_tools(tmp_path, monkeypatch)
    monkeypatch.setattr(instructions.shutil, "which", lambda _: None)
    assert "Debian: apt install gcc" in count_instructions(model).skipped["cortex-a76"]


def test_a_qemu_that_does_not_start_is_skipped(model, tmp_path, monkeypatch) -> None:
    has_tools(tmp_path, monkeypatch)
    qemu = tmp_path / "tools/count/usr/bin/qemu-aarch64"
    make_shim(qemu, "echo 'qemu-aarch64: error while loading shared libraries: libnuma.so.1' >&2; exit 127")
    assert "shared libraries: libnuma.so.1" in count_instructions(model).skipped["cortex-a76"]
    qemu.write_bytes(b"\x7fELF of another processor")
    assert count_instructions(model).skipped["cortex-a76"] == "qemu-aarch64 does not run here: Exec format error"


def test_a_model_that_does_not_run_there_is_an_error(model, tmp_path, monkeypatch) -> None:
    has_tools(tmp_path, monkeypatch)
    make_shim(tmp_path / "tools/count/usr/bin/qemu-aarch64", "echo 'cannot load' >&2; exit 1")
    with pytest.raises(WorkerFailed, match="qemu-aarch64 ended with 1") as caught:
        count_instructions(model)
    assert caught.value.cause == "cannot load"


def test_other_formats_are_skipped(model) -> None:
    other = ModelArtifact(model.path, model.manifest.model_copy(update={"format": Format.PADDLE_LITE}))
    found = count_instructions(other)
    assert found.counts == {}
    assert found.skipped["cortex-a76"] == "ONNX Runtime does not run paddle-lite"


def test_the_kernels_counter_is_read() -> None:
    """The processor's clock stands for the instructions, which virtual machines seldom count."""
    worker = runpy.run_path(str(WORKERS / "counted_runs.py"), run_name="imported")
    software, task_clock = 1, 1
    try:
        counter = worker["open_counter"](software, task_clock)
    except OSError as error:
        pytest.skip(f"this kernel counts nothing: {error}")
    first = worker["read_counter"](counter)
    sum(range(100_000))
    assert worker["read_counter"](counter) > first > 0


@pytest.mark.parametrize(
    ("limit", "verdict"), [(None, Verdict.SKIPPED), (0.9, Verdict.PASS), (0.8, Verdict.FAIL), (0.84, Verdict.PASS)]
)
def test_the_largest_ratio_decides(limit, verdict) -> None:
    base, own = counted(a76=1_000_000, a53=2_000_000), counted(a76=420_000, a53=1_680_000)
    check = instructions_check(own, base, Limits(instructions_ratio_max=limit), against="onnx-fp32")
    assert (check.name, check.verdict, check.value) == ("cost.instructions", verdict, 0.84)
    assert "a count, not a speed: a76 0.4 million (0.420 of onnx-fp32), a53 1.7 million (0.840" in check.message


def test_counts_become_part_of_the_report() -> None:
    fp32, int8 = measured("onnx-fp32", 10.0), measured("onnx-int8", 9.0, precision=Precision.INT8)
    fp32.instructions, int8.instructions = counted(a76=1000), counted(a76=420)
    found = rows(fp32, int8)
    assert found["onnx-int8"].instructions["a76"].instructions == 420
    (check,) = (check for check in found["onnx-int8"].checks if check.name == "cost.instructions")
    assert check.value == 0.42
    (check,) = (check for check in found["onnx-fp32"].checks if check.name == "cost.instructions")
    assert check.value is None
    plain = rows(measured("onnx-fp32", 10.0))["onnx-fp32"]
    assert [check for check in plain.checks if check.name == "cost.instructions"] == []


@pytest.mark.skipif(shutil.which("cc") is None, reason="no C compiler")
def test_bench_count_shows_each_processor(model, tmp_path, monkeypatch) -> None:
    has_tools(tmp_path, monkeypatch)
    monkeypatch.setattr("segexport.commands.bench_count.exports_named", lambda _: {"one": model, "two": model})
    found = bench_count([])
    assert [(row.name, row.processor, row.instructions, row.ratio) for row in found if row.instructions] == [
        (name, core, 1000, 1.0) for name in ("one", "two") for core in CORES
    ]
    shown = " ".join(render(found, "table", color=False, width=100).split())
    assert "a count, not a speed" in shown
    assert "one cortex-a76 1,000 1.0000x" in shown
    if not any(row.processor == here() and row.instructions for row in found):
        assert f"SKIPPED on {here()}: " in shown
    assert json.loads(render(found, "json", color=False, width=100))["counts"][0]["processor"] == "cortex-a76"


@pytest.mark.parametrize(
    ("option", "given"),
    [
        ("--threads", {"threads": (2,)}),
        ("--device", {"device": "adb"}),
        ("--runtime", {"runtime": ("openvino",)}),
        ("--all-runtimes", {"all_runtimes": True}),
    ],
)
def test_what_has_no_meaning_for_counts_is_refused(option, given) -> None:
    usual = {"threads": (1,), "device": "cpu", "runtime": (), "all_runtimes": False, "latency_seconds": 10.0}
    require_usual(**usual)
    with pytest.raises(InputError, match=f"--count and {option} cannot be combined"):
        require_usual(**{**usual, **given})

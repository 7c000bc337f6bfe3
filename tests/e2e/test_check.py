"""`segexport check` on exports that are wrong in every way a runtime can show; the sound one beside them passes."""

from __future__ import annotations

import json
from pathlib import Path

import onnx_models
import pytest

from segexport.check.compare import check
from segexport.check.request import CheckRequest
from segexport.data.dataset import Dataset
from segexport.exporter.from_onnx import adopt_onnx
from segexport.exporter.from_paddle import ImportOptions, import_model
from segexport.files.store import Store
from segexport.judge.results import Export
from segexport.recipe.schema import CheckRecipe
from segexport.references.live import LiveReference

FAILS = {
    "constant": "tripwire.constant",
    "not_a_number": "tripwire.finite",
    "infinite_in_one_pixel": "tripwire.finite",
    "half_size": "tripwire.shape",
    "random_from_run_to_run": "tripwire.repeatable",
}
ERRORS = {
    "negative_class_index": "class indices run from -7 to -6",
    "class_index_out_of_range": "the model's mask holds the class 8, but the model has 2 classes",
    "one_class_too_many": "the model's mask holds the class 2, but the model has 2 classes",
    "smaller_input": "input 'x' takes float32 [1, 3, 64, 64], got float32 [1, 3, 128, 128]",
    "takes_doubles": "input 'x' takes float64 [1, 3, 128, 128], got float32",
    "no_segmentation": "scores of shape [1, 2] are not those of one image",
}


@pytest.fixture
def exported(workplace) -> Path:
    done = workplace.segexport("export", "model", "--to", "onnx", "-o", "sound")
    assert done.code == 0, done.stderr
    return workplace.root / "sound"


def check_command(workplace, *exports, limit: int = 3) -> tuple:
    options = ("--reference", "model", "--data", "data", "--split", "all", "--latency-seconds", "0", "-o", "out")
    return workplace.segexport("check", *exports, *options, "--limit", str(limit))


def test_every_wrong_export_is_told_from_the_sound_one(workplace, exported):
    files = {name: getattr(onnx_models, name)(workplace.root / f"{name}.onnx") for name in (*FAILS, *ERRORS)}
    done = check_command(workplace, exported, *files.values())
    assert done.code == 2
    assert "Traceback" not in done.stderr
    found = {export["name"]: export for export in workplace.report()["exports"]}
    assert found["sound"]["verdict"] == "PASS"
    for name, tripwire in FAILS.items():
        assert found[name]["verdict"] in ("FAIL", "ERROR"), name
        failed = {entry["name"] for entry in found[name]["checks"] if entry["verdict"] == "FAIL"}
        assert tripwire in failed, (name, failed)
    for name, message in ERRORS.items():
        assert found[name]["verdict"] == "ERROR", name
        assert message in found[name]["error"], name
    for name in found:
        assert name in done.stdout


def test_only_failures_are_exit_code_1(workplace, exported):
    constant = onnx_models.constant(workplace.root / "constant.onnx")
    assert check_command(workplace, exported, constant).code == 1
    verdicts = {export["name"]: export["verdict"] for export in workplace.report()["exports"]}
    assert verdicts == {"sound": "PASS", "constant": "FAIL"}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "broken.onnx: the file is empty"),
        (b"\x00" * 3000, "broken.onnx: not a valid ONNX model"),
        (None, "broken.onnx: not a valid ONNX model"),
    ],
)
def test_files_that_are_no_onnx(workplace, exported, content, message):
    whole = (exported / "model.onnx").read_bytes()
    (workplace.root / "broken.onnx").write_bytes(whole[: len(whole) // 3] if content is None else content)
    done = check_command(workplace, "broken.onnx")
    assert (done.code, done.error) == (2, message)
    assert not (workplace.root / "out").exists()


def with_weights_beside(model: Path, target: Path, weights: str) -> Path:
    """The model again, with its weights in a separate file."""
    onnx = pytest.importorskip("onnx")
    whole = onnx.load(str(model))
    (target.parent / weights).parent.mkdir(parents=True, exist_ok=True)
    onnx.save(whole, str(target), save_as_external_data=True, location=weights, size_threshold=0)
    return target


def test_weights_beside_a_bare_onnx_are_taken_along(workplace, exported, monkeypatch):
    monkeypatch.setenv("SEGEXPORT_CACHE", str(workplace.cache))
    bare = with_weights_beside(exported / "model.onnx", workplace.root / "bare.onnx", "parts/bare.data")
    done = check_command(workplace, "bare.onnx")
    assert done.code == 0, done.stderr
    (found,) = workplace.report()["exports"]
    weights = bare.parent / "parts" / "bare.data"
    assert found["size_bytes"] > weights.stat().st_size

    reference, store = import_model(workplace.root / "model", ImportOptions(), Store()), Store()
    first = adopt_onnx(bare, reference, store)
    assert [(entry.path, entry.role) for entry in first.manifest.files] == [
        ("bare.onnx", "model"),
        ("parts/bare.data", "params"),
    ]
    damaged = bytearray(weights.read_bytes())
    damaged[100] ^= 64
    weights.write_bytes(damaged)
    assert adopt_onnx(bare, reference, store).digest != first.digest  # other weights are another model
    weights.unlink()
    done = check_command(workplace, "bare.onnx")
    assert (done.code, done.error) == (2, "bare.onnx: its weights are in 'parts/bare.data'")


def test_weights_outside_of_a_bare_onnx_s_folder_are_refused(workplace, exported):
    onnx = pytest.importorskip("onnx")
    bare = with_weights_beside(exported / "model.onnx", workplace.root / "bare.onnx", "bare.data")
    (workplace.root / "elsewhere").mkdir()
    bare.rename(workplace.root / "elsewhere" / "linked.onnx")
    (workplace.root / "elsewhere" / "bare.data").symlink_to(workplace.root / "bare.data")
    for name, location in (("absolute", str(workplace.root / "bare.data")), ("above", "../bare.data")):
        model = onnx.load(str(workplace.root / "elsewhere" / "linked.onnx"), load_external_data=False)
        for tensor in model.graph.initializer:
            for entry in tensor.external_data:
                entry.value = location if entry.key == "location" else entry.value
        (workplace.root / "elsewhere" / f"{name}.onnx").write_bytes(model.SerializeToString())
    for name in ("linked", "absolute", "above"):
        done = check_command(workplace, f"elsewhere/{name}.onnx")
        assert done.code == 2
        assert done.error.startswith(f"elsewhere/{name}.onnx: its weights are in ")
        assert "outside of the model's folder" in done.stderr
        assert not (workplace.root / "out").exists()


def test_exports_of_one_name_are_told_apart(workplace, exported):
    for folder in ("a", "b"):
        (workplace.root / folder).mkdir()
        onnx_models.constant(workplace.root / folder / "net.onnx")
    (workplace.root / "b" / "net.onnx").unlink()
    exported.rename(workplace.root / "b" / "net")
    assert check_command(workplace, "a/net.onnx", "b/net").code == 1
    verdicts = {export["name"]: export["verdict"] for export in workplace.report()["exports"]}
    assert verdicts == {"net": "FAIL", "net-2": "PASS"}


def test_an_export_called_reference_is_not_taken_for_it(workplace, exported):
    exported.rename(workplace.root / "reference")
    assert check_command(workplace, "reference").code == 0
    assert [export["name"] for export in workplace.report()["exports"]] == ["reference-2"]


def test_a_label_map_that_is_none(workplace, exported):
    for text, message in (("- a\n", "not a label map"), ("a: [1]\n", "not a label map"), ("x: y\n", "x")):
        (workplace.root / "map.yaml").write_text(text)
        options = ("--reference", "model", "--data", "data", "--split", "all", "--label-map", "map.yaml")
        done = workplace.segexport("check", "sound", *options, "--latency-seconds", "0")
        assert done.code == 2
        assert message in done.error
        assert "Traceback" not in done.stderr


def test_the_forms_on_stdout(workplace, exported):
    options = ("--reference", "model", "--data", "data", "--split", "all", "--limit", "2", "--latency-seconds", "0")
    done = workplace.segexport("check", "sound", *options, "--format", "json")
    assert json.loads(done.stdout)["exports"][0]["name"] == "sound"


def test_a_hang_is_an_error_of_its_export_and_its_process_is_gone(workplace, exported, tmp_path):
    store = Store(tmp_path / "store")
    data = Dataset.open(workplace.root / "data", "all").subset(2)
    reference = import_model(workplace.root / "model", ImportOptions(fallback_labels=data.labels), store)
    endless = adopt_onnx(onnx_models.endless(tmp_path / "endless.onnx"), reference, store)
    sound = adopt_onnx(exported / "model.onnx", reference, store)
    exports = tuple(
        Export(name, found.manifest.format, found.manifest.target.precision, found)
        for name, found in (("endless", endless), ("sound", sound))
    )
    options = CheckRecipe(latency_seconds=0, timeout_s=12, worst_images=0)
    report = check(CheckRequest(LiveReference.of(reference, options), exports, data, tmp_path, options))
    hanging, fine = report.exports
    assert (hanging.verdict.value, fine.verdict.value) == ("ERROR", "PASS")
    assert hanging.error.startswith("onnxruntime: no answer to 'infer' in 12 s; the process was ended")

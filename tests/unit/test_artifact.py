"""Manifests from strangers: what is not whole, plain and inside its folder is refused with a reason."""

from __future__ import annotations

import json
import re
import time
from pathlib import Path

import pytest

from segexport.artifact import (
    MAX_MANIFEST_BYTES,
    LineageEntry,
    Manifest,
    ModelArtifact,
    TargetDevice,
    file_entry,
    read_artifact,
    write_artifact,
)
from segexport.errors import InputError
from segexport.spec import Format, Label, Precision, Preprocess, TensorSpec


@pytest.fixture
def artifact(tmp_path: Path) -> ModelArtifact:
    (tmp_path / "model.onnx").write_bytes(b"weights")
    (tmp_path / "twin.nb").write_bytes(b"twins")
    return write_artifact(
        tmp_path,
        Manifest(
            name="m",
            format=Format.ONNX,
            files=(file_entry(tmp_path, "model.onnx"), file_entry(tmp_path, "twin.nb", "host_model")),
            inputs=(TensorSpec(name="x", dtype="float32", shape=(1, 3, 4, 4), layout="NCHW", semantics="image"),),
            outputs=(TensorSpec(name="y", dtype="float32", shape=(1, 2, 4, 4), layout="NCHW", semantics="logits"),),
            preprocess=Preprocess(),
            labels=(Label(id=0, name="背景", rgb=(0, 0, 0)), Label(id=1, name="b", rgb=(1, 1, 1))),
            target=TargetDevice(arch="any", precision=Precision.FP32),
            lineage=(LineageEntry(step="import", version="1", params={"files": {"model": "ab"}}),),
        ),
    )


def edited(artifact: ModelArtifact, change) -> InputError:
    """What reading says after `change` had its way with the manifest (a dict, or text that it returns)."""
    file = artifact.path / "manifest.json"
    content = json.loads(file.read_text())
    changed = change(content)
    file.write_text(changed if isinstance(changed, str) else json.dumps(content))
    start = time.process_time()
    with pytest.raises(InputError) as caught:
        read_artifact(artifact.path)
    assert time.process_time() - start < 5
    assert len(str(caught.value)) < 5000
    return caught.value


def test_what_was_written_is_read(artifact):
    found = read_artifact(artifact.path)
    assert found == artifact
    assert found.digest == artifact.digest
    assert found.file("host_model") == artifact.path / "twin.nb"
    assert found.size_bytes == len(b"weights")  # the twin is not shipped
    assert "背景" in (artifact.path / "manifest.json").read_text(encoding="utf-8")


def test_a_role_that_is_not_there_is_an_error(artifact):
    with pytest.raises(InputError) as caught:
        artifact.file("params")
    assert "no file with the role 'params'" in caught.value.what
    assert caught.value.cause == "its roles are ['host_model', 'model']"


def test_the_digest_is_about_what_is_computed_not_about_names(artifact):
    manifest = artifact.manifest
    assert ModelArtifact(artifact.path, manifest.model_copy(update={"name": "other"})).digest == artifact.digest
    other = manifest.model_copy(update={"preprocess": Preprocess(color="bgr")})
    assert ModelArtifact(artifact.path, other).digest != artifact.digest


@pytest.mark.parametrize("path", ["../../etc/passwd", "/etc/passwd", "a/../../b", "", "..", "a\\..\\b"])
def test_a_path_that_leaves_the_folder(artifact, path):
    error = edited(artifact, lambda content: content["files"][0].update(path=path))
    assert error.what == f"{artifact.path / 'manifest.json'}: not a valid manifest"
    assert "a file of an artifact lies inside its folder, this one does not" in error.cause


@pytest.mark.parametrize(
    ("text", "cause"),
    [
        ("", "Expecting value"),
        ("{", "Expecting property name"),
        ("not json", "Expecting value"),
        ("[" * 100_000, "nested over 64 levels deep"),
        ('{"a":' * 90 + "1" + "}" * 90, "nested over 64 levels deep"),
        ('{"a": NaN}', "NaN is not a JSON number"),
        ('{"a": -Infinity}', "-Infinity is not a JSON number"),
        ('{"a": "\\ud800"}', "surrogates not allowed"),
        ('{"\\udfff": 1}', "surrogates not allowed"),
        (f'{{"a": {"9" * 100_000}}}', "Exceeds the limit"),
    ],
    ids=lambda value: str(value)[:16],
)
def test_what_is_not_json(artifact, text, cause):
    error = edited(artifact, lambda _: text)
    assert error.what == f"{artifact.path / 'manifest.json'}: not JSON"
    assert cause in error.cause


def test_bytes_that_are_no_text(artifact):
    (artifact.path / "manifest.json").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(InputError, match="not JSON"):
        read_artifact(artifact.path)


def test_a_huge_manifest(artifact):
    error = edited(artifact, lambda _: '{"a": "' + "x" * MAX_MANIFEST_BYTES + '"}')
    assert error.what.endswith("manifest.json: over 16 MiB")


@pytest.mark.parametrize(
    "text", ["[]", "3", '"text"', "null", "{}", '{"schema_version": 99}', '{"schema_version": []}']
)
def test_another_schema(artifact, text):
    error = edited(artifact, lambda _: text)
    assert "schema_version is" in error.what
    assert error.what.endswith("this segexport reads 1")


@pytest.mark.parametrize(
    ("change", "cause"),
    [
        (lambda c: c.update(surprise=1), "surprise: Extra inputs are not permitted"),
        (lambda c: c.pop("outputs"), "outputs: Field required"),
        (lambda c: c.update(inputs=[]), "inputs: Tuple should have at least 1 item"),
        (lambda c: c.update(outputs=[]), "outputs: Tuple should have at least 1 item"),
        (lambda c: c.update(files=[]), "files: Tuple should have at least 1 item"),
        (lambda c: c.update(labels=[]), "labels: Tuple should have at least 1 item"),
        (lambda c: c.update(format="tflite"), "format: Input should be"),
        (lambda c: c["preprocess"].update(std=[1, 0, 1]), "preprocess: Value error, std must not be 0"),
        (lambda c: re.sub('"scale": [0-9.]+', '"scale": 1e999', json.dumps(c)), "scale: Input should be a finite"),
        (lambda c: c["labels"][0].update(id=-1), "labels.0.id: Input should be greater than or equal to 0"),
        (lambda c: c["files"].extend([{"path": "x" * 500}] * 5000), "more"),
        (lambda c: c["files"].extend(c["files"] * 40_000), "files: Tuple should have at most 10000 items"),
        (lambda c: c["files"].extend(c["files"][:1]), "files, of which"),
    ],
)
def test_what_is_no_manifest(artifact, change, cause):
    error = edited(artifact, change)
    assert error.what == f"{artifact.path / 'manifest.json'}: not a valid manifest"
    assert cause in error.cause


@pytest.mark.parametrize("damage", ["missing", "truncated", "changed", "a folder"])
def test_files_are_compared_with_their_digests(artifact, damage):
    model = artifact.path / "model.onnx"
    model.unlink()
    if damage == "truncated":
        model.write_bytes(b"wei")
    elif damage == "changed":
        model.write_bytes(b"WEIGHTS")
    elif damage == "a folder":
        model.mkdir()
    with pytest.raises(InputError) as caught:
        read_artifact(artifact.path)
    expected = "missing" if damage in ("missing", "a folder") else "not the file that manifest.json describes"
    assert caught.value.what == f"{model}: {expected}"
    read_artifact(artifact.path, verify=False)


def test_a_folder_without_a_manifest(tmp_path):
    with pytest.raises(InputError) as caught:
        read_artifact(tmp_path)
    assert caught.value.what == f"{tmp_path}: not an artifact"
    assert f"segexport import {tmp_path} -o DIR" in caught.value.hint

"""The bill of materials is valid CycloneDX, and has the digests of the files and of the pins."""

from __future__ import annotations

import hashlib
import json

import pytest
from folders import make_release
from installed import require

from segexport.errors import InputError
from segexport.records.sbom import requirements, sbom
from segexport.toolchain.catalog import toolchains


@pytest.mark.slow
def test_it_is_valid_against_the_schema(tmp_path):
    require("cyclonedx", "jsonschema")
    from cyclonedx.schema import SchemaVersion
    from cyclonedx.validation.json import JsonStrictValidator

    text = sbom(make_release(tmp_path / "out"))
    assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(text) is None


def test_it_names_models_and_pins_and_repeats(tmp_path, monkeypatch):
    require("cyclonedx")
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "0")
    text = sbom(make_release(tmp_path / "out"))
    assert sbom(tmp_path / "out") == text
    found = json.loads(text)
    model = next(one for one in found["components"] if one["type"] == "machine-learning-model")
    assert {one["name"]: one["value"] for one in model["properties"]}["segexport:tool.paddle2onnx"] == "1.3.1"
    (file,) = model["components"]  # the sample is no part of the model
    assert file["name"] == "exports/onnx-fp32/model.onnx"
    assert file["hashes"] == [{"alg": "SHA-256", "content": hashlib.sha256(b"the model").hexdigest()}]
    (chain,) = (one for one in found["components"] if one["type"] == "application")
    packages = {one["name"]: one for one in chain["components"]}
    assert packages["onnxruntime"]["purl"] == "pkg:pypi/onnxruntime@1.23.2"
    assert len(packages["onnxruntime"]["externalReferences"][0]["hashes"]) > 3


def test_every_pin_of_every_lock_is_read():
    for name, chain in toolchains().items():
        text = chain.lock.read_text(encoding="utf-8")
        found = list(requirements(text))
        pins = [line for line in text.splitlines() if line and not line.startswith((" ", "#", "-"))]
        assert len(found) == len(pins), name
        assert all(one.sha256 for one in found), name
        assert sum(len(one.sha256) for one in found) == text.count("--hash=sha256:"), name


def test_a_damaged_model_is_an_error(tmp_path):
    require("cyclonedx")
    folder = make_release(tmp_path / "out")
    (folder / "exports/onnx-fp32/model.onnx").write_bytes(b"another")
    with pytest.raises(InputError, match=r"not the file that manifest\.json describes"):
        sbom(folder)

"""A golden pack through the app's own Java code, and its answer in the report."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
from PIL import Image

from segexport.artifact import LineageEntry, read_artifact, write_artifact
from segexport.data.dataset import Dataset
from segexport.judge.results import Export
from segexport.references.device_result import device_row
from segexport.references.golden import make_pack
from segexport.references.golden_pack import open_pack
from segexport.runtimes.device_job import read_result
from segexport.verdict import Verdict

from .conftest import Jvm
from .models import convolution


def test_java_reads_the_pack_and_python_reads_its_answer(jvm: Jvm, tmp_path: Path) -> None:
    (tmp_path / "images").mkdir()
    artifact = convolution(tmp_path / "model")
    origin = LineageEntry(step="import", version="2", params={"files": {"model": "a" * 64}})
    write_artifact(artifact.path, artifact.manifest.model_copy(update={"lineage": (origin,)}))
    artifact = read_artifact(artifact.path)
    random = np.random.default_rng(0)
    for index in range(3):
        small = Image.fromarray(random.integers(0, 256, (9, 13, 3), np.uint8))
        small.resize((91 + 10 * index, 64), Image.Resampling.BICUBIC).save(tmp_path / "images" / f"{index}.jpg")
    made = make_pack(artifact, Dataset.open(tmp_path / "images"), tmp_path / "pack", images=3)

    jvm("-Xmx600m", "dev.segexport.ort.RunJob", made, timeout_s=100)

    file = made / "result.json"
    subject = Export("export", artifact.manifest.format, artifact.manifest.target.precision, artifact)
    with open_pack(made) as pack:
        assert read_result(file).id == pack.digest
        row = device_row(subject, read_result(file), file, pack)
    assert row.verdict is Verdict.PASS, row.checks
    assert row.agreement >= 0.999
    assert row.name.startswith("export on ")
    assert all(item["agreement"] >= 0.999 for item in json.loads(file.read_text())["items"])

    expected = made / "expected-1.png"
    shutil.copyfile(made / "expected-0.png", expected)  # the app reads the file; segexport refuses it
    jvm("-Xmx600m", "dev.segexport.ort.RunJob", made, timeout_s=100)
    assert min(item["agreement"] for item in json.loads(file.read_text())["items"]) < 0.9

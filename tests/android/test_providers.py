"""ONNX Runtime's providers side by side, by the AAR's own libraries, and their rows in the report."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from segexport import preprocess
from segexport.errors import WorkerFailed
from segexport.judge.results import Export
from segexport.references.device_result import with_device_rows
from segexport.references.golden import make_pack
from segexport.references.golden_pack import open_pack
from segexport.report.schema import DatasetInfo, ExportResult, ReferenceResult, Report
from segexport.runtimes.device_job import JobItem, read_mask, read_result, write_job
from segexport.verdict import Verdict

from .conftest import Jvm
from .models import convolution


@pytest.fixture
def image(tmp_path: Path) -> Path:
    small = Image.fromarray(np.random.default_rng(0).integers(0, 256, (9, 13, 3), np.uint8))
    small.resize((91, 64), Image.Resampling.BICUBIC).save(tmp_path / "photo.png")
    return tmp_path / "photo.png"


def test_providers_side_by_side(jvm: Jvm, tmp_path: Path, image: Path) -> None:
    """XNNPACK computes on this machine; NNAPI and QNN are of a phone, and each failure is a row."""
    artifact = convolution(tmp_path / "model", fixed=True)
    tensor, _ = preprocess.apply(artifact.manifest.preprocess, np.asarray(Image.open(image)))
    job = tmp_path / "job"
    job.mkdir()
    items = [JobItem(image, runs=4), JobItem(tensor)]
    write_job(job, artifact, items, job_id="p", warmup=1, providers=("cpu", "xnnpack", "nnapi", "qnn"))
    jvm("dev.segexport.ort.RunJob", job)
    result = read_result(job / "result.json")
    assert result.runtime is not None
    assert (result.runtime.provider, set(result.runtime.operators)) == ("cpu", {"cpu"})
    assert result.runtime.first_ms is not None
    assert result.runtime.first_ms > 0
    xnnpack, nnapi, qnn = result.providers
    assert xnnpack.error is None
    assert xnnpack.runtime is not None
    assert xnnpack.runtime.operators["xnnpack"] >= 1  # the convolution
    assert len(xnnpack.items[0].inference_ms) == 4
    for ours, theirs in zip(result.items, xnnpack.items, strict=True):
        assert (read_mask(job, ours) == read_mask(job, theirs)).mean() > 0.999
    assert nnapi.provider == "nnapi"
    assert nnapi.error is not None or nnapi.items  # this machine has no NNAPI: an error, or all on the CPU
    assert qnn.error is not None
    assert qnn.error.kind == "PROVIDER_MISSING"
    assert qnn.error.message.startswith("ONNX Runtime of this app has no provider qnn, it has [cpu, ")
    assert not list(job.glob("profile*")), "the profile is removed"
    assert not list(job.glob("running*"))


def test_an_operator_of_any_size_stays_on_the_cpu(jvm: Jvm, tmp_path: Path, image: Path) -> None:
    """XNNPACK takes operators of known sizes only; the result says so."""
    job = tmp_path / "job"
    job.mkdir()
    write_job(job, convolution(tmp_path / "model"), [JobItem(image)], job_id="p", providers=("cpu", "xnnpack"))
    jvm("dev.segexport.ort.RunJob", job)
    (xnnpack,) = read_result(job / "result.json").providers
    assert xnnpack.runtime is not None
    assert set(xnnpack.runtime.operators) == {"cpu"}


def test_the_first_provider_decides(jvm: Jvm, tmp_path: Path, image: Path) -> None:
    artifact = convolution(tmp_path / "model", fixed=True)
    job = tmp_path / "job"
    job.mkdir()
    write_job(job, artifact, [JobItem(image)], job_id="p", providers=("qnn",))
    jvm("dev.segexport.ort.RunJob", job)
    with pytest.raises(WorkerFailed) as caught:
        read_result(job / "result.json")
    assert "no provider qnn" in (caught.value.cause or "")


def _report(subject: Export) -> Report:
    """A report of the computer's own row."""
    row = ExportResult(name=subject.name, format="onnx", precision="fp32", verdict=Verdict.PASS)
    return Report(
        segexport_version="0",
        created="2024-05-06T07:08:09Z",
        title="t",
        verdict=Verdict.PASS,
        metric="m",
        labels=subject.made.manifest.labels,
        dataset=DatasetInfo(path="d", split="val", images=1, labelled=False, fingerprint="f"),
        reference=ReferenceResult(name="r", runtime="r", device="d"),
        exports=(row,),
    )


def test_rows_of_the_report(jvm: Jvm, tmp_path: Path, image: Path) -> None:
    """Each provider's masks are compared here; one that failed is a row that does not fail the report."""
    from segexport.artifact import LineageEntry, read_artifact, write_artifact
    from segexport.data.dataset import Dataset

    artifact = convolution(tmp_path / "model", fixed=True)
    origin = LineageEntry(step="import", version="2", params={"files": {"model": "a" * 64}})
    write_artifact(artifact.path, artifact.manifest.model_copy(update={"lineage": (origin,)}))
    artifact = read_artifact(artifact.path)
    (tmp_path / "images").mkdir()
    image.rename(tmp_path / "images" / image.name)
    made = make_pack(artifact, Dataset.open(tmp_path / "images"), tmp_path / "pack", images=1)
    job = json.loads((made / "job.json").read_text())
    (made / "job.json").write_text(json.dumps(job | {"providers": ["cpu", "xnnpack", "qnn"]}))
    jvm("dev.segexport.ort.RunJob", made)
    subject = Export("onnx-fp32", artifact.manifest.format, artifact.manifest.target.precision, artifact)
    with open_pack(made) as pack:
        report = with_device_rows(_report(subject), [subject], [made / "result.json"], pack)
    assert [row.provider for row in report.exports[1:]] == ["cpu", "xnnpack", "qnn"]
    assert [row.verdict for row in report.exports[1:]] == [Verdict.PASS, Verdict.PASS, Verdict.SKIPPED]
    assert report.exports[2].latency is not None
    assert report.exports[2].latency.first_ms is not None
    assert report.exports[2].name.endswith(", xnnpack")
    assert any("operators: " in note and "on xnnpack" in note for note in report.exports[2].notes)
    assert report.verdict is Verdict.PASS

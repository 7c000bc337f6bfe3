"""A folder as `segexport run` leaves it, with an export that was never run."""

from __future__ import annotations

from pathlib import Path

from report_sample import passing_report

from segexport import report as reports
from segexport.artifact import LineageEntry, Manifest, ModelArtifact, TargetDevice, file_entry, write_artifact
from segexport.records.model_card import write_card
from segexport.spec import Format, Label, Precision, Preprocess, TensorSpec


def make_export(folder: Path) -> ModelArtifact:
    """An ONNX export with two files, and its card."""
    folder.mkdir(parents=True)
    (folder / "model.onnx").write_bytes(b"the model")
    (folder / "sample.png").write_bytes(b"a picture")
    files = (file_entry(folder, "model.onnx"), file_entry(folder, "sample.png", "sample"))
    manifest = Manifest(
        name="street",
        format=Format.ONNX,
        files=files,
        inputs=(TensorSpec(name="x", dtype="float32", shape=(1, 3, 8, 8), semantics="image"),),
        outputs=(TensorSpec(name="y", dtype="int32", shape=(1, 8, 8), semantics="class_index"),),
        preprocess=Preprocess(),
        labels=(Label(id=0, name="road", rgb=(0, 0, 0)), Label(id=1, name="sky", rgb=(0, 0, 255))),
        target=TargetDevice(arch="any", precision=Precision.FP32),
        lineage=(LineageEntry(step="to_onnx", version="1", tools={"paddle2onnx": "1.3.1"}),),
    )
    made = write_artifact(folder, manifest)
    write_card(folder, manifest)
    return made


def make_release(folder: Path) -> Path:
    """A report and the export that it is about."""
    make_export(folder / "exports" / "onnx-fp32")
    reports.write(passing_report(), folder)
    return folder

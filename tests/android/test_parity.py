"""The same images and models in Python and in Java: on this machine's JVM, and on an arm64 JVM in qemu (slow)."""

from __future__ import annotations

import io
import json
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from segexport import preprocess
from segexport.artifact import ModelArtifact, file_entry, read_artifact, write_artifact
from segexport.data.images import decode_image
from segexport.runtimes.device_job import JobItem, read_mask, read_result, write_job
from segexport.spec import TensorSpec

from .conftest import Jvm, script
from .models import convolution

GOLDEN_IMAGES = Path(__file__).resolve().parents[1] / "golden" / "preprocess" / "images"


def _encoded_images() -> dict[str, bytes]:
    random = np.random.default_rng(3)
    smooth = Image.fromarray(random.integers(0, 256, (30, 40, 3), np.uint8))
    photo = smooth.resize((640, 480), Image.Resampling.BICUBIC)

    def encoded(image: Image.Image, kind: str, **options: object) -> bytes:
        stream = io.BytesIO()
        image.save(stream, kind, **options)
        return stream.getvalue()

    exif = Image.Exif()
    exif[0x0112] = 6
    alpha = Image.merge("RGBA", [*photo.split(), photo.convert("L")])
    return {
        "photo": encoded(photo, "JPEG"),
        "1x1": encoded(Image.new("RGB", (1, 1), (200, 30, 60)), "PNG"),
        "4000x3000": encoded(smooth.resize((4000, 3000), Image.Resampling.BICUBIC), "JPEG"),
        "grey": encoded(photo.convert("L"), "JPEG"),
        "cmyk": encoded(photo.convert("CMYK"), "JPEG"),
        "exif": encoded(photo, "JPEG", exif=exif),
        "alpha": encoded(alpha, "PNG"),
    }


def _python_mask(artifact: ModelArtifact, tensor: np.ndarray) -> np.ndarray:
    """The class of each pixel, by ONNX Runtime and NumPy's argmax."""
    (output,) = _python_outputs(artifact, tensor)
    spec = artifact.manifest.outputs[0]
    if spec.semantics == "class_index":
        return output.reshape(output.shape[-2:] if spec.layout != "NHWC" else output.shape[1:3])
    return output[0].argmax(axis=2 if spec.layout == "NHWC" else 0)


def _python_outputs(artifact: ModelArtifact, tensor: np.ndarray) -> list[np.ndarray]:
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    options.add_session_config_entry("session.qdqisint8allowed", "1")  # as on ARM
    session = ort.InferenceSession(str(artifact.file("model")), options, providers=["CPUExecutionProvider"])
    return session.run(None, {session.get_inputs()[0].name: tensor})


def _run_images(jvm: Jvm, folder: Path, artifact: ModelArtifact, timeout_s: float = 100) -> None:
    """Every kind of image: equal masks from Java and Python, at the model's size and at the image's."""
    images, items = _encoded_images(), []
    for name, data in images.items():
        # The decoded pixels travel as a PNG: what is compared is our code, not two JPEG decoders.
        Image.fromarray(decode_image(data)).save(folder / f"{name}.png")
        items.append(JobItem(folder / f"{name}.png"))
    job = folder / "job"
    job.mkdir()
    write_job(job, artifact, items, job_id="parity")
    jvm("-Xmx600m", "dev.segexport.ort.RunJob", job, timeout_s=timeout_s)
    result = read_result(job / "result.json")
    assert result.id == "parity"
    assert len(result.items) == len(images) == 7
    for (name, data), item in zip(images.items(), result.items, strict=True):
        tensor, _ = preprocess.apply(artifact.manifest.preprocess, decode_image(data))
        expected = _python_mask(artifact, tensor)
        got = read_mask(job, item)
        assert got.shape == expected.shape, name
        assert len(np.unique(expected)) > 1 or name == "1x1", name
        assert (got == expected).mean() >= 0.9999, f"{name}: {(got != expected).sum()} pixels differ"


HEADS = [
    ("float32", "NCHW", "logits"),
    ("float32", "NHWC", "probability"),
    ("int64", "NHW", "class_index"),
    ("int32", "NHW", "class_index"),
    ("uint8", "NCHW", "class_index"),
    ("float32", "NHW", "class_index"),
]


def test_a_run_is_ended_from_another_thread(jvm: Jvm, tmp_path: Path) -> None:
    """ONNX Runtime ends it before its next operator; the run after that is not touched."""
    said = jvm("dev.segexport.ort.CancelRun", convolution(tmp_path / "model").path, timeout_s=60).splitlines()
    assert said[0].startswith("RUN_FAILED ONNX Runtime: ")
    assert "terminate flag" in said[0]
    assert said[1:] == ["then float[]"]


def test_heads(jvm: Jvm, tmp_path: Path) -> None:
    """Whatever a model answers with becomes the same mask as in Python."""
    image = np.random.default_rng(1).integers(0, 256, (33, 47, 3), np.uint8)
    Image.fromarray(image).save(tmp_path / "image.png")
    jobs, expected = [], []
    for index, (dtype, layout, semantics) in enumerate(HEADS):
        artifact = convolution(tmp_path / f"model-{index}", dtype=dtype, layout=layout, semantics=semantics)
        tensor, placement = preprocess.apply(artifact.manifest.preprocess, image)
        expected.append(_python_mask(artifact, tensor))
        restored = preprocess.restore_mask(expected[-1].astype(np.uint8), placement)
        Image.fromarray(restored).save(tmp_path / "mask.png")
        jobs.append(tmp_path / f"job-{index}")
        jobs[-1].mkdir()
        items = [JobItem(tmp_path / "image.png", expected_mask=tmp_path / "mask.png"), JobItem(tensor, runs=3)]
        write_job(jobs[-1], artifact, items, job_id="heads")
    jvm("dev.segexport.ort.RunJob", *jobs)
    for job, mask, head in zip(jobs, expected, HEADS, strict=True):
        result = read_result(job / "result.json")
        assert result.runtime is not None
        assert (result.runtime.name, result.runtime.version) == ("ONNX Runtime", "1.26.0")
        assert result.items[0].agreement == 1.0, head  # restored to the image's size in Java, compared with Python's
        for item in result.items:
            np.testing.assert_array_equal(read_mask(job, item), mask, err_msg=str(head))
        assert len(result.items[1].inference_ms) == 3
        assert result.latency().inference_ms.p50 > 0


def test_every_kind_of_image(jvm: Jvm, tmp_path: Path) -> None:
    _run_images(jvm, tmp_path, convolution(tmp_path / "model"))


def test_a_wrong_manifest_is_an_answer(jvm: Jvm, tmp_path: Path) -> None:
    """The manifest names an output that the model has not: the result says so, nothing crashes."""
    from segexport.errors import WorkerFailed

    artifact = convolution(tmp_path / "model")
    spec = artifact.manifest.outputs[0].model_copy(update={"name": "absent"})
    artifact = write_artifact(artifact.path, artifact.manifest.model_copy(update={"outputs": (spec,)}))
    job = tmp_path / "job"
    job.mkdir()
    write_job(job, artifact, [JobItem(np.zeros((1, 3, 24, 32), np.float32))], job_id="x")
    jvm("dev.segexport.ort.RunJob", job)
    with pytest.raises(WorkerFailed, match="could not run the model") as caught:
        read_result(job / "result.json")
    assert "the manifest names x and [absent], the model has [x] and [y] (MODEL_REFUSED)" in caught.value.cause


# --- the models that the project exports, on arm64 ------------------------------------------------------------------


def _export(shared: Path, name: str, precision: str, folder: Path) -> ModelArtifact:
    """Exports a real model with segexport's own command."""
    source, size = {
        "espnet": ("espnet_cityscapes/export_argmax", ("--input-size", "256x128")),
        "pphumanseg": ("pphumanseg_lite/export_softmax", ()),
    }[name]
    calibration = folder / "calibration"
    calibration.mkdir()
    for index, data in enumerate((_encoded_images()["photo"], _encoded_images()["grey"])):
        (calibration / f"{index}.jpg").write_bytes(data)
    command = ["export", shared / "models" / source, "--to", "onnx", "--precision", precision, *size]
    command += ["--calibration", calibration] if precision == "int8" else []
    run = [sys.executable, "-c", "from segexport.cli.main import main; main()"]
    script([*run, *command, "-o", folder / "export"], timeout_s=200)
    return read_artifact(folder / "export")


def _scores(artifact: ModelArtifact, folder: Path) -> ModelArtifact:
    """The same model without the argmax at its end: a difference of one step is visible in the scores."""
    import onnx

    model = onnx.load(artifact.file("model"))
    argmax = next((node for node in model.graph.node if node.op_type == "ArgMax"), None)
    if argmax is None:
        return artifact
    del model.graph.output[:]
    model.graph.output.append(onnx.helper.make_tensor_value_info(argmax.input[0], onnx.TensorProto.FLOAT, None))
    folder.mkdir()
    onnx.save(model, folder / "model.onnx")
    spec = TensorSpec(name=argmax.input[0], dtype="float32", shape=(1, -1, -1, -1), layout="NCHW", semantics="logits")
    update = {"outputs": (spec,), "files": (file_entry(folder, "model.onnx"),)}
    return write_artifact(folder, artifact.manifest.model_copy(update=update))


@pytest.mark.slow
@pytest.mark.shared
@pytest.mark.timeout(1200)
@pytest.mark.parametrize("precision", ["fp32", "int8"])
@pytest.mark.parametrize("name", ["pphumanseg", "espnet"])
def test_exported_models_on_arm64(arm64: Jvm, shared_dir: Path, tmp_path: Path, name: str, precision: str) -> None:
    """fp32: 1e-5 of the range and 99.99 % equal classes. int8: at most one step of the output."""
    artifact = _scores(_export(shared_dir, name, precision, tmp_path), tmp_path / "scores")
    shape = artifact.manifest.inputs[0].shape
    image = decode_image(_encoded_images()["photo"])
    tensor, _ = preprocess.apply(artifact.manifest.preprocess, np.asarray(Image.fromarray(image).resize(shape[:1:-1])))
    (expected,) = _python_outputs(artifact, tensor)
    (tensor.astype("<f4")).tofile(tmp_path / "in.f32")
    arguments = [artifact.path, tmp_path / "in.f32", *tensor.shape[2:], tmp_path / "out.f32"]
    arm64("dev.segexport.ort.RunModel", *arguments, timeout_s=600)
    got = np.fromfile(tmp_path / "out.f32", "<f4").reshape(expected.shape)
    difference, agreement = np.abs(got - expected), (got.argmax(1) == expected.argmax(1)).mean()
    print(f"{name} {precision} arm64: {difference.max() / np.ptp(expected):.3g} of the range, {agreement:.6f} equal")
    if precision == "fp32":
        assert difference.max() <= 1e-5 * np.ptp(expected)
        assert agreement >= 0.9999
    else:
        steps = np.unique(expected)
        step = np.diff(steps).max() if len(steps) < 300 else np.ptp(expected) / 255
        assert difference.max() <= step * 1.01, (difference.max(), step)
        assert agreement >= 0.99


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_the_core_on_arm64(arm64: Jvm, tmp_path: Path) -> None:
    """Preprocessing, model and postprocessing, with the libraries that are in the APK."""
    _run_images(arm64, tmp_path, convolution(tmp_path / "model"), timeout_s=500)
    device = json.loads((tmp_path / "job" / "result.json").read_text())["device"]
    assert device["abi"] == "aarch64"


@pytest.mark.slow
@pytest.mark.shared
@pytest.mark.timeout(400)
def test_java_costs_little_beside_the_model(jvm: Jvm, shared_dir: Path, tmp_path: Path) -> None:
    """Preprocessing and postprocessing of a photo: less than a quarter of fp32 inference, in the same run."""
    artifact = _export(shared_dir, "pphumanseg", "fp32", tmp_path)
    (tmp_path / "photo.jpg").write_bytes(_encoded_images()["photo"])
    stages = json.loads(jvm("dev.segexport.ort.TimeStages", artifact.path, tmp_path / "photo.jpg", 40, timeout_s=200))
    java_ms = stages["preprocess_ms"] + stages["argmax_ms"] + stages["restore_ms"]
    print(f"Java {java_ms:.2f} ms, inference {stages['inference_ms']:.2f} ms")
    assert java_ms < 0.25 * stages["inference_ms"]

"""The module ncnn: its native methods on ncnn itself, built from ncnn's sources (slow); what of them is packaged."""

from __future__ import annotations

import shutil
import zipfile
from pathlib import Path

import numpy as np
import pytest

from segexport.android.elf import read_elf
from segexport.artifact import Manifest, file_entry, write_artifact
from segexport.spec import Format, TensorSpec

from .conftest import CI, Jvm, require_tools, script, unavailable
from .models import CLASSES, HEIGHT, WIDTH, manifest
from .test_aar import _build, _file
from .test_lint import elf

PARAM = f"""7767517
2 2
Input in0 0 1 in0
Convolution scores 1 1 in0 out0 0={CLASSES} 1=3 4=1 5=1 6={CLASSES * 27}
"""


def _model(folder: Path) -> tuple[Manifest, np.ndarray, np.ndarray]:
    """A 3x3 convolution in ncnn's files, its weights and its bias."""
    random = np.random.default_rng(0)
    weight = random.normal(size=(CLASSES, 3, 3, 3)).astype("<f4")
    bias = random.normal(size=CLASSES).astype("<f4")
    folder.mkdir()
    (folder / "model.ncnn.param").write_text(PARAM)
    (folder / "model.ncnn.bin").write_bytes(bytes(4) + weight.tobytes() + bias.tobytes())  # 0: weights are float32
    (folder / "model.onnx").touch()
    output = TensorSpec(name="y", dtype="float32", shape=(1, CLASSES, HEIGHT, WIDTH), layout="NCHW", semantics="logits")
    files = (file_entry(folder, "model.ncnn.param"), file_entry(folder, "model.ncnn.bin", "params"))
    given = manifest(folder, output).model_copy(update={"format": Format.NCNN, "files": files})
    write_artifact(folder, given)
    return given, weight, bias


@pytest.mark.slow
@pytest.mark.timeout(3000)
def test_java_computes_what_ncnn_does(jvm: Jvm, tmp_path: Path) -> None:
    require_tools("ncnn")
    for program in ("cmake", "c++"):
        if shutil.which(program) is None:
            unavailable(f"no {program} (Debian: cmake, g++)")
    script([CI / "build_ncnn.sh", "jvm", tmp_path / "native"], timeout_s=2800)
    _, weight, bias = _model(tmp_path / "model")
    image = np.random.default_rng(1).normal(size=(3, HEIGHT, WIDTH)).astype("<f4")
    (tmp_path / "in.f32").write_bytes(image.tobytes())
    main = ["dev.segexport.ncnn.RunModel", tmp_path / "model", tmp_path / "in.f32", HEIGHT, WIDTH, tmp_path / "out.f32"]
    jvm(f"-Djava.library.path={tmp_path / 'native'}", *main)
    found = np.fromfile(tmp_path / "out.f32", "<f4").reshape(CLASSES, HEIGHT, WIDTH)
    padded = np.pad(image, ((0, 0), (1, 1), (1, 1)))
    windows = np.lib.stride_tricks.sliding_window_view(padded, (3, 3), axis=(1, 2))
    expected = np.einsum("chwyx,ocyx->ohw", windows, weight) + bias[:, None, None]
    assert np.abs(found - expected).max() < 1e-4
    (tmp_path / "model" / "model.ncnn.param").write_text(PARAM.replace("Convolution", "Conjuring"))
    with pytest.raises(AssertionError, match="damaged, or has a layer that this ncnn lacks"):
        jvm(f"-Djava.library.path={tmp_path / 'native'}", *main)


@pytest.mark.slow
def test_the_native_methods_are_packed_beside_ncnn(tmp_path: Path) -> None:
    """For Android, compiled by zig: pages of 16 KB, and nothing needed but ncnn's library."""
    require_tools("ncnn", "zig")
    planted = {"ncnn/src/main/jniLibs/arm64-v8a/libncnn.so": elf()}
    with zipfile.ZipFile(_file(_build(tmp_path, **planted), "ncnn", "aar")) as aar:
        data = aar.read("jni/arm64-v8a/libsegexport_ncnn.so")
    found = read_elf(data, "x")
    assert (found.abi, set(found.alignments)) == ("arm64-v8a", {16384})
    (tmp_path / "x.so").write_bytes(data)
    needed = script(["readelf", "-d", tmp_path / "x.so"], timeout_s=20)
    assert [line.split("[")[1] for line in needed.splitlines() if "NEEDED" in line] == ["libncnn.so]"]
    methods = script(["nm", "-D", "--defined-only", tmp_path / "x.so"], timeout_s=20)
    assert {line.split("_Ncnn_")[1] for line in methods.splitlines()} == {"version", "open", "run", "close"}

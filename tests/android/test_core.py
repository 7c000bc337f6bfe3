"""The Java core on a JVM: its JUnit tests, and random images against OpenCV."""

from __future__ import annotations

import itertools
import json
import re
from pathlib import Path

import numpy as np
import pytest

from segexport import preprocess
from segexport.spec import Preprocess, Resize

from .conftest import ANDROID, CI, Jvm, require_tools, script

GOLDEN = Path(__file__).resolve().parents[1] / "golden" / "preprocess"
VIDEO, CAMERA = GOLDEN.parent / "video", GOLDEN.parent / "camera"
VECTORS = (f"-Dgolden={GOLDEN}", f"-Dgolden.video={VIDEO}", f"-Dgolden.camera={CAMERA}")
TESTS = sorted((ANDROID).glob("*/src/test/java/**/*Test.java"))


def _class_name(file: Path) -> str:
    return ".".join(file.with_suffix("").parts[file.parts.index("java") + 1 :])


def test_junit(jvm: Jvm) -> None:
    names = [_class_name(file) for file in TESTS]
    assert len(names) >= 7, names
    output = jvm(*VECTORS, "org.junit.runner.JUnitCore", *names)
    assert "OK (" in output, output
    assert f"golden: {len(json.loads((GOLDEN / 'cases.json').read_text())['cases'])} cases" in output
    found = re.search(r"golden video: (\d+) cases, largest difference (\S+)", output)
    assert found is not None, output
    assert int(found[1]) == len(json.loads((VIDEO / "cases.json").read_text())["cases"])
    assert float(found[2]) < 1 / 255
    count = len(json.loads((CAMERA / "cases.json").read_text())["cases"])
    assert re.search(rf"golden camera: {count} cases, largest difference [01] grey levels", output), output


def test_the_kotlin_module(jvm: Jvm) -> None:
    """Its suspend functions and flows, compiled and run; needs fetch_tools.sh kotlin."""
    tools = require_tools("kotlin")
    classes, out = f"{jvm.build}/jvm/test:{jvm.build}/jvm/main", jvm.build / "kotlin"
    script([CI / "build_kotlin.sh", classes, out, "tests"], timeout_s=400, env=jvm.env)
    env = {
        **jvm.env,
        "CLASSES": ":".join([str(out), classes, *map(str, sorted((tools / "kotlin").glob("kotlin*.jar")))]),
    }
    name = "dev.segexport.coroutines.SuspendingSegmenterTest"
    said = script([CI / "java.sh", "x86_64", "org.junit.runner.JUnitCore", name], timeout_s=100, env=env)
    assert "OK (6 tests)" in said, said


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_junit_on_arm64(arm64: Jvm) -> None:
    names = [_class_name(file) for file in TESTS]
    assert "OK (" in arm64(*VECTORS, "org.junit.runner.JUnitCore", *names, timeout_s=500)


# Grey levels. For cubic and lanczos4 OpenCV works out positions in float32 (unless IPP does it), which is off by 0.01
# at a few hundred pixels; Java uses doubles.
TOLERANCE = {"nearest": 0, "linear": 1e-3, "area": 1e-3, "cubic": 0.02, "lanczos4": 0.02}
SIZES = [
    ((640, 480), (398, 224)),
    ((97, 61), (640, 333)),
    ((501, 40), (40, 501)),
    ((1, 1), (7, 3)),
    ((1999, 3), (5, 3)),
    ((333, 777), (111, 259)),
]
CHANNELS = (1, 3, 5)


def test_resize_is_pythons(jvm: Jvm, tmp_path: Path) -> None:
    """Sizes up and down, by odd factors and large ones, which the pinned vectors are too small for."""
    random = np.random.default_rng(7)
    cases, vectors = [], bytearray()

    def add(array: np.ndarray) -> dict:
        entry = {"offset": len(vectors), "dtype": str(array.dtype), "shape": list(array.shape)}
        vectors.extend(array.tobytes())
        return entry

    for (interpolation, tolerance), (size, target), channels in itertools.product(TOLERANCE.items(), SIZES, CHANNELS):
        image = random.integers(0, 256, (size[1], size[0], channels), np.uint8)
        contract = Preprocess(
            color="rgb" if channels == 3 else "channels",
            geometry=(Resize(width=target[0], height=target[1], interpolation=interpolation),),
            mean=(0.5,) * channels,
            std=(0.5,) * channels,
        )
        decoded = add(image)
        tensor, placement = preprocess.apply(contract, image)
        mask = random.integers(0, 20, tensor.shape[2:]).astype(np.uint8)
        cases.append(
            {
                "name": f"{interpolation} {size} to {target} of {channels} channels",
                "decoded": decoded,
                "picture": decoded if channels == 3 else None,
                "preprocess": contract.model_dump(mode="json"),
                "geometry_tolerance": tolerance,
                "tensor": add(tensor),
                "mask": add(mask),
                "restored": add(preprocess.restore_mask(mask, placement)),
            }
        )
    (tmp_path / "cases.json").write_text(json.dumps({"cases": cases}))
    (tmp_path / "vectors.bin").write_bytes(vectors)
    output = jvm(f"-Dgolden={tmp_path}", "org.junit.runner.JUnitCore", "dev.segexport.core.GoldenTest")
    assert f"golden: {len(TOLERANCE) * len(SIZES) * len(CHANNELS)} cases" in output


MNN = ",$Config,$Session,$Session$Tensor"
CAMERA2 = (
    "Manager Device Device$StateCallback CaptureSession CaptureSession$StateCallback Characteristics AccessException"
)


@pytest.mark.parametrize(
    ("stubs", "package", "names"),
    [
        ("stub", "com.baidu.paddle.lite", ("MobileConfig", "PaddlePredictor", "Tensor", "PowerMode")),
        ("stub", "org.tensorflow.lite", ("Interpreter", "Interpreter$Options", "Tensor", "DataType")),
        ("stub", "com.taobao.android.mnn", tuple(f"MNNNetInstance{x}" for x in MNN.split(","))),
        ("android", "android.hardware.camera2", ("CaptureRequest$Builder", *(f"Camera{x}" for x in CAMERA2.split()))),
        ("android", "android.media", ("Image", "Image$Plane", "ImageReader")),
    ],
)
def test_the_double_has_the_api_of_the_stub(jvm: Jvm, stubs: str, package: str, names: tuple[str, ...]) -> None:
    """Whoever compiles against the stub and runs against the double must meet the same methods."""
    for name in names:
        stub, double = (
            {
                line.strip()
                for line in script(["javap", "-public", "-cp", folder, f"{package}.{name}"], timeout_s=60).splitlines()
                if line.endswith(";")
            }
            for folder in (jvm.build / "jvm" / stubs, jvm.build / "jvm" / "test")
        )
        assert len(stub) >= 2
        assert stub <= double, stub - double


def test_a_download_that_changed_is_not_opened(tmp_path: Path) -> None:
    """A digest that is not the file's stops the fetching, with a name and an exit code."""
    import subprocess

    from .conftest import require_tools

    require_tools("junit")
    ci = tmp_path / "ci"
    ci.mkdir()
    for name in ("fetch_tools.sh", "env.sh"):
        (ci / name).write_bytes((CI / name).read_bytes())
    line = next(line for line in (CI / "tools.lock").read_text().splitlines() if " junit4 " in line)
    (ci / "tools.lock").write_text(line[:-1] + ("0" if line[-1] != "0" else "1") + "\n")
    tools = tmp_path / "tools"
    done = subprocess.run(
        ["bash", ci / "fetch_tools.sh", "junit"],
        capture_output=True,
        text=True,
        timeout=200,
        env={"PATH": "/usr/bin:/bin", "HOME": str(tmp_path), "SEGEXPORT_ANDROID_TOOLS": str(tools)},
    )
    if "cannot" in done.stderr or "not available" in done.stderr or "update failed" in done.stderr:
        pytest.skip(f"no package index: {done.stderr}")
    assert done.returncode == 3
    assert "junit4 4.13.2-3 is not the file that tools.lock names" in done.stderr
    assert not list(tools.glob("junit/**/*.jar"))


@pytest.mark.parametrize("abi", ["x86_64", "arm64-v8a"])
def test_androids_c_names_are_forwarded_and_nothing_else_is_there(abi: str, tmp_path: Path) -> None:
    """What is linked in beside them, such as a compiler's own memcpy, must not take the place of glibc's."""
    tools = require_tools("zig")
    script([CI / "bionic" / "build.sh", abi, tmp_path], timeout_s=600, env={"ZIG": str(tools / "zig/ziglang/zig")})
    defined = script(["nm", "-D", "--defined-only", tmp_path / "libc.so"], timeout_s=60)
    adapted = re.findall(r"^ *BIONIC\((\w+)\);", (CI / "bionic" / "adapters.c").read_text(), flags=re.MULTILINE)
    forwarded = (CI / "bionic" / "forward.txt").read_text().split()
    found = {line.split()[2].partition("@")[0] for line in defined.splitlines()}
    assert found - {"LIBC"} == {*adapted, *forwarded}
    assert {"memcpy", "fmod"} <= set(forwarded)

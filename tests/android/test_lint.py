"""`segexport android lint`: planted faults are found, one by one; what is sound passes; what is hostile is an error."""

from __future__ import annotations

import hashlib
import json
import struct
import zipfile
from pathlib import Path
from xml.etree import ElementTree

import pytest

from segexport.android.app_manifest import permissions
from segexport.android.lint import MAX_SIZE_BYTES, AppLint, lint
from segexport.android.lint_report import render
from segexport.artifact import FileEntry, Manifest, TargetDevice
from segexport.errors import InputError
from segexport.spec import Format, Label, Precision, Preprocess, TensorSpec
from segexport.verdict import Verdict

ARM64, ARM32, X86_64 = 183, 40, 62
KERNELS = b"conv2d/def/4/1/1\0fetch/def/1/4/2\0"
FP16_KERNELS = b"conv2d/def/4/5/1\0fetch/def/1/4/2\0"
X86_KERNELS = b"conv2d/def/2/1/1\0fetch/def/1/4/2\0"
LITE_LIBRARY = "lib/arm64-v8a/libpaddle_lite_jni.so"
SOUND = b"\0v2.13-rc\0"  # as the library's own version stands among its strings
TEXT = (
    '<manifest xmlns:android="http://schemas.android.com/apk/res/android" package="x">'
    '<uses-permission android:name="android.permission.{}"/></manifest>'
)


def elf(alignment: int = 16384, machine: int = ARM64, bits: int = 64, tail: bytes = b"") -> bytes:
    """A shared library without anything in it: a header and two segments, one of which is loaded."""
    wide = bits == 64
    head = b"\x7fELF" + bytes([2 if wide else 1, 1, 1]) + bytes(9) + struct.pack("<HHI", 3, machine, 1)
    if wide:
        head += struct.pack("<QQQIHHHHHH", 0, 64, 0, 0, 64, 56, 2, 0, 0, 0)
        segments = [struct.pack("<IIQQQQQQ", kind, 5, 0, 0, 0, 0, 0, align) for kind, align in ((1, alignment), (2, 8))]
    else:
        head += struct.pack("<IIIIHHHHHH", 0, 52, 0, 0, 52, 32, 2, 0, 0, 0)
        segments = [struct.pack("<IIIIIIII", kind, 0, 0, 0, 0, 0, 5, align) for kind, align in ((1, alignment), (2, 4))]
    return head + b"".join(segments) + tail


def nb(kernels: bytes = KERNELS, version: str = "v2.13-rc") -> bytes:
    return struct.pack("<H16s", 2, version.encode()) + kernels


def pack(model: bytes, file: str = "model.nb", *, dtype: str = "int32", needs: str = "") -> dict[str, bytes]:
    """The files of a pack in an app's assets."""
    given = manifest_of(model, file, dtype, needs)
    folder = "assets/model/net"
    return {f"{folder}/{file}": model, f"{folder}/manifest.json": json.dumps(given).encode()}


def manifest_of(model: bytes, file: str, dtype: str, needs: str) -> dict:
    output = TensorSpec(name="y", dtype=dtype, shape=(1, -1, -1), layout="NHW", semantics="class_index")
    entry = FileEntry(path=file, sha256=hashlib.sha256(model).hexdigest(), size_bytes=len(model))
    lite = file.endswith(".nb")
    return Manifest(
        name="net",
        format=Format.PADDLE_LITE if lite else Format.ONNX,
        files=(entry,),
        inputs=(TensorSpec(name="x", dtype="float32", shape=(1, 3, 24, 32), layout="NCHW", semantics="image"),),
        outputs=(output,),
        preprocess=Preprocess(),
        labels=(Label(id=0, name="road", rgb=(0, 0, 0)),),
        target=TargetDevice(arch="arm64", precision=Precision.FP32, min_runtime_version=needs),
    ).model_dump(mode="json")


def apk(path: Path, files: dict[str, bytes], *, aligned: bool = True) -> Path:
    """A zip of stored files, whose libraries start at a page of 16 KB."""
    path.parent.mkdir(exist_ok=True)
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in files.items():
            info = zipfile.ZipInfo(name, (1980, 1, 1, 0, 0, 0))
            if name.endswith(".so") and aligned:
                start = archive.start_dir + 30 + len(name)
                info.extra = struct.pack("<HH", 0xD935, 0) + bytes(-(start + 4) % 16384)
                info.extra = struct.pack("<HH", 0xD935, len(info.extra) - 4) + info.extra[4:]
            archive.writestr(info, data)
    return path


def sound(**changes: bytes) -> dict[str, bytes]:
    """What a sound app holds; `changes` by name."""
    files = {"AndroidManifest.xml": TEXT.format("CAMERA").encode(), LITE_LIBRARY: elf(tail=SOUND), **pack(nb())}
    return files | changes


def verdicts(found: AppLint) -> dict[str, Verdict]:
    return {check.name: check.verdict for check in found.checks}


def fault(found: AppLint, name: str) -> str:
    """The message of the one check that failed."""
    failed = [check for check in found.checks if check.verdict is Verdict.FAIL and check.gated]
    assert [check.name for check in failed] == [name], [check.message for check in failed]
    assert found.verdict is Verdict.FAIL
    return failed[0].message


@pytest.mark.parametrize("kind", ["app.apk", "library.aar", "folder"])
def test_a_sound_app_passes(tmp_path: Path, kind: str) -> None:
    path = tmp_path / kind
    if kind == "folder":
        for name, data in sound().items():
            (path / name).parent.mkdir(parents=True, exist_ok=True)
            (path / name).write_bytes(data)
    else:
        apk(path, sound())
    found = lint(path)
    assert found.verdict is Verdict.PASS, found.checks
    assert set(verdicts(found).values()) == {Verdict.PASS}
    assert len(found.checks) == 8
    assert "libpaddle_lite_jni.so is 2.13-rc" in next(c.message for c in found.checks if c.name == "model.library")


@pytest.mark.parametrize(("package", "folder"), [("a.apk", "lib"), ("a.aar", "jni")])
def test_a_library_of_4_kb_pages(tmp_path: Path, package: str, folder: str) -> None:
    files = {name.replace("lib/", f"{folder}/", 1): data for name, data in sound().items()}
    files[f"{folder}/arm64-v8a/libold.so"] = elf(alignment=4096)
    told = fault(lint(apk(tmp_path / package, files)), "elf.pages")
    assert told == f"{folder}/arm64-v8a/libold.so has a segment aligned to 4,096 bytes."


def test_32_bit_libraries_may_have_4_kb_pages(tmp_path: Path) -> None:
    files = sound(**{"lib/armeabi-v7a/libpaddle_lite_jni.so": elf(4096, ARM32, bits=32, tail=SOUND)})
    assert lint(apk(tmp_path / "a.apk", files)).verdict is Verdict.PASS


def test_a_library_that_is_not_at_a_page_of_the_archive(tmp_path: Path) -> None:
    told = fault(lint(apk(tmp_path / "a.apk", sound(), aligned=False)), "elf.pages")
    assert "of the archive: run zipalign" in told


@pytest.mark.parametrize("data", [b"", b"\x7fELF", b"MZ" * 40, elf()[:70], elf()[:64] + bytes(200)])
def test_what_is_no_library(tmp_path: Path, data: bytes) -> None:
    files = sound(**{"lib/arm64-v8a/libbad.so": data})
    assert "lib/arm64-v8a/libbad.so: not a" in fault(lint(apk(tmp_path / "a.apk", files)), "elf.pages")


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({"lib/x86_64/libother.so": elf(machine=X86_64)}, "x86_64 lacks libpaddle_lite_jni.so"),
        ({"lib/arm64-v8a/libforeign.so": elf(machine=X86_64)}, "lib/arm64-v8a/libforeign.so was built for x86_64"),
    ],
)
def test_abis(tmp_path: Path, files: dict[str, bytes], message: str) -> None:
    assert message in fault(lint(apk(tmp_path / "a.apk", sound(**files))), "abi.complete")


def test_without_arm64_no_phone_takes_it(tmp_path: Path) -> None:
    files = {**pack(nb()), "lib/x86_64/libpaddle_lite_jni.so": elf(machine=X86_64, tail=SOUND)}
    assert "there is no arm64-v8a" in fault(lint(apk(tmp_path / "a.apk", files)), "abi.complete")


def test_a_model_of_another_version(tmp_path: Path) -> None:
    told = fault(lint(apk(tmp_path / "a.apk", sound(**pack(nb(version="v2.12"))))), "model.library")
    assert "net/model.nb was written by Paddle-Lite 2.12, lib/arm64-v8a/libpaddle_lite_jni.so is 2.13-rc" in told


def test_an_onnxruntime_that_is_too_old(tmp_path: Path) -> None:
    def app(version: bytes) -> Path:
        library = elf(tail=b"\0VERS_" + version + b"\0")
        return apk(
            tmp_path / "a.apk", {"lib/arm64-v8a/libonnxruntime.so": library, **pack(b"x", "m.onnx", needs="1.9.0")}
        )

    assert lint(app(b"1.26.0")).verdict is Verdict.PASS
    assert "needs ONNX Runtime 1.9.0, lib/arm64-v8a/libonnxruntime.so is 1.8.1" in fault(
        lint(app(b"1.8.1")), "model.library"
    )


@pytest.mark.parametrize(
    ("file", "format", "library"),
    [("m.mnn", Format.MNN, "libMNN.so"), ("m.param", Format.NCNN, "libsegexport_ncnn.so")],
)
def test_the_library_of_mnn_and_of_ncnn(tmp_path: Path, file: str, format: Format, library: str) -> None:
    files = pack(b"x", file)
    name = "assets/model/net/manifest.json"
    files[name] = json.dumps(json.loads(files[name]) | {"format": str(format)}).encode()
    assert f"no library that runs {format}" in fault(lint(apk(tmp_path / "a.apk", files)), "model.library")
    found = lint(apk(tmp_path / "b.apk", files | {f"lib/arm64-v8a/{library}": elf()}))
    assert found.verdict is Verdict.PASS
    assert f"the version of lib/arm64-v8a/{library} is unknown" in str([check.message for check in found.checks])


def test_a_model_without_its_library(tmp_path: Path) -> None:
    """An APK needs it; a library or a folder of assets may get it from elsewhere."""
    files = pack(nb())
    assert "no library that runs paddle-lite" in fault(lint(apk(tmp_path / "a.apk", files)), "model.library")
    assert lint(apk(tmp_path / "a.aar", files)).verdict is Verdict.PASS


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (nb(FP16_KERNELS), "has fp16 kernels: the usual library ends the process"),
        (nb(X86_KERNELS), "has kernels for x86, which no phone runs"),
        (nb(b"nothing"), "no kernels in it"),
        (b"\0" * 40 + KERNELS, "does not say which Paddle-Lite wrote it"),
    ],
)
def test_a_wrong_nb(tmp_path: Path, model: bytes, message: str) -> None:
    for package in ("a.apk", "a.aar"):
        assert message in fault(lint(apk(tmp_path / package, sound(**pack(model)))), "nb.build")
    loose = lint(apk(tmp_path / "b.apk", {LITE_LIBRARY: elf(tail=SOUND), "assets/net.nb": model}))
    assert message in fault(loose, "nb.build")  # also without a manifest


def test_fp16_with_the_library_for_it(tmp_path: Path) -> None:
    path = apk(tmp_path / "a.apk", sound(**pack(nb(FP16_KERNELS))))
    assert lint(path, builds=["fp16"]).verdict is Verdict.PASS


def test_a_model_that_was_changed_or_lost(tmp_path: Path) -> None:
    name = "assets/model/net/model.nb"
    changed = fault(lint(apk(tmp_path / "a.apk", sound(**{name: nb() + b"x"}))), "model.digests")
    assert changed == f"{name} is not the file that its manifest names: another sha256."
    lost = {key: data for key, data in sound().items() if key != name}
    assert fault(lint(apk(tmp_path / "b.apk", lost)), "model.digests") == f"{name} is missing."


def test_a_broken_manifest_is_a_finding_and_a_foreign_one_is_none(tmp_path: Path) -> None:
    files = sound(**{"assets/web/manifest.json": b'{"name": "a page"}'})
    assert lint(apk(tmp_path / "a.apk", files)).verdict is Verdict.PASS
    files = sound(**{"assets/model/two/manifest.json": b'{"schema_version": 1, "preprocess": {}}'})
    told = fault(lint(apk(tmp_path / "b.apk", files)), "model.digests")
    assert told.startswith("assets/model/two/manifest.json: not a valid manifest")


def test_int64_masks(tmp_path: Path) -> None:
    told = fault(lint(apk(tmp_path / "a.apk", sound(**pack(nb(), dtype="int64")))), "output.int64")
    assert told == "assets/model/net: y is int64, 8 bytes for each pixel; export with --head argmax."
    library = elf(tail=b"\0VERS_1.26.0\0")
    files = {"lib/arm64-v8a/libonnxruntime.so": library, **pack(b"x", "model.onnx", dtype="int64")}
    found = lint(apk(tmp_path / "b.apk", files))
    (check,) = (check for check in found.checks if check.name == "output.int64")
    assert (found.verdict, check.verdict, check.gated) == (Verdict.PASS, Verdict.FAIL, False)  # ONNX Runtime says so


def test_broad_permissions(tmp_path: Path) -> None:
    files = sound(**{"AndroidManifest.xml": TEXT.format("READ_EXTERNAL_STORAGE").encode()})
    told = fault(lint(apk(tmp_path / "a.apk", files)), "permissions")
    assert told == "android.permission.READ_EXTERNAL_STORAGE opens all files of the phone."


@pytest.mark.parametrize("utf8", [True, False])
def test_permissions_in_the_binary_form(utf8: bool) -> None:
    assert permissions(binary_manifest("android.permission.CAMERA", utf8=utf8), "x") == ["android.permission.CAMERA"]
    for length in (1, 8, 30, 90):
        with pytest.raises(InputError):
            assert permissions(binary_manifest("android.permission.CAMERA", utf8=utf8)[:length], "x")


def binary_manifest(permission: str, *, utf8: bool) -> bytes:
    """Compiled XML as aapt2 writes it: a pool of strings and one element, `uses-permission`."""
    strings, texts, offsets = ["name", "uses-permission", permission], b"", []
    for text in strings:
        offsets.append(len(texts))
        if utf8:
            texts += bytes([len(text), len(text)]) + text.encode() + b"\0"
        else:
            texts += struct.pack("<H", len(text)) + text.encode("utf-16-le") + b"\0\0"
    texts += bytes(-len(texts) % 4)
    start = 28 + 4 * len(offsets)
    pool = struct.pack("<IIIII", len(strings), 0, 256 if utf8 else 0, start, 0) + struct.pack("<3I", *offsets) + texts
    pool = struct.pack("<HHI", 1, 28, 8 + len(pool)) + pool
    none = 0xFFFFFFFF
    element = struct.pack("<II", 1, none) + struct.pack("<IIHHHHHH", none, 1, 20, 20, 1, 0, 0, 0)
    element += struct.pack("<IIIHBBI", none, 0, 2, 8, 0, 3, 2)
    element = struct.pack("<HHI", 0x0102, 16, 8 + len(element)) + element
    return struct.pack("<HHI", 3, 8, 8 + len(pool) + len(element)) + pool + element


def test_size(tmp_path: Path) -> None:
    file = tmp_path / "app" / "large.bin"
    file.parent.mkdir()
    (file.parent / "AndroidManifest.xml").write_text(TEXT.format("CAMERA"))
    with file.open("wb") as stream:
        stream.truncate(MAX_SIZE_BYTES + 1)  # sparse: takes no room
    assert "over the 200,000,000 of a store" in fault(lint(file.parent), "size")


def test_what_is_no_app(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="nothing of an app is in it"):
        lint(tmp_path / "empty")
    with pytest.raises(InputError, match="no such file"):
        lint(tmp_path / "absent.apk")
    (tmp_path / "text.apk").write_text("no zip")
    with pytest.raises(InputError, match="neither an APK nor an AAR"):
        lint(tmp_path / "text.apk")
    whole = apk(tmp_path / "cut.apk", sound()).read_bytes()
    (tmp_path / "cut.apk").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(InputError):
        lint(tmp_path / "cut.apk")
    (tmp_path / "damaged.apk").write_bytes(whole.replace(KERNELS, KERNELS[::-1]))
    with pytest.raises(InputError, match=r"damaged\.apk: not an APK or an AAR, or a damaged one"):
        lint(tmp_path / "damaged.apk")


def test_forms_and_exit_codes(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    from segexport.cli.main import cli

    good, bad = apk(tmp_path / "good.apk", sound()), apk(tmp_path / "bad.apk", sound(**pack(nb(FP16_KERNELS))))
    found = lint(bad)
    table = " ".join(render(found, "table", color=False, width=120).split())
    assert f"{bad}: FAIL" in table
    assert "FAIL nb.build assets/model/net/model.nb has fp16 kernels" in table
    plain = json.loads(render(found, "json", color=False, width=80))
    assert plain["verdict"] == "FAIL"
    assert [check["name"] for check in plain["checks"] if check["verdict"] == "FAIL"] == ["nb.build"]
    suite = ElementTree.fromstring(render(found, "junit", color=False, width=80).split("\n", 1)[1])[0]
    assert (suite.get("tests"), suite.get("failures"), suite.get("errors")) == ("8", "1", "0")
    for arguments, code in (([good], 0), ([bad], 1), ([bad, "--library-build", "fp16"], 0)):
        with pytest.raises(SystemExit) as left:
            cli(["android", "lint", *map(str, arguments)], standalone_mode=False)
        assert left.value.code == code
    capsys.readouterr()

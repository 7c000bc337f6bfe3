"""The APKs are built, signed and aligned, and contain the right files; also the stubs and the Gradle files."""

from __future__ import annotations

import re
import struct
import subprocess
import zipfile
from pathlib import Path
from xml.etree import ElementTree

import pytest

from segexport.verdict import Verdict

from .conftest import ANDROID, CI, require_tools, script

MODEL_BYTES = b"a model that must not be compressed " * 2000
ALIGNMENT = 16384


@pytest.fixture(scope="module", params=["ort", "lite", "litert", "mnn", "ncnn"])
def apk(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The APK of one backend, from a copy of the sources with a model in its assets."""
    import shutil

    require_tools("apk", "junit", "ort")
    folder = tmp_path_factory.mktemp(request.param)
    ignored = shutil.ignore_patterns("build", "model", "libs", "jniLibs")
    shutil.copytree(ANDROID, folder / "android_demo", ignore=ignored)
    model = folder / "android_demo" / "app" / "src" / "main" / "assets" / "model" / "toy"
    model.mkdir(parents=True)
    (model / "model.onnx").write_bytes(MODEL_BYTES)
    (model / "manifest.json").write_text("{}")
    command = [folder / "android_demo" / "ci" / "build_apk.sh", request.param, folder / f"{request.param}.apk"]
    output = script(command, timeout_s=200, env={"SEGEXPORT_ANDROID_BUILD": str(folder / "build")})
    assert "Verified using v2 scheme (APK Signature Scheme v2): true" in output
    assert "Verified using v3 scheme (APK Signature Scheme v3): true" in output
    print(output.splitlines()[-1])
    return folder / f"{request.param}.apk"


def _dumped(apk: Path, *what: str) -> str:
    return script([require_tools("apk") / "apk" / "aapt2_64", "dump", *what, apk], timeout_s=60)


@pytest.mark.slow
def test_lint_finds_nothing(apk: Path) -> None:
    from segexport.android.lint import lint

    found = lint(apk)
    assert [check for check in found.checks if check.verdict not in (Verdict.PASS, Verdict.SKIPPED)] == []
    libraries = {check.name: check.verdict for check in found.checks if check.name in ("elf.pages", "abi.complete")}
    with zipfile.ZipFile(apk) as archive:  # the other runtimes' libraries are in no index: an app brings its own
        native = any(name.startswith("lib/") for name in archive.namelist())
    assert native == (apk.stem == "ort")
    assert set(libraries.values()) == {Verdict.PASS if native else Verdict.SKIPPED}


@pytest.mark.slow
def test_contents(apk: Path) -> None:
    flavour = apk.stem
    with zipfile.ZipFile(apk) as package:
        names = set(package.namelist())
        dex = b"".join(package.read(name) for name in names if name.endswith(".dex"))
        assert package.testzip() is None
        assert package.read("assets/model/toy/model.onnx") == MODEL_BYTES
        assert package.getinfo("assets/model/toy/model.onnx").compress_type == zipfile.ZIP_STORED
        libraries = {name for name in names if name.startswith("lib/")}
        for name in libraries:
            assert package.getinfo(name).compress_type == zipfile.ZIP_STORED
            assert _data_offset(apk, package.getinfo(name)) % ALIGNMENT == 0, name
            # The arm64 suite runs these bytes.
            assert package.read(name) == (require_tools("ort") / "ort/aar/jni" / name.removeprefix("lib/")).read_bytes()
    expected = {"libonnxruntime.so", "libonnxruntime4j_jni.so"} if flavour == "ort" else set()
    assert libraries == {f"lib/arm64-v8a/{name}" for name in expected}

    def has(name: str) -> bool:
        return f"L{name};".encode() in dex

    for name in (
        "demo/MainActivity",
        "demo/LiveActivity",
        "demo/SelfTestActivity",
        "demo/FilesProvider",
        "core/Segmenter",
    ):
        assert has(f"dev/segexport/{name}"), name
    assert has("dev/segexport/ort/OrtBackend") == (flavour == "ort")
    assert has("dev/segexport/lite/LiteBackend") == (flavour == "lite")
    assert has("dev/segexport/litert/LiteRtBackend") == (flavour == "litert")
    assert has("dev/segexport/mnn/MnnBackend") == (flavour == "mnn")
    assert has("dev/segexport/ncnn/NcnnBackend") == (flavour == "ncnn")
    assert _defines(dex, b"ai/onnxruntime/") == (flavour == "ort")
    # Stubs are compiled against, never shipped: the phone's own classes must be found.
    assert not _defines(dex, b"android/")
    assert not _defines(dex, b"org/json/")
    assert not _defines(dex, b"com/baidu/paddle/lite/")
    assert not _defines(dex, b"org/tensorflow/lite/")
    assert not _defines(dex, b"com/taobao/android/")
    size_mb = apk.stat().st_size / 1e6
    assert size_mb < (29 if flavour == "ort" else 0.5), f"{flavour}: {size_mb:.1f} MB"


@pytest.mark.slow
def test_manifest(apk: Path) -> None:
    badging = _dumped(apk, "badging")
    manifest = _dumped(apk, "xmltree", "--file", "AndroidManifest.xml")  # this aapt2's badging has no versions of SDKs
    versions = _versions()
    assert f"package: name='{versions['APPLICATION_ID']}'" in badging
    assert re.findall(r"minSdkVersion\(0x\w+\)=(\d+)", manifest) == [versions["MIN_SDK"]]
    assert re.findall(r"targetSdkVersion\(0x\w+\)=(\d+)", manifest) == [versions["TARGET_SDK"]]
    assert "compileSdkVersion='34'" in badging  # what the resources are linked against
    assert "launchable-activity: name='dev.segexport.demo.MainActivity'" in badging
    asked = re.findall(r"uses-permission: name='([^']+)'", badging)
    assert asked == ["android.permission.CAMERA"]  # of the live screen; no network, no storage
    assert "uses-feature-not-required: name='android.hardware.camera'" in badging
    assert "uses-feature: name='android.hardware.camera" not in badging
    assert "locales: '--_--' 'zh'" in badging


@pytest.mark.slow
def test_two_builds_are_equal(apk: Path) -> None:
    """The same sources give the same classes and resources (the signature's key is another matter)."""
    folder = apk.parent
    script(
        [folder / "android_demo" / "ci" / "build_apk.sh", apk.stem, folder / "again.apk"],
        timeout_s=200,
        env={"SEGEXPORT_ANDROID_BUILD": str(folder / "build")},
    )
    assert (folder / "again.apk").read_bytes() == apk.read_bytes()


def _data_offset(apk: Path, entry: zipfile.ZipInfo) -> int:
    with apk.open("rb") as stream:
        stream.seek(entry.header_offset + 26)
        name_bytes, extra_bytes = struct.unpack("<HH", stream.read(4))
    return entry.header_offset + 30 + name_bytes + extra_bytes


def _defines(dex: bytes, prefix: bytes) -> bool:
    """Whether a dex file defines (not only uses) a class whose name starts so."""
    strings_size, strings_at, _types_size, types_at = struct.unpack_from("<IIII", dex, 0x38)
    classes_size, classes_at = struct.unpack_from("<II", dex, 0x60)
    assert strings_size
    assert classes_size
    for index in range(classes_size):
        (type_index,) = struct.unpack_from("<I", dex, classes_at + 32 * index)
        (string_index,) = struct.unpack_from("<I", dex, types_at + 4 * type_index)
        (at,) = struct.unpack_from("<I", dex, strings_at + 4 * string_index)
        while dex[at] & 0x80:
            at += 1
        if dex.startswith(b"L" + prefix, at + 1):
            return True
    return False


# --- the build's inputs; needs no tools -----------------------------------------------------------------------------


def _versions() -> dict[str, str]:
    return dict(re.findall(r"^(\w+)=(\S+)$", (CI / "versions.sh").read_text(), re.MULTILINE))


def test_gradle_builds_what_ci_builds() -> None:
    """Gradle cannot run where its repositories are out of reach; its numbers are compared with those of ci/."""
    gradle = dict(re.findall(r"^    (\w+) = '?([\w.]+)'?", (ANDROID / "build.gradle").read_text(), re.MULTILINE))
    names = {
        "GROUP": "libraryGroup",
        "APPLICATION_ID": "applicationId",
        "MIN_SDK": "minSdk",
        "TARGET_SDK": "targetSdk",
        "VERSION_CODE": "versionCode",
        "VERSION_NAME": "versionName",
        "ONNXRUNTIME": "onnxruntime",
        "LITERT": "litert",
        "KOTLIN": "kotlin",
        "COROUTINES": "coroutines",
    }
    versions = _versions()
    assert set(versions) == set(names)
    assert {name: gradle[names[name]] for name in names} == versions
    app = (ANDROID / "app" / "build.gradle").read_text()
    script_text = (CI / "build_apk.sh").read_text()
    alone = {name: [name] for name in ("ort", "lite", "litert", "mnn", "ncnn")}
    for flavour, modules in {**alone, "full": list(alone)}.items():
        assert re.findall(rf"{flavour}Implementation project\(':(\w+)'\)", app) == modules
        case = f'full) modules="core {" ".join(modules)}"' if flavour == "full" else 'modules="core $flavour"'
        assert case in script_text
        assert set(modules) <= set(re.findall(r"\w+", (CI / "modules.sh").read_text().split("\n")[1]))
    assert "noCompress 'onnx', 'nb', 'tflite'" in app
    assert "-0 .onnx -0 .nb -0 .tflite" in script_text
    assert "JavaVersion.VERSION_1_8" in app
    assert "--release 8" in (CI / "modules.sh").read_text()
    modules = set(re.findall(r"':([\w-]+)'", (ANDROID / "settings.gradle").read_text()))
    assert modules == {
        "core",
        "core-jvm",
        "ort",
        "lite",
        "lite-stub",
        "litert",
        "mnn",
        "mnn-stub",
        "ncnn",
        "coroutines",
        "app",
    }


def test_gradle_and_its_wrapper_are_pinned() -> None:
    """The digests of Gradle 8.10.2 and of its wrapper, from Gradle's list; AGP 8.7 needs 8.9 or later."""
    import hashlib

    given = (ANDROID / "gradle" / "wrapper" / "gradle-wrapper.properties").read_text()
    assert re.findall(r"distributionUrl=.*/gradle-(.*)-bin\.zip", given) == ["8.10.2"]
    assert "distributionSha256Sum=31c55713e40233a8303827ceb42ca48a47267a0ad4bab9177123121e71524c26\n" in given
    wrapper = (ANDROID / "gradle" / "wrapper" / "gradle-wrapper.jar").read_bytes()
    assert hashlib.sha256(wrapper).hexdigest() == "2db75c40782f5e8ba1fc278a5574bab070adccb2d21ca5a6e5ed840888448046"
    plugins = (ANDROID / "build.gradle").read_text()
    assert "id 'com.android.library' version '8.7.3'" in plugins
    assert f"id 'org.jetbrains.kotlin.android' version '{_versions()['KOTLIN']}'" in plugins


def test_onnxruntime_is_the_version_that_is_named(tmp_path: Path) -> None:
    tools = require_tools("ort")
    library = (tools / "ort" / "aar" / "jni" / "arm64-v8a" / "libonnxruntime.so").read_bytes()
    assert f"VERS_{_versions()['ONNXRUNTIME']}".encode() in library


def test_both_languages_have_every_string() -> None:
    texts = {}
    for folder in ("values", "values-zh"):
        tree = ElementTree.parse(ANDROID / "app" / "src" / "main" / "res" / folder / "strings.xml")
        texts[folder] = {node.get("name"): node.text or "" for node in tree.getroot()}
    assert texts["values"].keys() == texts["values-zh"].keys()
    for name, english in texts["values"].items():
        holes = [sorted(re.findall(r"%\d\$[.\d]*[dfs]", text)) for text in (english, texts["values-zh"][name])]
        assert holes[0] == holes[1], name
        translated = re.search(r"[\u4e00-\u9fff]", texts["values-zh"][name])
        assert translated or name in ("app_name", "legend_entry"), name


def test_the_stubs_are_androids_api(tmp_path: Path) -> None:
    """Every class, method (by name and number of arguments) and constant of ci/stubs is in a published API listing."""
    tools = require_tools("api")
    listing = _api((tools / "api" / "package" / "lib" / "android" / "android-platform-37.d.ts").read_text())
    assert len(listing) > 4000
    script(["javac", "--release", "8", "-nowarn", "-Xlint:-options", "-d", tmp_path, *_stubs()], timeout_s=100)
    files = [file for file in sorted(tmp_path.rglob("*.class")) if file.stem != "Stub"]
    checked, wrong = 0, []
    for printed in script(["javap", "-protected", *files], timeout_s=100).split("Compiled from ")[1:]:
        name = re.search(r"(?:class|interface|enum) ([\w.$]+)", printed)[1].replace("$", ".")
        if name not in listing:
            wrong.append(f"no class {name}")
            continue
        for member, arity in _members(printed, name):
            checked += 1
            if arity not in listing[name].get(member, set()):
                wrong.append(f"{name}.{member}/{arity}")
    assert not wrong, wrong
    assert checked > 100
    assert "absentMethod" not in listing["android.app.Activity"]  # the listing is read, not believed


def _stubs() -> list[Path]:
    return sorted((CI / "stubs").rglob("*.java"))


def _members(printed: str, name: str) -> list[tuple[str, int]]:
    """(name, number of arguments) of what javap prints; -1 for a field."""
    found = []
    for line in printed.splitlines():
        if not line.startswith("  ") or line.strip() == "static {};":
            continue
        method = re.search(r"([\w.$]+)\(([^)]*)\)", line)
        if method:
            arguments = re.sub(r"<[^<>]*>", "", method[2])
            arity = 0 if not arguments else arguments.count(",") + 1
            member = method[1]
            constructor = "." in member or member == name.rsplit(".", 1)[1]
            if member in ("values", "valueOf") and "extends java.lang.Enum" in printed:
                continue
            found.append(("constructor" if constructor else member, arity))
        else:
            found.append((line.split("=")[0].strip().rstrip(";").split()[-1], -1))
    return found


def _api(text: str) -> dict[str, dict[str, set[int]]]:
    """Classes of a TypeScript declaration file, their members, and with how many arguments these exist."""
    classes: dict[str, dict[str, set[int]]] = {}
    scope: list[str] = []
    for line in map(str.strip, text.splitlines()):
        opened = re.match(r"(?:declare|export) (?:module|namespace) ([\w$]+)", line) or re.match(
            r"export (?:abstract )?(?:class|interface) ([\w$]+)", line
        )
        if opened and line.endswith("{"):
            scope.append(opened[1])
            if "module" not in line and "namespace" not in line:
                classes.setdefault(".".join(scope), {})
        elif line.startswith("}"):
            scope and scope.pop()
        elif line.endswith("{") and not line.startswith(("/*", "*")):
            scope.append("{")
        elif (name := ".".join(scope)) in classes:
            method = re.match(r"(?:public|protected|private)?\s*(?:static )?([\w$]+)\((.*)\)\s*(?::.*)?;", line)
            field = re.match(r"(?:public|protected)?\s*(?:static )?([\w$]+)\s*:", line)
            if method:
                classes[name].setdefault(method[1], set()).add(method[2].count(":") if method[2].strip() else 0)
            elif field:
                classes[name].setdefault(field[1], set()).add(-1)
    return classes


def test_shell_scripts_parse() -> None:
    for file in sorted(CI.rglob("*.sh")):
        done = subprocess.run(["bash", "-n", str(file)], capture_output=True, text=True, timeout=20)
        assert done.returncode == 0, done.stderr

"""The library's AARs: what they hold, that R8 leaves what is found by name, and that their faults are found."""

from __future__ import annotations

import re
import shutil
import subprocess
import zipfile
from pathlib import Path
from xml.etree import ElementTree

import pytest

from segexport.android.lint import lint
from segexport.verdict import Verdict

from .conftest import ANDROID, CI, Jvm, require_tools, script
from .models import convolution
from .test_apk import _versions
from .test_lint import FP16_KERNELS, elf, nb, pack

MODULES = ("core", "ort", "lite", "litert", "mnn", "ncnn", "coroutines")
POM = "{http://maven.apache.org/POM/4.0.0}"


def _build(folder: Path, **planted: bytes) -> Path:
    """A Maven repository, from a copy of the sources with more files in it."""
    require_tools("junit", "ort", "kotlin")
    ignored = shutil.ignore_patterns("build", "model", "libs", "jniLibs")
    shutil.copytree(ANDROID, folder / "android_demo", ignore=ignored)
    for name, data in planted.items():
        (folder / "android_demo" / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / "android_demo" / name).write_bytes(data)
    command = [folder / "android_demo" / "ci" / "build_aar.sh", folder / "maven"]
    script(command, timeout_s=400, env={"SEGEXPORT_ANDROID_BUILD": str(folder / "build")})
    return folder / "maven"


@pytest.fixture(scope="module")
def maven(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return _build(tmp_path_factory.mktemp("aar"))


def _file(maven: Path, module: str, suffix: str) -> Path:
    (found,) = maven.glob(f"dev/segexport/segexport-{module}/*/segexport-{module}-*.{suffix}")
    return found


@pytest.mark.slow
@pytest.mark.parametrize("module", MODULES)
def test_contents(maven: Path, module: str) -> None:
    """The files of an AAR, by Google's description of the format; nothing of the runtimes' own classes."""
    with zipfile.ZipFile(_file(maven, module, "aar")) as aar:
        metadata = "META-INF/com/android/build/gradle/aar-metadata.properties"
        assert {*aar.namelist()} == {"AndroidManifest.xml", "classes.jar", "R.txt", "proguard.txt", metadata}
        manifest = ElementTree.fromstring(aar.read("AndroidManifest.xml"))
        assert manifest.get("package") == f"dev.segexport.{module}"
        assert aar.read("proguard.txt") == (ANDROID / module / "consumer-rules.pro").read_bytes()
        with aar.open("classes.jar") as stream, zipfile.ZipFile(stream) as classes:
            folders = {name.rpartition("/")[0] for name in classes.namelist()} - {"META-INF"}
            assert folders == {f"dev/segexport/{module}"}
    with zipfile.ZipFile(_file(maven, module, "jar")) as sources:
        assert all(name.endswith((".java", ".kt")) for name in sources.namelist())
    found = lint(_file(maven, module, "aar"))
    assert found.verdict is Verdict.PASS, found.checks


@pytest.mark.slow
@pytest.mark.parametrize("module", MODULES)
def test_the_pom_is_gradles(maven: Path, module: str) -> None:
    """Coordinates and dependencies are those that build.gradle names."""
    pom = ElementTree.parse(_file(maven, module, "pom")).getroot()

    def values(element: ElementTree.Element, *names: str) -> tuple[str, ...]:
        return tuple(element.findtext(f"{POM}{name}", "") for name in names)

    versions = _versions()
    own = (versions["GROUP"], f"segexport-{module}", versions["VERSION_NAME"], "aar")
    assert values(pom, "groupId", "artifactId", "version", "packaging") == own
    got = {values(one, "groupId", "artifactId", "version", "scope") for one in pom.iter(f"{POM}dependency")}
    gradle = (ANDROID / module / "build.gradle").read_text()
    expected = set()
    if "api project(':core')" in gradle:
        expected.add((versions["GROUP"], "segexport-core", versions["VERSION_NAME"], "compile"))
    for scope, *named, variable in re.findall(r'^    (api|implementation) "(.*):(.*):\$(\w+)"', gradle, re.MULTILINE):
        expected.add((*named, versions[variable.upper()], {"api": "compile", "implementation": "runtime"}[scope]))
    if "org.jetbrains.kotlin.android" in gradle:  # the plugin adds it
        expected.add(("org.jetbrains.kotlin", "kotlin-stdlib", versions["KOTLIN"], "compile"))
    assert got == expected


@pytest.mark.slow
def test_two_builds_are_equal(maven: Path, tmp_path: Path) -> None:
    again = _build(tmp_path)
    for module in MODULES:
        for suffix in ("aar", "pom", "jar"):
            assert _file(maven, module, suffix).read_bytes() == _file(again, module, suffix).read_bytes()


@pytest.mark.slow
def test_r8_leaves_what_is_found_by_name(maven: Path, jvm: Jvm, tmp_path: Path) -> None:
    """The shrunk library finds its backend, and ONNX Runtime's library its classes; without the rules it does not."""
    require_tools("apk")
    model, main = convolution(tmp_path / "model").path, "dev.segexport.ort.RunByName"
    whole = jvm(main, "dev.segexport.ort.OrtBackend", model)

    def shrunk(*options: str) -> Path:
        out = tmp_path / f"shrunk{len(options)}.jar"
        script([CI / "shrink_jvm.sh", maven, out, main, *options], timeout_s=400, env=jvm.env)
        return out

    def run(classes: Path) -> str:
        command = [CI / "java.sh", "x86_64", main, "dev.segexport.ort.OrtBackend", model]
        return script(command, timeout_s=100, env={**jvm.env, "CLASSES": str(classes)})

    jar = shrunk()
    assert run(jar) == whole
    with zipfile.ZipFile(jar) as classes:
        names = set(classes.namelist())
    assert {f"dev/segexport/{name}.class" for name in ("ort/OrtBackend", "lite/LiteBackend")} <= names
    assert "dev/segexport/core/Segmenter.class" not in names  # renamed: it was shrunk
    with pytest.raises(AssertionError, match=r"ClassNotFoundException: dev\.segexport\.ort\.OrtBackend"):
        run(shrunk("none"))


def test_the_rules_keep_what_the_app_finds_by_name() -> None:
    text = (ANDROID / "app/src/main/java/dev/segexport/demo/Backends.java").read_text()
    named = re.findall(r'"(dev\.segexport\.(\w+)\.\w+)"', text)
    assert len(named) >= 3
    for name, module in named:
        rules = (ANDROID / module / "consumer-rules.pro").read_text()
        assert re.search(rf"^-keep class {re.escape(name)} {{ public <init>\((\.\.\.)?\); }}$", rules, re.MULTILINE)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("planted", "check", "message"),
    [
        ({"lite/src/main/jniLibs/arm64-v8a/libold.so": elf(4096)}, "elf.pages", "aligned to 4,096 bytes"),
        ({f"lite/src/main/{name}": data for name, data in pack(nb(FP16_KERNELS)).items()}, "nb.build", "fp16 kernels"),
        (
            {
                **{f"lite/src/main/{name}": data for name, data in pack(nb(version="v2.12")).items()},
                "lite/src/main/jniLibs/arm64-v8a/libpaddle_lite_jni.so": elf(tail=b"\0v2.13-rc\0"),
            },
            "model.library",
            "was written by Paddle-Lite 2.12",
        ),
    ],
)
def test_what_is_planted_is_found(tmp_path: Path, planted: dict[str, bytes], check: str, message: str) -> None:
    """In the AAR and, from the same sources, in the APK."""
    require_tools("apk")
    aar = _file(_build(tmp_path, **planted), "lite", "aar")
    apk = tmp_path / "lite.apk"
    app = tmp_path / "android_demo" / "app" / "src" / "main"
    if (tmp_path / "android_demo/lite/src/main/assets").is_dir():
        shutil.copytree(tmp_path / "android_demo/lite/src/main/assets", app / "assets")
    command = [tmp_path / "android_demo" / "ci" / "build_apk.sh", "lite", apk]
    script(command, timeout_s=400, env={"SEGEXPORT_ANDROID_BUILD": str(tmp_path / "build")})
    for package in (aar, apk):
        failed = {one.name: one.message for one in lint(package).checks if one.verdict is Verdict.FAIL and one.gated}
        assert message in failed[check], package


def test_the_scripts_say_what_they_want() -> None:
    done = subprocess.run(["bash", CI / "build_apk.sh", "none"], capture_output=True, text=True, timeout=60)
    assert done.returncode == 2
    assert "no flavour none; there are ort, lite, litert, mnn, ncnn and full" in done.stderr

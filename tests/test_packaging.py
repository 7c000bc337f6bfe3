"""The wheel: nothing generic in a user's site-packages, nothing forgotten, nothing that does not belong there."""

from __future__ import annotations

import importlib.metadata
import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from installed import require

REPOSITORY = Path(__file__).resolve().parent.parent
HOMES = {"src/segexport": "segexport", "exporter": "segexport/exporter", "compress": "segexport/compress"} | {
    "runtimes": "segexport/runtimes"
}


def tracked() -> list[str]:
    """What git knows, or what is there where there is no git (an unpacked archive)."""
    done = subprocess.run(["git", "ls-files", *HOMES], cwd=REPOSITORY, capture_output=True, text=True)
    if done.returncode == 0 and done.stdout:
        return [name for name in done.stdout.splitlines() if (REPOSITORY / name).is_file()]
    return [
        str(path.relative_to(REPOSITORY))
        for home in HOMES
        for path in (REPOSITORY / home).rglob("*")
        if path.is_file() and "__pycache__" not in path.parts and not any(p.endswith(".egg-info") for p in path.parts)
    ]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory) -> zipfile.ZipFile:
    """Built from the tracked files alone, in a copy, without a network."""
    require("setuptools")
    if int(importlib.metadata.version("setuptools").split(".")[0]) < 77:
        (pytest.fail if os.environ.get("CI") == "true" else pytest.skip)("setuptools 77 or later builds the wheel")
    source, out = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("wheel")
    for name in (*tracked(), "pyproject.toml", "README.md", "LICENSE", "NOTICE"):
        if (REPOSITORY / name).is_file():
            (source / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(REPOSITORY / name, source / name)
    for link in filter(Path.is_symlink, (REPOSITORY / "src/segexport").iterdir()):
        (source / "src/segexport" / link.name).symlink_to(link.readlink())
    if not (source / "README.md").is_file():
        (source / "README.md").write_text("# segexport\n")
    build = "import sys; from setuptools import build_meta; print(build_meta.build_wheel(sys.argv[1]))"
    environment = {**os.environ, "PYTHONDONTWRITEBYTECODE": "1"}
    done = subprocess.run(
        [sys.executable, "-c", build, str(out)], cwd=source, capture_output=True, text=True, env=environment
    )
    assert done.returncode == 0, done.stderr[-2000:]
    (file,) = out.glob("*.whl")
    return zipfile.ZipFile(file)


def information(wheel: zipfile.ZipFile, name: str) -> str:
    (path,) = [path for path in wheel.namelist() if path.endswith(f".dist-info/{name}")]
    return wheel.read(path).decode()


def test_only_segexport_lands_in_site_packages(wheel):
    assert information(wheel, "top_level.txt").split() == ["segexport"]
    tops = {name.split("/")[0] for name in wheel.namelist()}
    assert {top for top in tops if not top.endswith(".dist-info")} == {"segexport"}


def test_every_file_is_in_the_wheel_and_no_other(wheel):
    expected = set()
    for name in tracked():
        home = next(home for home in HOMES if name.startswith(f"{home}/"))
        expected.add(HOMES[home] + name[len(home) :])
    found = {name for name in wheel.namelist() if name.startswith("segexport/")}
    assert sorted(expected - found) == []
    assert sorted(found - expected) == []


@pytest.mark.parametrize(
    "kind", [".py", ".j2", ".css.j2", ".pdmodel", ".pdiparams", ".png", "recipe.yaml", "labels.txt"]
)
def test_there_is_a_file_of_every_kind(wheel, kind):
    """So that the test above cannot pass on an empty list."""
    assert any(name.endswith(kind) for name in wheel.namelist())


def test_the_licence_of_the_images_goes_along(wheel):
    assert "segexport/demo/data/LICENSE.stardist.txt" in wheel.namelist()


def test_the_command_and_what_it_needs(wheel):
    assert "segexport = segexport.cli.main:main" in information(wheel, "entry_points.txt")
    needs = [line[15:] for line in information(wheel, "METADATA").splitlines() if line.startswith("Requires-Dist: ")]
    core = {
        need.split(";")[0].split(">")[0].split("<")[0].split("=")[0].strip() for need in needs if "extra" not in need
    }
    assert core.isdisjoint({"paddlepaddle", "onnx", "onnxruntime", "paddlelite", "paddle2onnx", "torch"})
    assert {"numpy", "click", "pydantic"} <= core


def test_the_installed_wheel_starts(wheel, tmp_path):
    """Out of the archive's own folder, with nothing of the repository on the path."""
    wheel.extractall(tmp_path)
    source = f"import sys; sys.path.insert(0, {str(tmp_path)!r}); "
    source += "import segexport.cli.main as c; print(c.__file__); c.main()"
    done = subprocess.run(
        [sys.executable, "-c", source, "recipe", "validate", str(tmp_path / "segexport/demo/recipe.yaml")],
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    assert done.stdout.strip() == str(tmp_path / "segexport/cli/main.py")
    assert done.returncode == 0, done.stderr
    assert "a valid recipe with" in done.stderr

"""The wheel: nothing generic in a user's site-packages, nothing forgotten, nothing that does not belong there."""

from __future__ import annotations

import subprocess
import sys
import zipfile

import pytest
from wheels import HOMES, build_wheel, tracked


@pytest.fixture(scope="module")
def wheel(tmp_path_factory) -> zipfile.ZipFile:
    return zipfile.ZipFile(build_wheel(tmp_path_factory.mktemp("wheel")))


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
    "kind",
    [
        ".py",
        ".j2",
        ".css.j2",
        ".js",
        ".pdmodel",
        ".pdiparams",
        ".png",
        "recipe.yaml",
        "labels.txt",
        "toolchain/locks/onnx.txt",
    ],
)
def test_there_is_a_file_of_every_kind(wheel, kind):
    """So that the test above cannot pass on an empty list."""
    assert any(name.endswith(kind) for name in wheel.namelist())


def test_the_licence_of_the_images_goes_along(wheel):
    assert "segexport/demo/data/LICENSE.stardist.txt" in wheel.namelist()


def test_the_command_and_what_it_needs(wheel):
    assert "segexport = segexport.__main__:main" in information(wheel, "entry_points.txt")
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
    assert done.stdout.strip() == str(tmp_path / "segexport/cli/main.py"), done.stderr
    assert done.returncode == 0, done.stderr
    assert "a valid recipe with" in done.stderr


def test_everything_is_the_extras_that_a_user_may_want(wheel):
    """`all` holds what is installed for users; what is for developers, benchmarks, one cloud or one tracker is not."""
    text = information(wheel, "METADATA")
    extras = {line.split(": ")[1] for line in text.splitlines() if line.startswith("Provides-Extra: ")}
    (everything,) = [line for line in text.splitlines() if line.endswith('; extra == "all"')]
    named = set(everything.split("[")[1].split("]")[0].split(","))
    assert named | {"paddle", "onnx"} == extras - {"all", "dev", "slim"} - {"s3", "gcs", "azure", "http", "mlflow"}

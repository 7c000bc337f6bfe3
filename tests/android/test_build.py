"""`build_apk`: what it says where it cannot build. The real build is in test_apk.py."""

from __future__ import annotations

from pathlib import Path

import pytest

from segexport.android.build import build_aars, build_apk
from segexport.errors import EnvironmentMissingError, InputError, WorkerFailed

from .conftest import ANDROID, require_tools


def _demo(folder: Path, script: str) -> Path:
    (folder / "ci").mkdir()
    (folder / "ci" / "build_apk.sh").write_text(script)
    return folder


def test_not_the_folder(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="not the android_demo folder") as caught:
        build_apk(tmp_path, tmp_path / "a.apk")
    assert caught.value.cause == "there is no ci/build_apk.sh"


def test_no_jdk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(EnvironmentMissingError, match="cannot be built on this machine") as caught:
        build_apk(ANDROID, tmp_path / "a.apk")
    assert "javac" in caught.value.cause
    assert "Android Studio" in caught.value.hint


def test_failures_of_the_script(tmp_path: Path) -> None:
    require_tools()
    demo = _demo(tmp_path, "echo 'fetch_tools: npm cannot fetch x@1' >&2; exit 3")
    with pytest.raises(EnvironmentMissingError, match="tools cannot be fetched") as caught:
        build_apk(demo, tmp_path / "a.apk")
    assert caught.value.cause == "fetch_tools: npm cannot fetch x@1"
    (demo / "ci" / "build_apk.sh").write_text("echo 'Main.java:1: error' >&2; exit 1")
    with pytest.raises(WorkerFailed, match="exit 1") as failed:
        build_apk(demo, tmp_path / "a.apk")
    assert "Main.java:1: error" in failed.value.cause
    (demo / "ci" / "build_apk.sh").write_text('printf apk > "$2"')
    assert build_apk(demo, tmp_path / "a.apk") == 3
    (demo / "ci" / "build_apk.sh").write_text('printf shrunk$SHRINK > "$2"')
    assert build_apk(demo, tmp_path / "a.apk", shrink=True) == len("shrunk1")
    (demo / "ci" / "build_apk.sh").write_text("true")
    with pytest.raises(WorkerFailed, match=r"no .*b\.apk"):
        build_apk(demo, tmp_path / "b.apk")
    (demo / "ci" / "build_aar.sh").write_text("true")
    with pytest.raises(WorkerFailed, match="no AAR in"):
        build_aars(demo, tmp_path / "maven")
    (demo / "ci" / "build_aar.sh").write_text('mkdir -p "$1/x" && touch "$1/x/b.aar" "$1/x/a.aar" "$1/x/a.pom"')
    assert [file.name for file in build_aars(demo, tmp_path / "maven")] == ["a.aar", "b.aar"]

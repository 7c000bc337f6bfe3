"""The tools of the Android build. Where they are not, tests skip on a laptop and fail in CI."""

from __future__ import annotations

import os
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest

ANDROID = Path(__file__).resolve().parents[2] / "android_demo"
CI = ANDROID / "ci"


def unavailable(reason: str) -> None:
    """Skips, or fails where CI must not skip."""
    if os.environ.get("CI", "").lower() in ("1", "true"):
        pytest.fail(reason)
    pytest.skip(reason)


def require_tools(*groups: str) -> Path:
    """The folder of the tools. CI fetches what is missing; a laptop is asked to."""
    root = os.environ.get("SEGEXPORT_ANDROID_TOOLS")
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    tools = Path(root) if root else cache / "segexport" / "android"
    for program in ("java", "javac"):
        if shutil.which(program) is None:
            unavailable(f"no {program}; a JDK 17 is needed (Debian: openjdk-17-jdk-headless)")
    missing = [group for group in groups if not (tools / group / ".complete").exists()]
    if missing and os.environ.get("CI", "").lower() not in ("1", "true"):
        pytest.skip(f"the Android tools are not here: android_demo/ci/fetch_tools.sh {' '.join(missing)}")
    if groups:
        script([CI / "fetch_tools.sh", *groups], timeout_s=600)
    return tools


def script(command: list, *, timeout_s: float, env: dict[str, str] | None = None) -> str:
    """Runs a program and gives its stdout; a failure shows all it said."""
    done = subprocess.run(
        [str(part) for part in command],
        capture_output=True,
        text=True,
        timeout=timeout_s,
        env={**os.environ, **(env or {})},
    )
    assert done.returncode == 0, f"{command}: exit {done.returncode}\n{done.stdout[-4000:]}\n{done.stderr[-4000:]}"
    return done.stdout


@dataclass(frozen=True)
class Jvm:
    """Runs compiled classes with the AAR's Android libraries."""

    build: Path
    abi: str = "x86_64"

    def __call__(self, *arguments: object, timeout_s: float = 100) -> str:
        return script([CI / "java.sh", self.abi, *arguments], timeout_s=timeout_s, env=self.env)

    @property
    def env(self) -> dict[str, str]:
        return {"SEGEXPORT_ANDROID_BUILD": str(self.build)}


@pytest.fixture(scope="session")
def jvm(tmp_path_factory: pytest.TempPathFactory) -> Jvm:
    """core, ort, lite and their tests, compiled; x86_64."""
    require_tools("junit", "ort", "zig")
    jvm = Jvm(tmp_path_factory.mktemp("android"))
    script([CI / "build_jvm.sh"], timeout_s=200, env=jvm.env)
    return jvm


@pytest.fixture(scope="session")
def arm64(jvm: Jvm) -> Jvm:
    """The same classes on an arm64 JVM in qemu, with the libraries that are in the APK."""
    require_tools("arm64")
    return Jvm(jvm.build, "arm64-v8a")

"""Builds the demo app's APK and the library's AARs with the scripts of `android_demo/ci`."""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
from pathlib import Path
from typing import Literal

from segexport.errors import EnvironmentMissingError, MissingInputError, WorkerFailed, WorkerTimeout

Flavour = Literal["ort", "lite", "litert", "mnn", "ncnn", "full"]
_CANNOT_FETCH = 3  # exit code of fetch_tools.sh
_TIMEOUT_S = 1800.0


def build_apk(demo: Path, output: Path, *, flavour: Flavour = "ort", shrink: bool = False) -> int:
    """Builds a signed APK for arm64-v8a, with the models in the demo's assets.

    Args:
        demo: The folder `android_demo` of a clone; it is not part of the installed package.
        output: The APK.
        flavour: Runtimes in the APK: ONNX Runtime, Paddle-Lite, LiteRT, MNN, ncnn, or all.
        shrink: Removes and renames what can be, by R8; the names' mapping is written beside the APK.

    Returns:
        The APK's size in bytes.

    Raises:
        InputError: `demo` is not that folder.
        EnvironmentMissingError: A tool is missing or cannot be fetched here; Android Studio builds the same folder.
        WorkerFailed: The build failed.
        WorkerTimeout: The build took more than half an hour.
    """
    _run(demo, "build_apk.sh", flavour, output.resolve(), shrink=shrink)
    if not output.is_file():
        raise WorkerFailed(f"{demo / 'ci' / 'build_apk.sh'} {flavour}: no {output}")
    return output.stat().st_size


def build_aars(demo: Path, output: Path) -> list[Path]:
    """Builds the library's modules as AARs, each with its POM and sources.

    Args:
        demo: As for `build_apk`.
        output: A folder that becomes a Maven repository; modules that it has already are replaced.

    Returns:
        The AARs, by name.

    Raises:
        SegexportError: As `build_apk`.
    """
    _run(demo, "build_aar.sh", output.resolve())
    found = sorted(output.rglob("*.aar"))
    if not found:
        raise WorkerFailed(f"{demo / 'ci' / 'build_aar.sh'}: no AAR in {output}")
    return found


def _run(demo: Path, name: str, *arguments: str | Path, shrink: bool = False) -> None:
    script = demo / "ci" / name
    if not script.is_file():
        raise MissingInputError(
            f"{demo}: not the android_demo folder of segexport",
            cause=f"there is no {script.relative_to(demo)}",
            hint="git clone segexport, then give its folder android_demo",
        )
    missing = [tool for tool in ("bash", "javac", "jar", "keytool", "zip", "unzip", "npm") if not shutil.which(tool)]
    here = f"{platform.system()} {platform.machine()}"
    if missing or here != "Linux x86_64":
        raise EnvironmentMissingError(
            f"the app cannot be built on this machine ({here})",
            cause=f"missing: {', '.join(missing)}" if missing else "the build's tools are those of Debian 12, x86_64",
            hint="on Debian 12: apt install openjdk-17-jdk-headless zip unzip npm; elsewhere: Android Studio",
        )
    try:
        done = subprocess.run(
            ["bash", script, *arguments],
            capture_output=True,
            text=True,
            errors="replace",
            stdin=subprocess.DEVNULL,
            timeout=_TIMEOUT_S,
            env={**os.environ, "SHRINK": str(int(shrink))},
        )
    except subprocess.TimeoutExpired as error:
        raise WorkerTimeout(f"{script}: not ready after {_TIMEOUT_S:g} s") from error
    said = " | ".join((done.stderr.strip() or done.stdout.strip()).splitlines()[-5:])[:800]
    if done.returncode == _CANNOT_FETCH:
        raise EnvironmentMissingError(
            "the build's tools cannot be fetched",
            cause=said,
            hint="see docs/android.md for what is fetched from where; or open android_demo in Android Studio",
        )
    if done.returncode != 0:
        raise WorkerFailed(f"{script} {' '.join(map(str, arguments))}: exit {done.returncode}", cause=said)

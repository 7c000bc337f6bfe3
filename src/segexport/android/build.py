"""Builds the demo app's APK with `android_demo/ci/build_apk.sh`."""

from __future__ import annotations

import platform
import shutil
import subprocess
from pathlib import Path
from typing import Literal

from segexport.errors import EnvironmentMissingError, MissingInputError, WorkerFailed, WorkerTimeout

Flavour = Literal["ort", "lite", "litert", "full"]
_CANNOT_FETCH = 3  # exit code of fetch_tools.sh
_TIMEOUT_S = 1800.0


def build_apk(demo: Path, output: Path, *, flavour: Flavour = "ort") -> int:
    """Builds a signed APK for arm64-v8a, with the models in the demo's assets.

    Args:
        demo: The folder `android_demo` of a clone; it is not part of the installed package.
        output: The APK.
        flavour: Runtimes in the APK: ONNX Runtime, Paddle-Lite, LiteRT, or all.

    Returns:
        The APK's size in bytes.

    Raises:
        InputError: `demo` is not that folder.
        EnvironmentMissingError: A tool is missing or cannot be fetched here; Android Studio builds the same folder.
        WorkerFailed: The build failed.
        WorkerTimeout: The build took more than half an hour.
    """
    script = demo / "ci" / "build_apk.sh"
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
            f"the APK cannot be built on this machine ({here})",
            cause=f"missing: {', '.join(missing)}" if missing else "the build's tools are those of Debian 12, x86_64",
            hint="on Debian 12: apt install openjdk-17-jdk-headless zip unzip npm; elsewhere: Android Studio",
        )
    try:
        done = subprocess.run(
            ["bash", script, flavour, output.resolve()],
            capture_output=True,
            text=True,
            errors="replace",
            stdin=subprocess.DEVNULL,
            timeout=_TIMEOUT_S,
        )
    except subprocess.TimeoutExpired as error:
        raise WorkerTimeout(f"{script}: not ready after {_TIMEOUT_S:g} s") from error
    said = " | ".join((done.stderr.strip() or done.stdout.strip()).splitlines()[-5:])[:800]
    if done.returncode == _CANNOT_FETCH:
        raise EnvironmentMissingError(
            "the APK's tools cannot be fetched",
            cause=said,
            hint="see docs/android.md for what is fetched from where; or open android_demo in Android Studio",
        )
    if done.returncode != 0 or not output.is_file():
        raise WorkerFailed(f"{script} {flavour}: exit {done.returncode}", cause=said)
    return output.stat().st_size

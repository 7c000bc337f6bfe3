"""The C++ program of `runtimes/cpp`, built with what is installed here, or for arm64 with zig and run in qemu."""

from __future__ import annotations

import os
import shutil
import subprocess
from dataclasses import dataclass, field
from pathlib import Path

from android.conftest import CI, unavailable

SOURCES = CI.parents[1] / "runtimes" / "cpp"
_PACKAGES = "Debian: cmake g++ libjpeg-dev libpng-dev"


@dataclass(frozen=True)
class Built:
    """A build of the program and of the one that compares with the golden vectors."""

    folder: Path
    through: tuple[str, ...] = ()  # an emulator and its options
    environment: dict[str, str] = field(default_factory=dict)

    def run(self, *arguments: object, program: str = "segexport_predict", timeout_s: float = 100):
        """The finished process, whatever its exit code is."""
        return subprocess.run(
            [*self.through, str(self.folder / program), *map(str, arguments)],
            capture_output=True,
            text=True,
            timeout=timeout_s,
            env={**os.environ, **self.environment},
        )


def tools(*groups: str) -> Path:
    """The folder of the fetched tools. CI fetches what is missing; a laptop is asked to."""
    root = os.environ.get("SEGEXPORT_ANDROID_TOOLS")
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    folder = Path(root) if root else cache / "segexport" / "android"
    missing = [group for group in groups if not (folder / group / ".complete").exists()]
    in_ci = os.environ.get("CI", "").lower() in ("1", "true")
    if missing and not in_ci:
        unavailable(f"the tools are not here: android_demo/ci/fetch_tools.sh {' '.join(missing)}")
    if missing:
        _must([CI / "fetch_tools.sh", *groups])
    return folder


def build(folder: Path, *options: str) -> Built:
    """For this machine, with the library that Python's ONNX Runtime has."""
    for program in ("cmake", "c++", "make"):
        if shutil.which(program) is None:
            unavailable(f"no {program} ({_PACKAGES})")
    for header in ("jpeglib.h", "png.h"):
        source = f"#include <cstdio>\n#include <{header}>\n"
        if subprocess.run(["c++", "-E", "-x", "c++", "-"], input=source, capture_output=True, text=True).returncode:
            unavailable(f"no {header} ({_PACKAGES})")
    found = tools("cpp", "ort")
    library = link_library(_installed_library(), folder / "onnxruntime")
    _cmake(folder, found, library, *options)
    return Built(folder, environment={"LD_LIBRARY_PATH": str(library.parent)})


def build_for_arm64(folder: Path) -> Built:
    """For arm64 Linux, linked with Debian's static libraries, so that qemu needs ONNX Runtime and a libc only."""
    if shutil.which("cmake") is None:
        unavailable(f"no cmake ({_PACKAGES})")
    found = tools("cpp", "ort", "zig", "arm64", "cpp-arm64")
    compilers = []
    for name in ("cc", "c++"):
        compilers.append(folder / f"zig-{name}")
        zig = found / "zig" / "ziglang" / "zig"
        compilers[-1].write_text(f'#!/bin/sh\nexec {zig} {name} -target aarch64-linux-gnu.2.36 "$@"\n')
        compilers[-1].chmod(0o755)
    debian = found / "cpp-arm64" / "usr"
    headers, libraries = debian / "include", debian / "lib" / "aarch64-linux-gnu"
    library = found / "cpp-arm64" / "onnxruntime" / "libonnxruntime.so.1"
    _cmake(
        folder,
        found,
        library,
        "-DCMAKE_SYSTEM_NAME=Linux",
        "-DCMAKE_SYSTEM_PROCESSOR=aarch64",
        f"-DCMAKE_C_COMPILER={compilers[0]}",
        f"-DCMAKE_CXX_COMPILER={compilers[1]}",
        f"-DCMAKE_CXX_FLAGS=-isystem {headers / 'aarch64-linux-gnu'}",
        *(f"-D{name}_INCLUDE_DIR={headers}" for name in ("JPEG", "PNG_PNG", "ZLIB")),
        f"-DJPEG_LIBRARY={libraries / 'libjpeg.a'}",
        f"-DPNG_LIBRARY={libraries / 'libpng16.a'}",
        f"-DZLIB_LIBRARY={libraries / 'libz.a'}",
    )
    root = found / "arm64"
    paths = [root / "lib/aarch64-linux-gnu", root / "usr/lib/aarch64-linux-gnu", library.parent]
    qemu = (str(root / "usr/bin/qemu-aarch64-static"), "-L", str(root), "-E")
    return Built(folder, (*qemu, "LD_LIBRARY_PATH=" + ":".join(map(str, paths))))


def link_library(library: Path, folder: Path) -> Path:
    """A link to ONNX Runtime's library by the name that the loader looks for."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "libonnxruntime.so.1").symlink_to(library)
    return folder / "libonnxruntime.so.1"


def _installed_library() -> Path:
    from installed import require_worker

    python = require_worker("onnxruntime")
    where = "import importlib.util; print(importlib.util.find_spec('onnxruntime').submodule_search_locations[0])"
    package = subprocess.run([python, "-I", "-c", where], capture_output=True, text=True, check=True).stdout.strip()
    found = sorted(Path(package, "capi").glob("libonnxruntime.so.1*"))
    if not found:
        unavailable(f"no libonnxruntime.so in {package}")
    return found[0]


def _cmake(folder: Path, found: Path, library: Path, *options: str) -> None:
    settings = {
        "SEGEXPORT_TESTS": "ON",
        "NLOHMANN_JSON_INCLUDE_DIR": found / "cpp" / "usr" / "include",
        "ONNXRUNTIME_INCLUDE_DIR": found / "ort" / "aar" / "headers",
        "ONNXRUNTIME_LIBRARY": library,
    }
    given = [f"-D{name}={value}" for name, value in settings.items()]
    _must(["cmake", "-G", "Unix Makefiles", "-S", SOURCES, "-B", folder, *given, *options])
    _must(["cmake", "--build", folder])


def _must(command: list) -> None:
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True, timeout=1200)
    assert done.returncode == 0, f"{command}\n{done.stdout[-3000:]}\n{done.stderr[-3000:]}"

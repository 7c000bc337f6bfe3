"""Describes what affects results in this environment; workers have to have the same, or reports would differ."""

from __future__ import annotations

import functools
import hashlib
import os
import platform
from collections.abc import Mapping
from pathlib import Path

from segexport import __version__
from segexport.process.pythons import own_version

_MODULES = ("numpy", "cv2", "PIL", "distributed")
_PACKAGE = Path(__file__).parent.parent


@functools.cache
def installed() -> dict[str, str]:
    """Name -> version: segexport with a digest of its source, Python's minor version, and the packages that decode
    images, count pixels and transport results."""
    python = ".".join(platform.python_version_tuple()[:2])
    packages = {module: own_version(module) or "none" for module in _MODULES}
    return {"segexport": f"{__version__} (source {_source()})", "Python": python, **packages}


def differences(own: Mapping[str, str], other: Mapping[str, str]) -> list[str]:
    """What differs, as text: `numpy 2.1.0 there, 1.26.4 here`."""
    return [
        f"{name} {other.get(name, 'none')} there, {version} here"
        for name, version in own.items()
        if other.get(name, "none") != version
    ]


def _source() -> str:
    digest = hashlib.sha256()
    for folder, folders, files in os.walk(_PACKAGE, followlinks=True):  # a clone has links in it
        folders.sort()
        for name in sorted(files):
            if name.endswith(".py"):
                file = Path(folder) / name
                digest.update(str(file.relative_to(_PACKAGE)).encode() + b"\0" + file.read_bytes())
    return digest.hexdigest()[:8]

"""Files in the cache of the Android tools are compared with tools.lock, not trusted. npm is a fake."""

from __future__ import annotations

import hashlib
import io
import os
import subprocess
import tarfile
from pathlib import Path

import pytest

CI = Path(__file__).resolve().parents[2] / "android_demo" / "ci"
NPM = """#!/bin/sh
echo "$@" >> "$FETCHED"
cp "$REGISTRY/tool.tgz" tool-1.0.tgz
"""


class Tools:
    """A cache, and a registry that has one package."""

    def __init__(self, root: Path) -> None:
        self.cache, self._registry, self._log = root / "cache", root / "registry", root / "fetched"
        for name in ("ci", "bin", "registry"):
            (root / name).mkdir()
        stream = io.BytesIO()
        with tarfile.open(fileobj=stream, mode="w:gz") as archive:
            entry = tarfile.TarInfo("package/tool.txt")
            entry.size = 4
            archive.addfile(entry, io.BytesIO(b"good"))
        (self._registry / "tool.tgz").write_bytes(stream.getvalue())
        for name in ("fetch_tools.sh", "env.sh"):
            (root / "ci" / name).write_bytes((CI / name).read_bytes())
        digest = hashlib.sha256(stream.getvalue()).hexdigest()
        (root / "ci" / "tools.lock").write_text(f"apk npm tool 1.0 {digest}\n")
        (root / "bin" / "npm").write_text(NPM)
        (root / "bin" / "npm").chmod(0o755)
        self._script = root / "ci" / "fetch_tools.sh"
        self._environment = {
            **os.environ,
            "PATH": f"{root / 'bin'}:{os.environ['PATH']}",
            "SEGEXPORT_ANDROID_TOOLS": str(self.cache),
            "FETCHED": str(self._log),
            "REGISTRY": str(self._registry),
        }

    def fetch(self) -> tuple[int, str]:
        done = subprocess.run(["bash", self._script, "apk"], capture_output=True, text=True, env=self._environment)
        return done.returncode, done.stderr

    def spoil(self) -> None:
        (self._registry / "tool.tgz").write_bytes(b"another file")

    @property
    def fetched(self) -> int:
        """How often the registry was asked."""
        return len(self._log.read_text().splitlines()) if self._log.exists() else 0

    @property
    def tool(self) -> Path:
        return self.cache / "apk" / "package" / "tool.txt"


@pytest.fixture
def tools(tmp_path) -> Tools:
    return Tools(tmp_path)


def test_what_is_there_and_right_is_not_fetched_again(tools):
    assert tools.fetch() == (0, "fetching tool 1.0\n")
    assert tools.tool.read_text() == "good"
    assert tools.fetch() == (0, "")
    assert tools.fetched == 1


def test_a_download_that_lies_there_is_held_against_the_lock(tools):
    planted = tools.cache / "downloads" / "npm-tool-1.0"
    planted.mkdir(parents=True)
    (planted / "tool-1.0.tgz").write_bytes(b"planted")
    assert tools.fetch() == (0, "fetching tool 1.0\n")
    assert tools.tool.read_text() == "good"


@pytest.mark.parametrize("harm", ["changed", "removed", "added"])
def test_a_tool_that_was_changed_after_it_was_unpacked_is_fetched_again(tools, harm):
    tools.fetch()
    if harm == "changed":
        tools.tool.write_text("evil")
    elif harm == "removed":
        tools.tool.unlink()
    else:
        (tools.tool.parent / "more").symlink_to("/bin/sh")
    assert tools.fetch() == (0, "fetching tool 1.0\n")
    assert tools.tool.read_text() == "good"
    assert sorted(path.name for path in tools.tool.parent.iterdir()) == ["tool.txt"]


def test_another_file_than_the_locked_one_is_not_opened(tools):
    tools.spoil()
    code, said = tools.fetch()
    assert code == 3
    assert "tool 1.0 is not the file that tools.lock names" in said
    assert not tools.tool.exists()

"""A simulated machine: only the test's Python, no toolchain, nothing installed."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace

import pytest

from segexport.pipeline import entry_points, step
from segexport.process import interpreter, pythons
from segexport.toolchain import catalog, environments
from segexport.toolchain.catalog import Toolchain

HERE = f"{sys.version_info.major}.{sys.version_info.minor}"

_FAKE_UV = """#!{python} -I
import pathlib, sys, time
arguments = sys.argv[1:]
with open({log!r}, "a") as log:
    log.write(" ".join(arguments) + "\\n")
if arguments[0] == "venv":
    wanted, folder = arguments[arguments.index("--python") + 1], pathlib.Path(arguments[-1])
    if "/" not in wanted:
        sys.exit("error: No interpreter found for Python " + wanted + "; the download failed")
    (folder / "bin").mkdir(parents=True)
    home = pathlib.Path({python!r}).resolve()
    (folder / "pyvenv.cfg").write_text("home = " + str(home.parent) + "\\n")
    (folder / "bin" / "python").symlink_to(home)
if arguments[0] == "pip":
    python, lock = arguments[arguments.index("--python") + 1], pathlib.Path(arguments[-1])
    place = pathlib.Path(python).parent.parent / "lib" / "python{minor}" / "site-packages"
    for line in lock.read_text().splitlines():
        if line.startswith("#"):
            exec(line[1:].strip())
            continue
        name, version = line.split(" ")[0].split("==")
        print(" + " + name + "==" + version)
        information = place / (name + "-" + version + ".dist-info")
        information.mkdir(parents=True)
        (information / "METADATA").write_text("Name: " + name + "\\nVersion: " + version + "\\n")
        (place / (name + ".py")).write_text("VERSION = " + repr(version))
"""


@dataclass
class Machine:
    """What a test may put onto the machine.

    Attributes:
        folder: All of it lies here; `bin` is on PATH.
        root: Where toolchains are installed.
    """

    folder: Path
    entries: dict[str, Callable[[], Toolchain]] = field(default_factory=dict)

    @property
    def root(self) -> Path:
        return self.folder / "toolchains"

    def add(
        self,
        name: str,
        modules: dict[str, str],
        *,
        lock: str = "",
        pythons: tuple[str, ...] = (HERE,),
        prove: Callable[[Path], None] = lambda _python: None,
    ) -> Toolchain:
        """A toolchain of an installed package; `lock` is the fake uv's lock file: `name==version`, `# code`."""
        file = self.folder / f"{name}.txt"
        file.write_text(lock)
        made = Toolchain(name, f"does {name}", modules, pythons, file, prove)
        self.entries[name] = lambda: made
        forget()
        return made

    def add_uv(self) -> Path:
        """A uv that makes environments of the test's own Python and fills them without a network; the log's path."""
        log = self.folder / "uv.log"
        uv = self.folder / "bin" / "uv"
        uv.write_text(_FAKE_UV.format(python=sys.executable, log=str(log), minor=HERE))
        uv.chmod(0o755)
        forget()
        return log

    def install(self, chain: Toolchain, **versions: str) -> environments.Environment:
        """An environment as a finished installation leaves it, with empty modules."""
        from fakes import make_python

        folder = self.root / "made"
        make_python(folder, dict.fromkeys(chain.modules, ""))
        made = environments.finish(folder, chain, f"{HERE}.0", versions)
        forget()
        return made


def forget() -> None:
    """What was found on the machine before."""
    for cached in (interpreter.interpreter_for, pythons.find_uv, pythons.python_version, pythons._kind):
        cached.cache_clear()
    for cached in (catalog.toolchains, step._version):
        cached.cache_clear()


@contextlib.contextmanager
def bare_machine(folder: Path, monkeypatch: pytest.MonkeyPatch):
    """A machine without toolchains, uv and other Pythons."""
    machine = Machine(folder)
    binaries = folder / "bin"
    binaries.mkdir()
    own = entry_points._installed()

    def installed():
        entries = {
            name: SimpleNamespace(load=load, name=name, value=name, dist=None) for name, load in machine.entries.items()
        }
        return {**own, "toolchain": dict(sorted(entries.items()))}

    monkeypatch.setattr(entry_points, "_installed", installed)
    monkeypatch.setattr("shutil.which", lambda name: str(binaries / name) if (binaries / name).exists() else None)
    monkeypatch.setattr(pythons, "_UV_BESIDE", folder / "no-uv")
    monkeypatch.setenv("PYENV_ROOT", str(folder / "pyenv"))
    monkeypatch.setenv("UV_PYTHON_INSTALL_DIR", str(folder / "uv"))
    monkeypatch.setenv(environments.OVERRIDE, str(machine.root))
    monkeypatch.delenv(interpreter.OVERRIDE, raising=False)
    forget()
    yield machine
    monkeypatch.undo()
    forget()

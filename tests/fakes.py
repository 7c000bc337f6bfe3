"""Stand-ins that several suites share: Pythons that lack or have a module, and models without a process."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from segexport.errors import SegexportError
from segexport.runtimes.base import Prediction, SessionInfo

_NUMPY_PLACE = Path(np.__file__).parent.parent


def make_python(folder: Path, modules: dict[str, str], *, numpy: bool = True) -> Path:
    """A working `python` that runs outside of this environment, with the modules given as source, by name."""
    home = Path(sys.executable).resolve()
    place = folder / "lib" / f"python{sys.version_info.major}.{sys.version_info.minor}" / "site-packages"
    place.mkdir(parents=True)
    (folder / "bin").mkdir()
    (folder / "pyvenv.cfg").write_text(f"home = {home.parent}\ninclude-system-site-packages = false\n")
    for name, source in modules.items():
        (place / f"{name}.py").write_text(source)
    if numpy:
        for part in ("numpy", "numpy.libs"):
            if (_NUMPY_PLACE / part).exists():
                (place / part).symlink_to(_NUMPY_PLACE / part)
    python = folder / "bin" / "python"
    python.symlink_to(home)
    return python


def make_shim(path: Path, script: str) -> Path:
    """An executable shell script."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    return path


class FakeSession:
    """A Session whose model is a Python function from a tensor to a mask (H, W).

    Args:
        model: (1, 3, H, W) float32 -> mask; what it raises, `result` raises.
        bench_ms: Milliseconds of the n-th benchmarked run (n counts from 0).
    """

    def __init__(
        self,
        model: Callable[[np.ndarray], np.ndarray],
        *,
        margin: Callable[[np.ndarray], np.ndarray] | None = None,
        finite: bool = True,
        bench_ms: Callable[[int], float] = lambda _run: 1.0,
        bench_error: Callable[[int], SegexportError | None] = lambda _run: None,
    ) -> None:
        self.info = SessionInfo("fake", "1", "none", "cpu", 1, load_ms=3.0)
        self._model, self._margin, self._finite = model, margin, finite
        self._bench_ms, self._bench_error = bench_ms, bench_error
        self._pending: np.ndarray | None = None
        self.runs = self.benched = 0
        self.closed = False

    def infer(self, tensors: Sequence[np.ndarray], *, margin: bool = False) -> Prediction:
        self.submit(tensors, margin=margin)
        return self.result()

    def submit(self, tensors: Sequence[np.ndarray], *, margin: bool = False) -> None:
        assert self._pending is None, "a result was not fetched"
        self._pending, self._wants_margin = tensors[0], margin

    def result(self) -> Prediction:
        tensor, self._pending = self._pending, None
        self.runs += 1
        mask = self._model(tensor)
        margin = self._margin(tensor) if self._margin is not None and self._wants_margin else None
        return Prediction(mask, margin, self._finite, inference_ms=1.0, postprocess_ms=0.5)

    def outputs(self, tensors: Sequence[np.ndarray]) -> list[np.ndarray]:
        return [self._model(tensors[0])]

    def bench(self, tensors: Sequence[np.ndarray], runs: int) -> np.ndarray:
        if (error := self._bench_error(self.benched)) is not None:
            raise error
        times = [self._bench_ms(self.benched + run) for run in range(runs)]
        self.benched += runs
        return np.array(times)

    def peak_rss_bytes(self) -> int:
        return 0

    def close(self) -> None:
        self.closed = True

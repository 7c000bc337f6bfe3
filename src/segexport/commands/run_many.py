"""`segexport run` of several recipes: side by side on an engine, or one after another."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from segexport.commands.run import run
from segexport.engine.base import TaskEngine
from segexport.engine.connect import engine_for, fitting_workers, require_dask
from segexport.errors import EnvironmentMissingError, OptionError, SegexportError
from segexport.process.stopping import stoppable
from segexport.progress import SILENCE, Bar, Feedback, silent
from segexport.verdict import Verdict, overall

if TYPE_CHECKING:
    from segexport.artifact import ModelArtifact
    from segexport.report.schema import Report

_MOST_THREADS = 32  # recipes that are prepared and judged in this process at the same time


@dataclass(frozen=True)
class RecipeRun:
    """One recipe of several.

    Attributes:
        output: Folder of its exports and reports.
        report: None if it could not be run; then `error` says why.
    """

    recipe: Path
    output: Path
    report: Report | None = None
    error: SegexportError | None = None

    @property
    def verdict(self) -> Verdict:
        return Verdict.ERROR if self.report is None else self.report.verdict


def run_many(
    recipes: Sequence[Path], output: Path, *, without: Sequence[str] = (), on: str | None, feedback: Feedback = SILENCE
) -> list[RecipeRun]:
    """Runs recipes, each into a folder of its name; one that fails does not stop the others.

    Args:
        output: Folder of these folders.
        on: As in `run`; None: workers on this machine, if more than one fits and Dask is installed.

    Raises:
        OptionError: Two recipes have the same name.
        SegexportError: The engine cannot be used.
    """
    counts = Counter(path.stem for path in recipes)
    if twice := [name for name, count in counts.items() if count > 1]:
        raise OptionError(f"two recipes are called {twice[0]}", hint="their results would have the same folder")
    on = on or _default_engine(feedback)
    with engine_for(on) as engine:
        if engine is None:
            return [_one(path, output, without, None, feedback) for path in recipes]
        lock = threading.Lock()
        pool = ThreadPoolExecutor(min(len(recipes), 2 * engine.slots, _MOST_THREADS))
        try:
            told = [_Named(feedback, path.stem, lock) for path in recipes]
            waiting = [
                pool.submit(_one, path, output, without, engine, one) for path, one in zip(recipes, told, strict=True)
            ]
            return [one.result() for one in waiting]
        finally:
            engine.stop()
            pool.shutdown(cancel_futures=True)


def verdict_of(runs: Sequence[RecipeRun]) -> Verdict:
    """The worst verdict."""
    return overall(one.verdict for one in runs)


def _one(path: Path, output: Path, without: Sequence[str], engine: TaskEngine | None, feedback: Feedback) -> RecipeRun:
    folder = output / path.stem
    try:
        with stoppable(lambda: engine is not None and engine.stopped):
            report = run(path, folder, without=without, engine=engine, feedback=feedback)
    except SegexportError as error:
        feedback.error(type(error)(error.what, cause=error.cause, hint=error.hint))
        return RecipeRun(path, folder, error=error)
    feedback.say(f"{report.verdict.value}; report: {folder / 'report.html'}")
    return RecipeRun(path, folder, report)


def _default_engine(feedback: Feedback) -> str | None:
    workers = fitting_workers()
    if workers < 2:
        return None
    try:
        require_dask()
    except EnvironmentMissingError as error:
        feedback.say(f"one recipe after another; {error.hint} runs them side by side")
        return None
    return f"local:{workers}"


class _Named:
    """A Feedback of one of several threads: lines begin with a name, and there are no bars."""

    def __init__(self, feedback: Feedback, name: str, lock: threading.Lock) -> None:
        self._feedback, self._name, self._lock = feedback, name, lock

    def say(self, text: str) -> None:
        with self._lock:
            self._feedback.say(f"{self._name}: {text}")

    def warn(self, text: str) -> None:
        with self._lock:
            self._feedback.warn(f"{self._name}: {text}")

    def warn_of(self, *models: ModelArtifact) -> None:
        with self._lock:
            self._feedback.warn_of(*models)

    def error(self, error: SegexportError) -> None:
        with self._lock:
            self._feedback.error(type(error)(f"{self._name}: {error.what}", cause=error.cause, hint=error.hint))

    def progress(self, title: str, total: int | None = None) -> AbstractContextManager[Bar]:
        return silent(title, total)

"""Runs a plain session and its optimized twin: returns the plain masks and compares every mask of both.

The twin runs in a separate process. If it crashes, fails or hangs, the plain session continues without it.
"""

from __future__ import annotations

import zlib
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace

import numpy as np

from segexport.errors import SegexportError
from segexport.measure.mask_proof import MaskProof, TwinRecord
from segexport.runtimes.agreement import agreement
from segexport.runtimes.base import Prediction, RunOptions, Session, SessionInfo


class WatchedSession:
    """A `Session` that also records whether the optimized program gives the same masks.

    Args:
        plain: Session that gives the results.
        open_twin: Opens the optimized program.
    """

    def __init__(self, plain: Session, open_twin: Callable[[], Session]) -> None:
        self._plain = plain
        self._twin: Session | None = None
        self._provider = self._fault = ""
        self._inputs: deque[int] = deque()  # digests of submitted inputs without a result
        self._agreements: dict[int, float] = {}  # input digest -> smallest agreement
        with self._given_up():
            self._twin = open_twin()
            self._provider = self._twin.info.provider

    @property
    def info(self) -> SessionInfo:
        return with_record(self._plain.info, self.record)

    @property
    def plain_info(self) -> SessionInfo:
        """Returns `info` without the note on the proof."""
        return self._plain.info

    @property
    def record(self) -> TwinRecord:
        """Returns the agreement of all runs since the start, or since `forget`."""
        return TwinRecord(optimized=self._provider, fault=self._fault, agreements=self._agreements)

    @property
    def proof(self) -> MaskProof:
        """Returns the agreement of the runs in `record`."""
        return self.record.proof

    def forget(self) -> None:
        """Begins a new record."""
        self._agreements = {}

    @property
    def ahead(self) -> int:
        return self._plain.ahead

    def infer(self, tensors: Sequence[np.ndarray], *, margin: bool = False) -> Prediction:
        self.submit(tensors, margin=margin)
        return self.result()

    def submit(self, tensors: Sequence[np.ndarray], *, margin: bool = False) -> None:
        self._plain.submit(tensors, margin=margin)
        if self._twin is not None:
            self._inputs.append(_digest(tensors))
            with self._given_up():
                self._twin.submit(tensors)

    def result(self) -> Prediction:
        found = self._plain.result()
        if self._twin is not None:
            with self._given_up():
                same = agreement(found, self._twin.result())
                which = self._inputs.popleft()
                self._agreements[which] = min(same, self._agreements.get(which, 1.0))
        return found

    def outputs(self, tensors: Sequence[np.ndarray]) -> list[np.ndarray]:
        return self._plain.outputs(tensors)

    def bench(self, tensors: Sequence[np.ndarray], runs: int) -> np.ndarray:
        return self._plain.bench(tensors, runs)

    def operators(self, tensors: Sequence[np.ndarray]) -> list[list[str]]:
        return self._plain.operators(tensors)

    def peak_rss_bytes(self) -> int:
        return self._plain.peak_rss_bytes()

    def close(self) -> None:
        self._plain.close()
        if self._twin is not None:
            self._twin.close()

    def __enter__(self) -> WatchedSession:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @contextmanager
    def _given_up(self) -> Iterator[None]:
        """Records the twin's error as its fault and stops using the twin."""
        try:
            yield
        except SegexportError as error:
            self._fault = error.what
            if self._twin is not None:
                self._twin.close()
            self._twin = None


def proof_of(session: object) -> MaskProof | None:
    """Returns the proof of a watched session, or of one that runs its tiles; None for other sessions."""
    return getattr(session, "proof", None)


def record_of(session: object) -> TwinRecord | None:
    """Returns the record of a watched session; None for other sessions."""
    return getattr(session, "record", None)


def with_record(info: SessionInfo, record: TwinRecord | None) -> SessionInfo:
    """Returns the info of a watched session, with the note on its proof."""
    return info if record is None else replace(info, notes=(*info.notes, record.proof.note))


def plain_info(session: Session) -> SessionInfo:
    """Returns a session's info without the note on a proof."""
    return getattr(session, "plain_info", session.info)


def forget_record(session: object) -> None:
    """Begins a new record of a watched session; other sessions have none."""
    getattr(session, "forget", lambda: None)()


def with_graph(options: RunOptions, graph: str) -> RunOptions:
    """Returns the options with another `graph` (see `paddle.PaddleRuntime`); other runtimes ignore it."""
    return replace(options, options={**options.options, "graph": graph})


def timed_graph(proof: MaskProof | None) -> str:
    """Returns the `graph` option to time: the optimized program once its masks are proven equal, else the plain one."""
    return "optimized" if proof is not None and proof.holds else "plain"


def _digest(tensors: Sequence[np.ndarray]) -> int:
    value = 0
    for tensor in tensors:
        value = zlib.crc32(np.ascontiguousarray(tensor).tobytes(), value)
    return value

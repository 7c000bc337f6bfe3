"""A session that takes an image of any size and runs it in tiles. Memory grows with the mask, not with the scores."""

from __future__ import annotations

import itertools
import time
from collections import deque
from collections.abc import Generator, Iterator, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING

import numpy as np

from segexport import preprocess
from segexport.artifact import Manifest
from segexport.errors import InputError, SegexportError
from segexport.measure.mask_proof import MaskProof, TwinRecord
from segexport.measure.tile_grid import Span, cut, spans, times
from segexport.runtimes.base import Prediction, Session, SessionInfo
from segexport.spec import Preprocess, Tiles, score_output

if TYPE_CHECKING:
    from typing_extensions import Self


_ROWS_AT_ONCE = 64  # rows of averaged scores, to avoid a second copy of a whole band


def in_tiles(session: Session, manifest: Manifest, contract: Preprocess | None = None) -> Session:
    """Returns the session itself, or for a contract with tiles one that cuts whole images from `preprocess.apply`.

    Args:
        contract: Replaces the manifest's preprocessing.

    Raises:
        InputError: The model's outputs cannot be joined.
    """
    contract = contract or manifest.preprocess
    return session if contract.tiles is None else TiledSession(session, manifest, contract)


def require_joinable(manifest: Manifest, contract: Preprocess | None = None) -> None:
    """Raises InputError for outputs that cannot be joined: objects, or classes to be averaged."""
    tiles = (contract or manifest.preprocess).tiles
    if tiles is None:
        return
    if manifest.task == "instance":
        raise InputError(f"{manifest.name}: tiles", cause="objects that lie in several tiles are not joined")
    if tiles.blend == "average" and score_output(manifest.outputs) is None:
        raise InputError(
            f"{manifest.name}: tiles are averaged by their scores, and this model has none",
            cause="its head is an argmax, and classes cannot be averaged",
            hint="--tile-blend center, or an export with another head (--head logits)",
        )


class TiledSession:
    """A `Session` whose input is an image (height, width, channels), and whose mask has the image's size.

    A tensor (1, channels, height, width) is run unchanged.

    Args:
        session: Session for the tiles; closed with this one.
        contract: A contract with `tiles`.

    Raises:
        InputError: As `require_joinable`.
    """

    def __init__(self, session: Session, manifest: Manifest, contract: Preprocess) -> None:
        assert contract.tiles is not None, "who wants no tiles opens the session itself"
        self._session, self._manifest = session, manifest
        self._tiles: Tiles = contract.tiles
        self._of_a_tile = contract.of_a_tile
        self._scores = score_output(manifest.outputs)
        self._waiting: deque[tuple[Sequence[np.ndarray], bool]] = deque()
        require_joinable(manifest, contract)

    @property
    def info(self) -> SessionInfo:
        return self._session.info

    @property
    def proof(self) -> MaskProof | None:
        """The proof of the tiles' session, if it is watched."""
        return getattr(self._session, "proof", None)

    @property
    def plain_info(self) -> SessionInfo:
        """The info of the tiles' session, without the note on a proof."""
        return getattr(self._session, "plain_info", self._session.info)

    @property
    def record(self) -> TwinRecord | None:
        """The record of the tiles' session, if it is watched."""
        return getattr(self._session, "record", None)

    def forget(self) -> None:
        """Begins a new record of the tiles' session, if it is watched."""
        getattr(self._session, "forget", lambda: None)()

    @property
    def ahead(self) -> int:
        return self._session.ahead

    def infer(self, tensors: Sequence[np.ndarray], *, margin: bool = False) -> Prediction:
        (image,) = tensors
        if image.ndim != 3:
            return self._session.infer(tensors, margin=margin)
        return self._averaged(image, margin) if self._tiles.blend == "average" else self._centers(image, margin)

    def submit(self, tensors: Sequence[np.ndarray], *, margin: bool = False) -> None:
        """Stores the image; `result` runs it, because its tiles run one after another without waiting."""
        self._waiting.append((tensors, margin))

    def result(self) -> Prediction:
        tensors, margin = self._waiting.popleft()
        return self.infer(tensors, margin=margin)

    def outputs(self, tensors: Sequence[np.ndarray]) -> list[np.ndarray]:
        """Returns an image's scores at its size, in the layout of the model's output; other outputs are empty."""
        (image,) = tensors
        if image.ndim != 3:
            return self._session.outputs(tensors)
        found = [np.empty(0, np.float32) for _ in self._manifest.outputs]
        if self._scores is not None:
            scores = np.concatenate([part for _, part in self._bands(image)])[None]
            last = self._manifest.outputs[self._scores].layout.endswith("HWC")
            found[self._scores] = scores if last else np.ascontiguousarray(scores.transpose(0, 3, 1, 2))
        return found

    def bench(self, tensors: Sequence[np.ndarray], runs: int) -> np.ndarray:
        return self._session.bench(tensors, runs)

    def operators(self, tensors: Sequence[np.ndarray]) -> list[list[str]]:
        return self._session.operators(tensors)

    def peak_rss_bytes(self) -> int:
        return self._session.peak_rss_bytes()

    def close(self) -> None:
        self._session.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # -- parts -------------------------------------------------------------------------------------------------

    def _grid(self, image: np.ndarray) -> tuple[tuple[Span, ...], tuple[Span, ...]]:
        """The spans of rows and of columns."""
        height, width = image.shape[:2]
        return spans(self._tiles, 1, height), spans(self._tiles, 0, width)

    def _tensor(self, image: np.ndarray, rows: Span, columns: Span) -> tuple[np.ndarray, preprocess.Placement]:
        tile = np.ascontiguousarray(cut(image, rows, columns))
        return preprocess.apply(self._of_a_tile, tile, input_spec=self._manifest.image)

    def _classes(self, image: np.ndarray) -> np.ndarray:
        """An empty mask of the image's size."""
        return np.empty(image.shape[:2], np.uint8 if self._manifest.num_classes <= 256 else np.uint16)

    def _centers(self, image: np.ndarray, want_margin: bool) -> Prediction:
        """Each tile's mask, and its margin between the two best scores, without the tile's edges."""
        mask, margin, finite, inference_ms, postprocess_ms = self._classes(image), None, True, 0.0, 0.0
        for rows, columns, placement, found in self._each(image, want_margin):
            start = time.perf_counter()
            here = np.s_[rows.first : rows.last, columns.first : columns.last]
            mask[here] = preprocess.restore_mask(found.mask, placement)[rows.kept, columns.kept]
            if found.margin is not None:
                margin = np.empty(mask.shape, np.float32) if margin is None else margin
                margin[here] = preprocess.restore_mask(found.margin, placement)[rows.kept, columns.kept]
            finite = finite and found.finite
            inference_ms += found.inference_ms
            postprocess_ms += found.postprocess_ms + (time.perf_counter() - start) * 1e3
        return Prediction(mask, margin, finite, inference_ms, postprocess_ms)

    def _each(
        self, image: np.ndarray, want_margin: bool
    ) -> Generator[tuple[Span, Span, preprocess.Placement, Prediction]]:
        """Yields the prediction of every tile; the next ones run while the caller processes one."""
        running: deque[tuple[Span, Span, preprocess.Placement]] = deque()
        all_rows, all_columns = self._grid(image)
        try:
            for rows, columns in itertools.product(all_rows, all_columns):
                if len(running) == self._session.ahead:
                    yield *running.popleft(), self._session.result()
                tensor, placement = self._tensor(image, rows, columns)
                self._session.submit([tensor], margin=want_margin)
                running.append((rows, columns, placement))
            while running:
                yield *running.popleft(), self._session.result()
        finally:
            for _ in running:  # after an error: discards predictions, so that the next image does not get them
                with suppress(SegexportError):
                    self._session.result()

    def _averaged(self, image: np.ndarray, want_margin: bool) -> Prediction:
        """The classes of the averaged scores, band by band."""
        assert self._scores is not None, "refused where the session was made"
        spec, start = self._manifest.outputs[self._scores], time.perf_counter()
        mask, finite = self._classes(image), True
        margin = np.empty(mask.shape, np.float32) if want_margin else None
        for top, scores in self._bands(image):
            here = np.s_[top : top + len(scores)]
            mask[here], part = _decided(scores, spec.semantics, want_margin)
            if margin is not None:
                margin[here] = part
            finite = finite and bool(np.isfinite(scores).all())
        return Prediction(mask, margin, finite, (time.perf_counter() - start) * 1e3, 0.0)

    def _bands(self, image: np.ndarray) -> Iterator[tuple[int, np.ndarray]]:
        """Yields first row and scores (rows, width, classes) of each band once no later tile contributes to it."""
        all_rows, all_columns = self._grid(image)
        in_rows, in_columns = times(all_rows, image.shape[0]), times(all_columns, image.shape[1])
        total: np.ndarray | None = None  # sum for the rows from `top` on
        top = 0

        def finished(count: int) -> Iterator[tuple[int, np.ndarray]]:
            assert total is not None, "a row of tiles was added before"
            for start in range(0, count, _ROWS_AT_ONCE):
                here = slice(start, min(start + _ROWS_AT_ONCE, count))
                both = in_rows[top + here.start : top + here.stop, None] * in_columns
                yield top + start, total[here] / both[..., None]

        for rows in all_rows:
            if total is not None and rows.first > top:
                done = rows.first - top
                yield from finished(done)
                total[:-done] = total[done:].copy()
                total[-done:] = 0
                top = rows.first
            for columns in all_columns:
                scores = self._scores_of(image, rows, columns)[rows.kept, columns.kept]
                if total is None:
                    highest = max(span.last - span.first for span in all_rows)
                    total = np.zeros((highest, image.shape[1], scores.shape[2]), np.float32)
                total[: len(scores), columns.first : columns.last] += scores
        yield from finished(image.shape[0] - top)

    def _scores_of(self, image: np.ndarray, rows: Span, columns: Span) -> np.ndarray:
        """Returns the scores of one tile, float32 (height, width, classes) at the tile's size."""
        assert self._scores is not None, "asked of models that give scores"
        tensor, placement = self._tensor(image, rows, columns)
        output = self._session.outputs([tensor])[self._scores]
        last = self._manifest.outputs[self._scores].layout.endswith("HWC")
        scores = (output if last else output.transpose(0, 2, 3, 1))[0]
        return preprocess.restore_scores(np.ascontiguousarray(scores, np.float32), placement)


def _decided(scores: np.ndarray, semantics: str, want_margin: bool) -> tuple[np.ndarray, np.ndarray | None]:
    """The best class of each pixel, and its margin over the second."""
    if scores.shape[2] == 1:
        threshold = 0.5 if semantics == "probability" else 0.0
        return scores[..., 0] > threshold, np.abs(scores[..., 0] - threshold) if want_margin else None
    mask = scores.argmax(axis=2)
    if not want_margin:
        return mask, None
    two = np.partition(scores, -2, axis=2)[..., -2:]
    return mask, two[..., 1] - two[..., 0]

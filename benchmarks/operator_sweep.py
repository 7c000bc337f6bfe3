"""Compares exports of every supported operator with Paddle, for all combinations of its attributes.

    python benchmarks/operator_sweep.py [--work DIR] [--only TYPE ...] [--sample N --seed S] [--json FILE]

A cell is a small program: one operator with one choice of attributes and tensors, or a few operators that a converter
fuses (`operators/` lists them). Paddle builds and runs it; segexport's steps export it, with rewrites and refusals;
ONNX Runtime and Paddle-Lite's x86 twin run the export.

    equal     the same values and sizes as in Paddle
    refused   no file was written, and a reason was given
    wrong     a file was written whose results differ
    crashed   a file was written that crashes its runtime
    not run   a Paddle-Lite file was written only for ARM, because x86 lacks the operator, with a note

Many cells are exported as one program with as many outputs, which is split only if that fails. Rows are stored in DIR
immediately, under the digest of the converter's input: an interrupted run resumes, and after a change of a rewrite only
the affected cells are measured again.
"""

from __future__ import annotations

import argparse
import functools
import hashlib
import json
import pickle
import random
import re
import sys
import tempfile
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from stamped import save

from segexport.artifact import Manifest, ModelArtifact, TargetDevice, file_entry
from segexport.errors import InputError, SegexportError
from segexport.exporter.inspect import support_for
from segexport.exporter.program import Attr, Op, Program, read_graph
from segexport.exporter.rewrites import rewrite_for
from segexport.exporter.rewrites.base import LITE_ARM, LITE_X86, ONNX, Target
from segexport.exporter.shapes import settled
from segexport.exporter.to_onnx import ToOnnx
from segexport.exporter.to_paddle_lite import NO_TWIN, ToPaddleLite
from segexport.pipeline.step import Step, StepContext
from segexport.process import worker_host
from segexport.process.worker import Worker
from segexport.runtimes.base import RunOptions, Runtime
from segexport.runtimes.lite import PaddleLiteRuntime
from segexport.runtimes.ort import OnnxRuntime
from segexport.spec import Format, Label, Precision, Preprocess, TensorSpec

HERE = Path(__file__).resolve().parent
REPOSITORY = HERE.parent
sys.path.insert(0, str(HERE))
from operators import arrangement, elementwise, forks, fusions, notation, reductions, windows  # noqa: E402
from operators.notation import Cell, Tensor  # noqa: E402

OUTCOMES = ("equal", "refused", "not run", "wrong", "crashed")
FIRST_OPSET = 16
TOLERANCE = 2e-5
"""Largest allowed difference / largest value; sums in another order differ by less."""
TIMEOUT_S = 60
_CONTEXT = StepContext(timeout_s=TIMEOUT_S)
_SHORT_LIVED = [
    *(
        REPOSITORY / "exporter/workers" / name
        for name in ("paddle2onnx_worker.py", "onnx_worker.py", "lite_opt_worker.py")
    ),
    *(REPOSITORY / "runtimes/workers" / name for name in ("onnxruntime_worker.py", "lite_worker.py")),
]


@dataclass(frozen=True)
class Exporter:
    """An export step with its runtime.

    Attributes:
        obstacle_means: Outcome of a cell with an obstacle to the target.
        step, runtime: The step and the runtime of the export.
        at_once: The step for many cells together, without alternatives, which are tried for each cell alone.
    """

    name: str
    obstacle_means: dict[Target, str]
    step: Step
    runtime: Runtime
    at_once: Step


EXPORTERS = (
    Exporter("onnx", {ONNX: "refused"}, ToOnnx(), OnnxRuntime(), ToOnnx(ToOnnx.Params(opset=FIRST_OPSET))),
    Exporter(
        "paddle-lite", {LITE_ARM: "refused", LITE_X86: "not run"}, ToPaddleLite(), PaddleLiteRuntime(), ToPaddleLite()
    ),
)


@dataclass(frozen=True)
class Built:
    """A cell as written by Paddle, with its inputs and outputs."""

    cell: Cell
    program: Program
    feed: list[np.ndarray]
    outputs: list[np.ndarray]


@dataclass(frozen=True)
class Row:
    """The outcome of a cell in one export."""

    outcome: str
    detail: str = ""


class NotInPaddle(Exception):
    """Paddle itself does not support the cell."""


def all_cells(*, free: bool = True) -> list[Cell]:
    """Every cell of the tables, with fixed sizes and, if `free`, with dynamic ones."""
    cells = [cell for table in (elementwise, windows, arrangement, reductions, fusions) for cell in table.CELLS]
    if free:
        cells += [notation.of_free_size(cell) for cell in cells if notation.can_be_free(cell)]
    names = Counter(cell.name for cell in cells)
    twice = [name for name, count in names.items() if count > 1]
    if twice:
        raise ValueError(f"two cells of one name: {twice[:3]}")
    return cells


# -- Paddle --------------------------------------------------------------------------------------------------------


class Paddle:
    """Builds cells in a separate process, restarted after a crash of Paddle. Results are stored in `kept`."""

    def __init__(self, folder: Path, kept: Path) -> None:
        self._folder, self._kept, self._worker = folder, kept, None
        kept.mkdir(exist_ok=True)

    def build(self, cell: Cell) -> Built:
        """Builds a cell; raises NotInPaddle if Paddle refuses it or crashes."""
        kept = self._kept / given_to_paddle(cell)
        if kept.is_file():
            return pickle.loads(kept.read_bytes())
        built = self._build(cell)
        half = kept.with_suffix(".new")
        half.write_bytes(pickle.dumps(built))
        half.replace(kept)
        return built

    def _build(self, cell: Cell) -> Built:
        file = self._folder / "cell.pdmodel"
        arguments, arrays = _call(cell, str(file))
        self._worker = self._worker or Worker(HERE / "operators/worker.py", needs="paddle", name="Paddle")
        try:
            answer, found = self._worker.call("build", arguments, arrays, timeout_s=TIMEOUT_S)
        except SegexportError as error:
            if not self._worker.alive:
                self.close()
            raise NotInPaddle(f"{error.what}; {error.cause}") from error
        try:
            program = read_graph(file)
        except InputError as error:
            raise NotInPaddle(f"Paddle writes what cannot be: {error.cause}") from error
        program.params = {name: arrays[index] for name, index in answer["parameters"]}
        feed, outputs = found[: len(program.feed_names)], found[len(program.feed_names) :]
        for name, output in zip(program.fetch_names, outputs, strict=True):
            program.vars[name].dtype = str(output.dtype)
        return Built(cell, settled(program), feed, outputs)

    def close(self) -> None:
        if self._worker is not None:
            self._worker.close()
            self._worker = None


def _call(cell: Cell, file: str = "") -> tuple[dict, list[np.ndarray]]:
    """The arguments of the worker's `build`. Variable names start with the cell's digest, so programs can be joined."""
    numbers, arrays = cell.random(), []

    def reference(item: object) -> dict:
        if isinstance(item, Tensor):
            arrays.append(item.values(numbers))
            free = notation.free_axes(cell, item) if cell.free else []
            return {"array": len(arrays) - 1, "dtype": item.dtype, "held": item.held, "free": free}
        return {"op": item.op, "slot": item.slot, "item": 0}

    ops = [
        {
            "type": op.type,
            "inputs": {slot: [reference(item) for item in items] for slot, items in op.inputs.items()},
            "outputs": op.gives,
            "attrs": op.attrs,
        }
        for op in cell.ops
    ]
    prefix = "c" + hashlib.sha256(cell.name.encode()).hexdigest()[:12]
    return {"file": file, "prefix": prefix, "ops": ops, "keeps_extra": cell.keeps_extra}, arrays


# -- many cells as one program -------------------------------------------------------------------------------------


def joined(parts: list[Built]) -> Program:
    """Joins programs to one with all inputs and outputs, in order, and an output that reads a parameter.

    Without a parameter there would be no parameter file.
    """
    whole = parts[0].program.copy()
    feeds, inner, fetches = [], [], []
    for part in parts:
        program = part.program.copy()
        whole.vars.update(program.vars)
        whole.params.update(program.params)
        named = {op.output("Out"): op for op in program.ops if op.type == "feed"}
        feeds += [named[name] for name in program.feed_names]
        named = {op.input("X"): op for op in program.ops if op.type == "fetch"}
        fetches += [named[name] for name in program.fetch_names]
        inner += program.compute_ops()
    whole.ops = [*feeds, *inner, *fetches]
    first = feeds[0].output("Out") if feeds else whole.add_param("anchor.input", np.ones(1, np.float32))
    dtype = whole.dtype(first)
    anchor = Op("elementwise_add", {"X": [first], "Y": [whole.add_param("anchor", np.zeros(1, dtype))]}, {})
    anchor.outputs["Out"] = [whole.add_var("anchor.sum", whole.shape(first), dtype)]
    anchor.set_attr("axis", -1)
    fetches.append(Op("fetch", {"X": anchor.outputs["Out"]}, {"Out": ["fetch"]}))
    for ends in (feeds, fetches):
        for column, op in enumerate(ends):
            op.attrs["col"] = Attr("INT", column)
    whole.ops = [*feeds, *inner, anchor, *fetches]
    whole.params = dict(sorted(whole.params.items()))
    whole.verify("the cells")
    return whole


def artifact(program: Program, folder: Path) -> ModelArtifact:
    """Writes the program as an artifact for the steps."""
    model, params = program.write(folder)
    specs = [
        tuple(TensorSpec(name=name, dtype=program.dtype(name), shape=program.shape(name)) for name in names)
        for names in (program.feed_names, program.fetch_names)
    ]
    manifest = Manifest(
        name="cells",
        format=Format.PADDLE,
        files=(file_entry(folder, model.name), file_entry(folder, params.name, "params")),
        inputs=specs[0],
        outputs=specs[1],
        preprocess=Preprocess(),
        labels=(Label(id=0, name="any", rgb=(0, 0, 0)),),
        target=TargetDevice(arch="any", precision=Precision.FP32),
    )
    return ModelArtifact(folder, manifest)


# -- outcomes ------------------------------------------------------------------------------------------------------


def outcomes(exporter: Exporter, parts: list[Built]) -> dict[str, Row]:
    """Name of a cell -> its row.

    Cells that `inspect` reports as unsupported are refused; one such cell per operator is exported as a proof.
    """
    rows: dict[str, Row] = {}
    left, proved = [], set()
    for part in parts:
        row = _foreseen(exporter, part.program)
        if row is None or (part.cell.family, row.outcome) not in proved:
            left.append(part)
        if row is not None:
            proved.add((part.cell.family, row.outcome))
            rows[part.cell.name] = row
    found = _taken_apart(exporter, [part for part in left if part.cell.name not in rows])
    for part in left:
        if part.cell.name in rows:
            found |= _taken_apart(exporter, [part])
    return rows | found


_A_REWRITE_FAILED = "lacks what Paddle always writes"


def _foreseen(exporter: Exporter, program: Program) -> Row | None:
    """The outcome according to `inspect`, if it is no export; else None."""
    for target, outcome in exporter.obstacle_means.items():
        found = support_for(target, program).obstacles
        if found:
            reason = _without_prefix(found[0].reason)
            return Row("crashed" if _A_REWRITE_FAILED in reason else outcome, reason)
    return None


def _taken_apart(exporter: Exporter, parts: list[Built]) -> dict[str, Row]:
    """Exports all at once; if that fails, in two halves."""
    if not parts:
        return {}
    row, found = _exported(exporter, parts)
    if found is not None:
        rows = {}
        for part, outputs in zip(parts, found, strict=True):
            difference = compare(outputs, part.outputs)
            rows[part.cell.name] = Row("wrong", difference) if difference else Row("equal")
        return rows
    if len(parts) == 1:
        return {parts[0].cell.name: row}
    middle = len(parts) // 2
    return _taken_apart(exporter, parts[:middle]) | _taken_apart(exporter, parts[middle:])


def _exported(exporter: Exporter, parts: list[Built]) -> tuple[Row | None, list[list[np.ndarray]] | None]:
    """The outputs of each part, or the failure of all."""
    with tempfile.TemporaryDirectory() as scratch:
        source, out = Path(scratch) / "source", Path(scratch) / "out"
        source.mkdir()
        out.mkdir()
        program = joined(parts)
        try:
            step = exporter.step if len(parts) == 1 else exporter.at_once
            manifest = step.run(artifact(program, source), out, _CONTEXT)
        except SegexportError as error:
            return Row("refused", _said(error)), None
        if not_run := next((note for note in manifest.lineage[-1].notes if NO_TWIN in note), ""):
            return Row("not run", _without_prefix(not_run)), None
        feed = [array for part in parts for array in part.feed]
        try:
            with exporter.runtime.open(ModelArtifact(out, manifest), RunOptions(timeout_s=TIMEOUT_S)) as session:
                outputs = iter(session.outputs(feed))
        except SegexportError as error:
            return Row("crashed", _said(error)), None
        return None, [[next(outputs) for _ in part.outputs] for part in parts]


def _said(error: SegexportError) -> str:
    return _without_prefix(" ".join(f"{error.what}; {error.cause}".split()))[:300]


def _without_prefix(text: str) -> str:
    """Removes the cell's prefix from names of variables."""
    return re.sub(r"\bc[0-9a-f]{12}\.", "", text)


def compare(found: list[np.ndarray], expected: list[np.ndarray]) -> str:
    """The difference as text; empty if there is none."""
    for number, (a, b) in enumerate(zip(found, expected, strict=True)):
        said = _difference(a, b)
        if said:
            return said if len(expected) == 1 else f"output {number}: {said}"
    return ""


def _difference(found: np.ndarray, expected: np.ndarray) -> str:
    if found.shape != expected.shape and {found.shape, expected.shape} != {(), (1,)}:
        return f"sizes {list(found.shape)}, in Paddle {list(expected.shape)}"
    if (found.dtype.kind == "f") != (expected.dtype.kind == "f"):
        return f"{found.dtype}, in Paddle {expected.dtype}"
    a, b = found.astype(np.float64).reshape(expected.shape), expected.astype(np.float64)
    finite = np.isfinite(b)
    if not (
        np.array_equal(np.isnan(a), np.isnan(b)) and (a[~finite & ~np.isnan(b)] == b[~finite & ~np.isnan(b)]).all()
    ):
        return "NaN or infinity at other places"
    if not np.isfinite(a[finite]).all():
        return "NaN or infinity at other places"
    if not finite.any():
        return ""
    far = float(np.abs(a - b)[finite].max())
    if expected.dtype.kind != "f":
        return f"{int((a != b).sum())} of {b.size} numbers differ" if far else ""
    relative = far / max(float(np.abs(b[finite]).max()), 1e-3)
    return f"values differ by {relative:.1e} of the largest" if relative > TOLERANCE else ""


# -- the run -------------------------------------------------------------------------------------------------------


class Journal:
    """Stores rows as JSON lines; a row is valid for the input on which it was measured.

    Attributes:
        folder: Folder of the rows and other files of a run.
        rows: (cell, export) -> row, those valid for the current code.
    """

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder, self._file = folder, folder / "rows.jsonl"
        self._kept: dict[tuple[str, str, str], Row] = {}
        self.rows: dict[tuple[str, str], Row] = {}
        if self._file.is_file():
            for line in self._file.read_text().splitlines():
                cell, exporter, given, outcome, detail = json.loads(line)
                self._kept[cell, exporter, given] = Row(outcome, detail)

    def knows(self, cell: Cell, exporter: str, given: str) -> bool:
        """Whether the cell was measured with the same input `given` to its exporter; then its row is used."""
        row = self._kept.get((cell.name, exporter, given))
        if row is not None:
            self.rows[cell.name, exporter] = row
        return row is not None

    def expects(self, cell: Cell, exporter: str) -> bool:
        """Whether the cell can probably be exported: the one with fixed size was, or is unknown."""
        row = self.rows.get((cell.name.removesuffix(" free"), exporter))
        return row is None or row.outcome in ("equal", "wrong")

    def add(self, cell: str, exporter: str, given: str, row: Row) -> None:
        self._kept[cell, exporter, given] = self.rows[cell, exporter] = row
        with self._file.open("a") as stream:
            stream.write(json.dumps([cell, exporter, given, row.outcome, row.detail]) + "\n")


def given_to_paddle(cell: Cell) -> str:
    """Digest of the cell that Paddle builds."""
    arguments, arrays = _call(cell)
    return _digest(json.dumps(arguments).encode(), (HERE / "operators/worker.py").read_bytes(), *arrays)


def given_to(exporter: Exporter, part: Built) -> str:
    """Digest of everything that determines a cell's row: rewritten programs or refusals, inputs, the steps' code."""
    found: list[bytes | np.ndarray] = [_steps(), *part.feed]
    for target in exporter.obstacle_means:
        try:
            program, _ = rewrite_for(target, part.program)
        except SegexportError as error:
            found.append(_said(error).encode())
        else:
            found += [program.to_bytes(), *(value for _, value in sorted(program.params.items()))]
    return _digest(*found)


@functools.cache
def _steps() -> bytes:
    """Code between a rewritten program and its outputs; a step's version may rise without changing a cell."""
    files = [REPOSITORY / "exporter" / name for name in ("to_onnx.py", "to_paddle_lite.py")] + _SHORT_LIVED
    return re.sub(rb' version = ".*"', b"", b"".join(file.read_bytes() for file in files))


def _digest(*parts: bytes | np.ndarray) -> str:
    digest = hashlib.sha256()
    for part in parts:
        digest.update(part if isinstance(part, bytes) else np.ascontiguousarray(part).tobytes())
    return digest.hexdigest()[:16]


def run(cells: list[Cell], journal: Journal, *, batch: int, exporters: Iterable[Exporter] = EXPORTERS) -> None:
    """Measures new cells, neighbours in the tables together, because they tend to fail together."""
    with tempfile.TemporaryDirectory() as scratch, forks.quick_workers(Path(worker_host.__file__), _SHORT_LIVED):
        paddle = Paddle(Path(scratch), journal.folder / "built")
        for start in range(0, len(cells), batch):
            built = []
            for cell in cells[start : start + batch]:
                if journal.knows(cell, "paddle", given := given_to_paddle(cell)):
                    continue
                try:
                    built.append(paddle.build(cell))
                except NotInPaddle as error:
                    journal.add(cell.name, "paddle", given, Row("refused", str(error)))
            for exporter in exporters:
                given = {part.cell.name: given_to(exporter, part) for part in built}
                wanted = [part for part in built if not journal.knows(part.cell, exporter.name, given[part.cell.name])]
                good = [part for part in wanted if journal.expects(part.cell, exporter.name)]
                alone = [[part] for part in wanted if not journal.expects(part.cell, exporter.name)]
                for together in (good, *alone):
                    for name, row in outcomes(exporter, together).items():
                        journal.add(name, exporter.name, given[name], row)
        paddle.close()


def sample(cells: list[Cell], size: int, seed: int) -> list[Cell]:
    """Draws cells, in order; at least one per operator, if `size` allows."""
    chance = random.Random(seed)
    mixed = chance.sample(cells, len(cells))
    first = {cell.family: cell for cell in mixed}
    ranked = [*first.values(), *(cell for cell in mixed if first[cell.family] is not cell)]
    chosen = {cell.name for cell in ranked[:size]}
    return [cell for cell in cells if cell.name in chosen]


def summary(cells: list[Cell], journal: Journal) -> dict:
    """The totals, the cells that Paddle does not support, and per operator and export the outcomes with reasons."""
    table: dict[str, dict] = {}
    totals = {each.name: dict.fromkeys(OUTCOMES, 0) for each in EXPORTERS}
    for cell in cells:
        entry = table.setdefault(cell.family, {"attributes": [], **{each.name: {} for each in EXPORTERS}})
        entry["attributes"] = sorted({*entry["attributes"], *filter(None, cell.choice)})
        for each in EXPORTERS:
            row = journal.rows.get((cell.name, each.name))
            if row is not None:
                totals[each.name][row.outcome] += 1
                _count(entry[each.name], cell, Row(row.outcome, _without_folders(row.detail)))
    not_in_paddle = {
        name: _without_folders(row.detail) for (name, exporter), row in journal.rows.items() if exporter == "paddle"
    }
    many = len(cells) - len(not_in_paddle)
    return {"cells": many, "totals": totals, "not in Paddle": not_in_paddle, "operators": table}


def _without_folders(text: str) -> str:
    """Removes this machine's folders from paths."""
    return re.sub(r"(?:/[\w.+-]+)+/", "", text)


def _count(counts: dict, cell: Cell, row: Row) -> None:
    """Adds a row to an operator's counts: counts reasons, and lists the names of cells that must not occur."""
    counts[row.outcome] = counts.get(row.outcome, 0) + 1
    if row.outcome in ("wrong", "crashed"):
        counts.setdefault("faults", {})[cell.name] = f"{row.outcome}: {row.detail}"
    elif row.outcome != "equal":
        reasons = counts.setdefault("reasons", {})
        reasons[row.detail] = reasons.get(row.detail, 0) + 1


def markdown(found: dict) -> str:
    """Formats the table: a line per operator, a column per export."""
    names = [each.name for each in EXPORTERS]
    lines = [f"| operator | attributes | {' | '.join(names)} |", "|---" * (2 + len(names)) + "|"]
    for operator, entry in sorted(found["operators"].items()):
        cells = [", ".join(f"{entry[name][kind]} {kind}" for kind in OUTCOMES if kind in entry[name]) for name in names]
        lines.append(f"| {operator} | {', '.join(entry['attributes'])} | {' | '.join(cells)} |")
    totals = [", ".join(f"{found['totals'][name][kind]} {kind}" for kind in OUTCOMES) for name in names]
    lines.append(f"| **{found['cells']} cells** | | {' | '.join(totals)} |")
    wrong = ", ".join(f"{name} {found['totals'][name]['wrong']}" for name in names)
    lines += ["", f"Silently wrong: {wrong}."]
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, default=Path(tempfile.gettempdir()) / "operator_sweep")
    parser.add_argument("--only", nargs="*", default=[], help="operators; without, all")
    parser.add_argument("--shard", default="1/1", help="a part of the cells, for several processes that share DIR")
    parser.add_argument("--sample", type=int, help="so many cells, drawn by --seed")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--fixed", action="store_true", help="without cells of dynamic size")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--markdown", type=Path)
    options = parser.parse_args()
    cells = [cell for cell in all_cells(free=not options.fixed) if not options.only or cell.family in options.only]
    if options.sample:
        cells = sample(cells, options.sample, options.seed)
    part, _, parts = options.shard.partition("/")
    step = -(-len(cells) // int(parts))
    cells = cells[(int(part) - 1) * step : int(part) * step]
    journal = Journal(options.work)
    run(cells, journal, batch=options.batch)
    found = summary(cells, journal)
    if options.json:
        save(options.json, found)
    if options.markdown:
        options.markdown.write_text(markdown(found))
    for cell, reason in found["not in Paddle"].items():
        print(f"not in Paddle, so no cell of the table: {cell}: {reason}")
    print(markdown(found))


if __name__ == "__main__":
    main()

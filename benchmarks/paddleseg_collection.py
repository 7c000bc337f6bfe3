"""Exports every model of PaddleSeg 2.8's collection to every installed target and compares the masks with Paddle's.

    python benchmarks/paddleseg_collection.py [MODEL ...] --python PYTHON --work DIR [--head argmax] [--size 128x128]
        [--free] [--targets NAME ...] [--shard 1/1] [--limit-s 600] [--again] [--json FILE]
        [--markdown FILE]

PYTHON is one that has paddleseg 2.8 and paddlepaddle 2.6 (`pip install --no-deps paddleseg==2.8.0`, and what it
imports); `paddleseg_models.py` builds each model there, with seeded weights. The model is imported, `inspect` says what
it expects of each target, the model is exported, and the masks of two images are compared with plain Paddle's.
`agreement` is the part of the pixels that are the same, image by image; `nudged` is what plain Paddle agrees with
itself on when its input changes in the last bit (by five times as much, where an export differs by more): random
weights amplify rounding. An export is *right* where it differs on at most 0.1 % of the pixels, or on four times as many
as the nudge, *wrong* elsewhere; *refused* with the reason; *too slow* where a tool did not answer in time; *not run*
where no runtime here runs it; *fault* where segexport itself failed. `contradiction` marks what `inspect` had not said.

What the file has is kept and not measured again, unless --again says so: a row that lacks a target gets only that
target. Models that were not reached are in it as not run. Shards (`--shard 2/4`) may write to one file, or to one each.
"""

from __future__ import annotations

import argparse
import re
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from collection_table import markdown
from paddleseg_models import HEADS, MODELS
from stamped import RESULTS, load, save
from zoo_coverage import feed_of

from segexport.artifact import ModelArtifact
from segexport.errors import Interrupted, SegexportError, WorkerTimeout
from segexport.exporter import program as programs
from segexport.exporter.from_paddle import ImportOptions, import_model
from segexport.exporter.inspect import TargetSupport
from segexport.files.store import Store
from segexport.pipeline.plan import PlanRunner, planned, steps_of
from segexport.pipeline.registry import runtime_for, targets
from segexport.pipeline.step import StepContext
from segexport.runtimes.base import RunOptions
from segexport.runtimes.watched import with_graph

SEEDS = (7, 8)
NUDGE = 2e-7  # relative change of an input: its last bit
LARGER = (-1e-6, 1e-6)  # tried if an export differs by more than after `NUDGE`
FEW = 0.001  # fraction of pixels that may differ
NOT_RUN = {"not run": "not reached"}
NO_ANSWER = ("too slow", "fault")  # outcomes that do not say whether the export exists


def build(name: str, folder: Path, options: argparse.Namespace) -> str:
    """Builds the model if it does not exist; returns the reason if it cannot be built."""
    if (folder / "deploy.yaml").is_file():
        return ""
    script = Path(__file__).with_name("paddleseg_models.py")
    command = [options.python, "-W", "ignore", str(script), name, str(folder), "--head", options.head]
    command += ["--size", options.size, *(["--free"] if options.free else [])]
    try:
        ended = subprocess.run(command, capture_output=True, text=True, timeout=options.limit_s)
    except subprocess.TimeoutExpired:
        return f"more than {options.limit_s:g} s"
    if (folder / "deploy.yaml").is_file():
        return ""
    lines = [
        line.strip() for line in (ended.stdout + ended.stderr).splitlines() if line.strip() and "Warning" not in line
    ]
    return " ".join(lines[-2:])[-300:] or f"Python ended with {ended.returncode}"


def rows(name: str, to: Sequence[str], options: argparse.Namespace, store: Store) -> Iterator[dict]:
    """The row of one model in the targets `to`, once for each target that is done."""
    folder = options.work / f"{name}-{options.head}-{'free' if options.free else options.size}"
    if fault := build(name, folder, options):
        yield {"not built": fault}
        return
    run_options = RunOptions(timeout_s=options.limit_s)
    plain = with_graph(run_options, "plain")
    try:
        source = import_model(folder, ImportOptions(), store)
        program = programs.read(source.file("model"), source.file("params"))
        height, width = map(int, options.size.split("x"))
        feeds = [feed_of(program, height, width, seed) for seed in SEEDS]
        of_plain = masks(source, [*feeds, *_nudged(feeds, NUDGE)], plain)
    except SegexportError as error:
        yield {"not imported": _said(error)}
        return
    wanted, nudged = of_plain[: len(feeds)], agreements(of_plain[len(feeds) :], of_plain[: len(feeds)])
    found: dict = {
        "operators": len(list(program.compute_ops())),
        "classes": int(np.mean([len(np.unique(mask)) for mask in wanted])),
        "nudged": nudged,
    }
    for target in to:
        start = time.perf_counter()
        said = targets()[target].verdict_before(program)
        try:
            outcome = exported(source, target, feeds, wanted, run_options, store)
        except Exception as error:  # a bug of segexport is recorded in the table, and the other targets continue
            outcome = {"outcome": "fault", "reason": _fault(error)}
        if "agreement" in outcome and not _is_right(outcome["agreement"], found["nudged"]):
            more = [agreements(masks(source, _nudged(feeds, by), plain), wanted) for by in LARGER]
            found["nudged"] = [min(each) for each in zip(found["nudged"], *more, strict=True)]
        if "agreement" in outcome:
            outcome["outcome"] = "right" if _is_right(outcome["agreement"], found["nudged"]) else "wrong"
        if outcome["outcome"] not in NO_ANSWER and _contradicts(said, exists=outcome["outcome"] != "refused"):
            outcome["contradiction"] = {one.target: one.support for one in said}
        yield {**found, "targets": {target: {**outcome, "seconds": round(time.perf_counter() - start, 1)}}}


def left(before: dict, asked: Sequence[str], *, again: bool) -> list[str]:
    """The targets that are still to be measured for a row of the file; a model that cannot be built has none."""
    if again or "not run" in before:
        return list(asked)
    return [target for target in asked if target not in before["targets"]] if "targets" in before else []


def merged(before: dict, found: dict) -> dict:
    """The row with newly measured targets, and the others as they were; without any, targets stay that are there."""
    if "targets" not in before or "targets" not in found:
        return before if "targets" in before else found
    nudged = [min(each) for each in zip(before["nudged"], found["nudged"], strict=True)]
    return {**found, "nudged": nudged, "targets": {**before["targets"], **found["targets"]}}


def exported(
    source: ModelArtifact,
    to: str,
    feeds: list[list[np.ndarray]],
    wanted: list[np.ndarray],
    options: RunOptions,
    store: Store,
) -> dict:
    """Makes and runs one export."""
    recipe = targets()[to].Recipe(to=to)
    context = StepContext(timeout_s=options.timeout_s)
    try:
        artifact = PlanRunner(store, context).build(to, source, planned(steps_of(recipe), source))
    except (WorkerTimeout, Interrupted) as error:  # no result
        return {"outcome": "too slow", "reason": _said(error)}
    except SegexportError as error:
        return {"outcome": "refused", "reason": _said(error)}
    try:
        found = masks(artifact, feeds, options)
    except SegexportError as error:
        return {"outcome": "not run", "reason": _said(error)}
    return {"outcome": "run", "agreement": agreements(found, wanted)}


def _is_right(same: Sequence[float], nudged: Sequence[float]) -> bool:
    return 1 - min(same) <= max(FEW, 4 * (1 - min(nudged)))


def _nudged(feeds: list[list[np.ndarray]], by: float) -> list[list[np.ndarray]]:
    return [[one * np.float32(1 + by) for one in feed] for feed in feeds]


def masks(artifact: ModelArtifact, feeds: list[list[np.ndarray]], options: RunOptions) -> list[np.ndarray]:
    """The mask of each image, in one process after the other."""
    with runtime_for(artifact.manifest.format).open(artifact, options) as session:
        return [session.infer(feed).mask for feed in feeds]


def agreements(found: Sequence[np.ndarray], wanted: Sequence[np.ndarray]) -> list[float]:
    return [round(float((a == b).mean()), 7) if a.shape == b.shape else 0.0 for a, b in zip(found, wanted, strict=True)]


def _contradicts(said: Sequence[TargetSupport], *, exists: bool) -> bool:
    """Whether `inspect` was wrong: it refused an exported model, or accepted a refused one."""
    expected = {one.support != "no" for one in said}
    return expected == {not exists}


def _said(error: SegexportError) -> str:
    said = " | ".join(part for part in (error.what, error.cause) if part)
    return re.sub(r"[^\s\"]*/objects/[^\s\":]+: ", "", said)[:400]  # without the path of an export


def _fault(error: Exception) -> str:
    return f"{type(error).__name__}: {str(error)[:300]}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="*", metavar="MODEL", help=f"without names, all: {', '.join(MODELS)}")
    parser.add_argument("--python", required=True)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--head", choices=HEADS, default="argmax")
    parser.add_argument("--size", default="128x128", help="HEIGHTxWIDTH")
    parser.add_argument("--free", action="store_true", help="programs of dynamic size, run at --size")
    parser.add_argument("--targets", nargs="*", metavar="NAME")
    parser.add_argument("--shard", default="1/1", help="NUMBER/COUNT")
    parser.add_argument("--limit-s", type=float, default=600, help="longest wait for one answer of a tool")
    parser.add_argument("--again", action="store_true", help="measure also what the file has")
    parser.add_argument("--json", type=Path, default=RESULTS / "paddleseg_collection.json")
    parser.add_argument("--markdown", type=Path, help="the page of docs/ that shows the file")
    options = parser.parse_args()
    if unknown := set(options.models) - set(MODELS):
        parser.error(f"not in the collection: {', '.join(sorted(unknown))}")
    number, count = map(int, options.shard.split("/"))
    form = f"{options.head}, {'free' if options.free else options.size}"
    for name in (options.models or list(MODELS))[number - 1 :: count]:
        before = _rows(options.json).get(form, {}).get(name, NOT_RUN)
        to = left(before, options.targets or list(targets()), again=options.again)
        if not to:
            continue
        options.work.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=options.work) as scratch:  # the exports of all models fill a disk
            try:
                for found in rows(name, to, options, Store(Path(scratch))):
                    _keep(options.json, form, name, found)
            except Exception as error:  # as for a target
                _keep(options.json, form, name, {"fault": _fault(error)})
    if options.markdown:
        options.markdown.write_text(markdown(_rows(options.json)))


def _keep(file: Path, form: str, name: str, found: dict) -> None:
    print(name, found, flush=True)
    forms = _rows(file)  # read again: another shard may have written
    before = forms.get(form, {})
    now = merged(before.get(name, NOT_RUN), found)
    save(file, {**forms, form: {**dict.fromkeys(MODELS, NOT_RUN), **before, name: now}})


def _rows(path: Path) -> dict[str, dict[str, dict]]:
    return load(path) if path.is_file() else {}


if __name__ == "__main__":
    main()

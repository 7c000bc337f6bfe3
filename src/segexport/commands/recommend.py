"""`segexport export MODEL --for PURPOSE`: makes the exports that fit a purpose, checks them, and recommends one."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from segexport.commands.run import model_recipe, run_pipeline
from segexport.errors import EnvironmentMissingError
from segexport.exporter.from_paddle import ImportOptions, import_model
from segexport.exporter.targets.purpose import PURPOSES, Purpose
from segexport.files.atomic import write_file
from segexport.files.output_folder import new_folder, require_free
from segexport.files.store import Store
from segexport.judge.gates import PASS_IMAGES
from segexport.pipeline.entry_points import require_known
from segexport.pipeline.registry import target_named, targets
from segexport.process.interpreter import interpreter_for
from segexport.progress import SILENCE, Feedback
from segexport.recipe.export import ExportRecipe, export_name
from segexport.recipe.schema import CheckRecipe, DataRecipe, Recipe
from segexport.report import numbers
from segexport.report.schema import ExportResult, Report
from segexport.report.wording import findings
from segexport.search.selected_recipe import to_yaml
from segexport.spec import Frozen
from segexport.task.open_data import open_data
from segexport.toolchain.catalog import toolchain
from segexport.verdict import Verdict

if TYPE_CHECKING:
    from segexport.exporter.targets.base import ExportTarget

RESULT_NAME = "recommendation.json"
_ABOUT_EQUAL = 1.1  # costs up to this ratio are decided by accuracy


@dataclass(frozen=True, kw_only=True)
class RecommendOptions:
    """Options of `segexport export --for`.

    Attributes:
        purpose: `android` or `server`; `exporter.targets.purpose` lists them.
        data: A folder of photos, or a data set with labels.
        split: Images of the check, in a data set with lists.
        limit: Largest number of images of the check.
        device: Device of the exports; `adb` is the connected phone.
        latency_seconds: Duration of timing, in seconds; no timing if this machine does not represent the purpose.
    """

    purpose: str
    data: Path
    split: str = "val"
    limit: int | None = None
    device: str = "cpu"
    threads: int = 1
    latency_seconds: float = 10.0


@dataclass(frozen=True)
class CheckedCandidate:
    """A checked export.

    Attributes:
        reason: The reason why it is recommended or not.
    """

    name: str
    target: str
    precision: str
    verdict: str
    size_bytes: int | None
    agreement: float | None
    miou_delta: float | None
    latency_ratio: float | None
    reason: str


@dataclass(frozen=True)
class MissingTarget:
    """A target that fits the purpose and whose toolchain is not installed."""

    target: str
    toolchain: str
    install: str


class Recommendation(Frozen):
    """The recommended export, and the results of all candidates; what `--format json` prints.

    Attributes:
        recommended: Name of an export in the folder `exports`; empty if none passed, exit code 1.
        why: The reason, as one paragraph.
        next_steps: Commands for the next steps.
        report: The check of all candidates.
    """

    purpose: str
    recommended: str
    why: str
    next_steps: tuple[str, ...]
    candidates: tuple[CheckedCandidate, ...]
    missing: tuple[MissingTarget, ...]
    report: Report

    def as_json(self) -> str:
        """The content of `recommendation.json`, which stands beside the report."""
        return self.model_dump_json(indent=2, exclude={"report"}) + "\n"


def recommend(
    model: Path, output: Path, importing: ImportOptions, options: RecommendOptions, *, feedback: Feedback = SILENCE
) -> Recommendation:
    """Makes and checks the candidates; writes them, the report and `recommendation.json` into the new folder `output`.

    Raises:
        SegexportError: The model or the images cannot be used, or no target that fits the purpose is installed.
    """
    require_known("purpose", options.purpose, PURPOSES)
    require_free(output, replace=True)
    purpose, store = PURPOSES[options.purpose], Store()
    opened = open_data(options.data, options.split)
    data, shared = _data(options, len(opened))
    if shared:
        feedback.warn("int8 is calibrated on images of the check, so its agreement is slightly optimistic")
    fitting = [target for target in targets().values() if purpose.name in target.fits]
    missing = tuple(lack for target in fitting for lack in _lacking(target))
    ready = [target for target in fitting if target.name not in {one.target for one in missing}]
    for one in missing:
        feedback.warn(f"{one.target} is left out, its toolchain {one.toolchain} is not installed: {one.install}")
    if not ready:
        raise EnvironmentMissingError(f"no target for {purpose.title} is installed", hint="segexport toolchain install")
    timed = purpose.cost == "time" or options.device != "cpu"
    recipe = Recipe(
        title=f"{model.resolve().name} for {purpose.title}",
        model=model_recipe(model, importing, import_model(model, importing, store)),
        data=data,
        exports=tuple(_exports(ready, purpose)),
        check=CheckRecipe(
            device=options.device,
            threads=options.threads,
            latency_seconds=options.latency_seconds if timed else 0.0,
        ),
    )
    with new_folder(output, replace=True) as folder:
        report = run_pipeline(recipe, Path.cwd(), folder, feedback=feedback, store=store)
        image = opened.root / opened.entries[0].image
        found = _recommendation(report, recipe, purpose, missing, output, image, timed=timed)
        write_file(folder / RESULT_NAME, found.as_json())
        head = {"Candidates for": purpose.title, "Recommended": found.recommended or "none"}
        write_file(folder / "recipe.yaml", to_yaml(recipe, head))
    return found


def _data(options: RecommendOptions, images: int) -> tuple[DataRecipe, bool]:
    """The images of the check and of the calibration, and whether they are the same.

    A data set calibrates on its `train` list. Photos without lists are halved, if both halves are large enough.
    """
    root, split = options.data, options.split
    common = {"path": str(root.resolve()), "split": split, "limit": options.limit}
    if split != "train" and (root / "train.txt").is_file():
        return DataRecipe(**common), False
    if images >= 2 * PASS_IMAGES:
        return DataRecipe(**common, calibration_split=split, calibration_part="1/2", part="2/2"), False
    return DataRecipe(**common, calibration_split=split), True


def _lacking(target: ExportTarget) -> Iterator[MissingTarget]:
    for name in target.toolchains:
        try:
            interpreter_for(*toolchain(name).modules)
        except EnvironmentMissingError as error:
            yield MissingTarget(target.name, name, error.hint)


def _exports(ready: Sequence[ExportTarget], purpose: Purpose) -> Iterator[ExportRecipe]:
    for target in ready:
        for precision in target.fits[purpose.name]:
            made = target.Recipe.model_validate({"to": target.name, "precision": precision})
            yield made.model_copy(update={"name": export_name(made)})


def _recommendation(
    report: Report,
    recipe: Recipe,
    purpose: Purpose,
    missing: tuple[MissingTarget, ...],
    output: Path,
    image: Path,
    *,
    timed: bool,
) -> Recommendation:
    target_of = {export.name: target_named(export.to) for export in recipe.exports}
    best = _best(report.exports, target_of, purpose, timed=timed)
    candidates = tuple(
        CheckedCandidate(
            name=export.name,
            target=target_of[export.name].name,
            precision=export.precision,
            verdict=export.verdict.value,
            size_bytes=export.size_bytes,
            agreement=export.agreement,
            miou_delta=export.miou_delta,
            latency_ratio=export.latency_ratio,
            reason=_reason(export, best, target_of[export.name], purpose, timed=timed),
        )
        for export in report.exports
    )
    if best is None:
        why = f"No candidate for {purpose.title} passed on {report.dataset.images} images. "
        why += " ".join(f"{one.name}: {one.reason}." for one in candidates)
        if report.dataset.images < PASS_IMAGES:
            why += f" {PASS_IMAGES} images or more are needed for a verdict."
        return Recommendation(
            purpose=purpose.name,
            recommended="",
            why=why,
            next_steps=(),
            candidates=candidates,
            missing=missing,
            report=report,
        )
    why = _why(best, report, target_of, purpose, candidates, timed=timed)
    export = output / "exports" / best.name
    command = target_of[best.name].next_command.get(purpose.name, "")
    named = {"export": shlex.quote(str(export)), "image": shlex.quote(str(image))}
    step = command.format(**named) if command else f"see {export / 'README.md'}"
    return Recommendation(
        purpose=purpose.name,
        recommended=best.name,
        why=why,
        next_steps=(step,),
        candidates=candidates,
        missing=missing,
        report=report,
    )


def _best(
    exports: Sequence[ExportResult], target_of: Mapping[str, ExportTarget], purpose: Purpose, *, timed: bool
) -> ExportResult | None:
    """The best export that passed: prefers files that ran themselves, then those with a next command, then low cost.

    If costs are about equal, accuracy decides.
    """
    passed = [export for export in exports if export.verdict is Verdict.PASS]
    if not passed:
        return None

    def rank(export: ExportResult) -> tuple[bool, bool]:
        return bool(export.not_run), purpose.name not in target_of[export.name].next_command

    first = min(map(rank, passed))
    equal = [export for export in passed if rank(export) == first]
    least = min(_cost(export, timed=timed) for export in equal)
    near = [export for export in equal if _cost(export, timed=timed) <= least * _ABOUT_EQUAL]
    return max(near, key=lambda export: (export.agreement or 0.0, -_cost(export, timed=timed)))


def _cost(export: ExportResult, *, timed: bool) -> float:
    """The cost: milliseconds if the candidates were timed, else bytes."""
    if timed and export.latency_ms is not None:
        return export.latency_ms.p50
    return float("inf") if timed or export.size_bytes is None else float(export.size_bytes)


def _reason(
    export: ExportResult, best: ExportResult | None, target: ExportTarget, purpose: Purpose, *, timed: bool
) -> str:
    if export.verdict is not Verdict.PASS:
        found = next(iter(findings(export)), None)
        return f"{export.verdict.value}: {found.message.splitlines()[0].rstrip('.')}" if found else export.verdict.value
    if best is None or export.name == best.name:
        return "recommended"
    if export.not_run and not best.not_run:
        return "passed, but this machine ran a substitute for its file"
    if purpose.name not in target.next_command:
        return f"passed, but needs an integration of {target.title} of your own"
    own, least = _cost(export, timed=timed), _cost(best, timed=timed)
    if own > least * _ABOUT_EQUAL:
        return f"passed, with {own / least:.1f} times the {'time' if timed else 'size'}"
    return f"passed, about as {'fast' if timed else 'small'}, and agrees less with the original"


def _why(
    best: ExportResult,
    report: Report,
    target_of: Mapping[str, ExportTarget],
    purpose: Purpose,
    candidates: Sequence[CheckedCandidate],
    *,
    timed: bool,
) -> str:
    """Explains the recommendation in one paragraph, without assuming other knowledge."""
    same = f"Its masks agree with the original's on {numbers.agreement(best.agreement)} of the pixels"
    if report.dataset.labelled and best.miou_delta is not None:
        same += f", and its mIoU differs by {numbers.delta(best.miou_delta)}"
    cost = f"It takes {numbers.size(best.size_bytes)}"
    if best.size_ratio is not None:
        cost += f", {numbers.times(best.size_ratio)} of the original"
    if timed and best.latency_ms is not None:
        cost += f", and {numbers.milliseconds(best.latency_ms.p50)} ms for an image"
    passed = [export for export in report.exports if export.verdict is Verdict.PASS]
    of = f"{len(passed)} of {len(report.exports)} candidates passed every gate"
    command = target_of[best.name].next_command.get(purpose.name, "").partition(" {")[0]
    taken = f" that `{command}` takes" if command else ""
    how = ("fastest" if timed else "smallest") + taken
    reasons = {one.name: one.reason for one in candidates}
    better = [
        f"{export.name} ({reasons[export.name]})"
        for export in passed
        if export.name != best.name and _cost(export, timed=timed) < _cost(best, timed=timed)
    ]
    sentences = [
        f"{best.name} is recommended for {purpose.title}.",
        f"{same} ({report.dataset.images} images).",
        f"{cost}.",
        f"{of}, and it is the {how}, or the most accurate of those about equal.",
        f"{'Faster' if timed else 'Smaller'}, but not recommended: {', '.join(better)}." if better else "",
        purpose.remark if timed == (purpose.cost == "time") else "",
        "" if report.dataset.labelled else "Without labels it is not known how good the original is.",
    ]
    return " ".join(sentence for sentence in sentences if sentence)

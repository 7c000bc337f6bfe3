"""`segexport compress`: searches for the best export within an accuracy budget, and proves it."""

from __future__ import annotations

import json
from contextlib import nullcontext
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from segexport.artifact import ModelArtifact, digest_of, read_artifact
from segexport.commands.check import read_label_map, require_no_phone
from segexport.commands.run import model_recipe, run_pipeline
from segexport.data.dataset import Dataset
from segexport.data.label_scan import look
from segexport.engine.address import is_remote
from segexport.engine.base import TaskEngine
from segexport.engine.connect import engine_for
from segexport.errors import DataError, OptionError
from segexport.exporter.from_paddle import ImportOptions, fix_input_size, import_model
from segexport.exporter.quantized_program import require_float
from segexport.exporter.to_onnx import onnx_names
from segexport.files.output_folder import new_folder, require_free
from segexport.files.store import Store, default_root
from segexport.judge.gates import PASS_IMAGES
from segexport.measure.environment import describe_machine
from segexport.pipeline.registry import target_named
from segexport.progress import SILENCE, Feedback
from segexport.recipe.schema import DataRecipe, ModelRecipe, Recipe
from segexport.records.run_log import open_logs, record_of
from segexport.report.model_explorer import write_overlays
from segexport.report.schema import Report
from segexport.search import plot, report
from segexport.search import selected_recipe as winner
from segexport.search.candidate import Trial
from segexport.search.evaluate import Evaluator, Workbench
from segexport.search.journal import Journal
from segexport.search.loop import Outcome, search
from segexport.search.objective import Goal, Objective, carefully, finalists
from segexport.search.on_engine import searching
from segexport.search.overlays import of_search
from segexport.search.report import Summary
from segexport.search.search_space_builder import space_key, survey
from segexport.search.space import Space
from segexport.search.time_budget import ImageCounts, TimeBudget, duration, spent_s
from segexport.spec import Format, Frozen
from segexport.task.registry import TASKS, require_feature, task_of
from segexport.verdict import Verdict

if TYPE_CHECKING:
    from segexport.report.schema import ExportResult

_PARTS = {"search": "1/2", "verdict": "2/2"}


@dataclass(frozen=True)
class ImageSplit:
    """The images of the search and of the verdict; the search never uses the verdict's."""

    search: Dataset
    verdict: Dataset
    recipe: DataRecipe  # selects the verdict's images in a recipe

    @property
    def apart(self) -> bool:
        """Whether search and verdict have no image and no group in common."""
        seen = {entry.image for entry in self.search.entries} | set(self.search.image_groups or ())
        others = {entry.image for entry in self.verdict.entries} | set(self.verdict.image_groups or ())
        return not seen & others


@dataclass(frozen=True)
class Compressed:
    """The outcome; `report` is the check of the chosen export."""

    summary: report.Summary
    report: Report


class CompressDocument(Frozen):
    """The outcome of a search; `report`: the check of the chosen export on images that the search did not use."""

    summary: Summary
    report: Report


@dataclass(frozen=True, kw_only=True)
class CompressOptions:
    """Options of `segexport compress`.

    Attributes:
        data: Folder with the lists `split`, `calibration_split` and optionally `verdict_split`.
        max_miou_drop: Allowed loss of mIoU, as a fraction of 1.
        to: Name of the target.
        train: Whether to try pruning and training in the remaining time.
        split: Held-out images: half for the search and half for the verdict; all for the search if `verdict_split`
            is given.
        groups: As in `Dataset.grouped`.
        label_map: YAML file: class of the model -> class of the data.
        screen_images: Number of images for the first measurement of a candidate.
        latency_seconds: Duration of timing for the verdict, in seconds.
        log: Trackers, `mlflow:URI` or `tensorboard:DIR`; see `records.run_log`.
        on: The engine whose workers make, count and time the candidates (`engine.address`); None: this process.
    """

    data: Path
    max_miou_drop: float = 0.005
    objective: Objective = "latency"
    budget_minutes: float = 30.0
    to: str = "onnx"
    train: bool = True
    split: str = "val"
    verdict_split: str | None = None
    calibration_split: str = "train"
    groups: str | None = None
    label_map: Path | None = None
    screen_images: int = 16
    device: str = "cpu"
    threads: int = 1
    latency_seconds: float = 20.0
    log: tuple[str, ...] = ()
    on: str | None = None


def compress(
    model: Path, output: Path, importing: ImportOptions, options: CompressOptions, *, feedback: Feedback = SILENCE
) -> Compressed:
    """Searches, decides the verdict, and writes recipe, exports and reports to `output`.

    Raises:
        SegexportError: The model or the data cannot be used, or the fp32 export cannot be made.
    """
    require_free(output, replace=True)
    log = open_logs(options.log)
    goal = Goal(max_miou_drop=options.max_miou_drop, objective=options.objective)
    if goal.objective == "latency" and not options.latency_seconds > 0:
        raise OptionError(
            f"--latency-seconds {options.latency_seconds:g}: --objective latency needs times",
            hint="--objective size or flops needs none",
        )
    untimed = target_named(options.to).untimed
    if goal.objective == "latency" and untimed and not options.device.startswith("adb"):
        raise OptionError(
            f"--to {options.to} --objective latency: {untimed}",
            hint="--device adb measures on the connected one; --objective size or flops needs none",
        )
    if options.on is not None:
        require_no_phone(options.device)
        if is_remote(options.on):
            options = replace(options, data=options.data.absolute())
    images = split(options)
    if not images.apart:
        feedback.warn("the search and the verdict share images or groups: the verdict is slightly optimistic")
    store, learning = Store(), Dataset.open(options.data, options.calibration_split)
    source = _imported(model, importing, images.search, store)
    feedback.warn_of(source)
    hint = "`segexport run` quantizes and checks it; recipes/onnx_int8.yaml is one to begin with"
    require_feature(source, "compress", "compress", hint=hint)
    label_map = read_label_map(options.label_map)
    task_of(source.manifest).scored_classes(source.manifest, images.verdict, label_map)
    for part in (images.search, learning):
        if suspicion := look(part, source.manifest.num_classes):
            feedback.warn(suspicion)
    bench = Workbench(
        source=source,
        images=images.search.read_for(source.manifest.preprocess),
        learning=learning,
        store=store,
        label_map=label_map,
        threads=options.threads,
        device=options.device,
        screened=options.screen_images,
        progress=feedback.progress,
    )
    counts = {"search": len(images.search), "verdict": len(images.verdict), "learning": len(learning)}
    budget = TimeBudget(
        options.budget_minutes * 60,
        ImageCounts(len(bench.shown("screen")), counts["search"], counts["verdict"]),
        verdict_timing_s=options.latency_seconds,
    )
    to, train = options.to, options.train
    folder = default_root() / "searches" / space_key(bench, to, train)
    with (
        new_folder(output, replace=True) as out,
        engine_for(options.on, threads=options.threads) as engine,
        nullcontext() if engine is None else searching(engine, bench, model.resolve()) as workers,
    ):
        file = folder / "space.json"
        surveyed = file.is_file()
        looks = None if workers is None else workers.look
        space = survey(bench, to, teacher=str(model.resolve()), train=train, file=file, look=looks)
        journal = Journal(folder / f"{digest_of(goal.model_dump(mode='json'))[:16]}.jsonl")
        if journal.points:
            feedback.say(f"{len(journal.points)} measurements of an earlier run reused")
        evaluate, together = Evaluator(bench, space.baseline), None
        if engine is not None and workers is not None:
            budget.workers, together = engine.slots, partial(workers.evaluate, space.baseline)
        for point in journal.points:
            (workers or evaluate).know(point.candidate)
        budget.earlier_s = budget.spent_s(journal.points) + (space.seconds if surveyed else 0.0)
        outcome = search(space, goal, journal, evaluate, budget=budget, say=feedback.say, together=together)
        described = model_recipe(model, importing, source)
        judge = _Judge(described, images.recipe, options, goal, space, budget, store, engine, feedback)
        chosen, checked, sentence = judge.verdict(outcome, out)
        summary = _summary(sentence, goal, space, outcome, chosen, counts)
        unproven = tuple(f"not confirmed by the verdict: {one}" for one in judge.failed)
        summary = summary.model_copy(update={"notes": (*summary.notes, *unproven)})
        _write(out, summary, goal, outcome, chosen)
        _write_overlays(out, space, outcome, chosen)
        log(record_of(checked, out, search=summary.sentence), feedback)
    return Compressed(summary, checked)


def split(options: CompressOptions) -> ImageSplit:
    """Splits the held-out images into those of the search and those of the verdict.

    Raises:
        InputError: There are too few for one of the two.
    """
    root, held_out, verdict, groups = options.data, options.split, options.verdict_split, options.groups
    whole = Dataset.open(root, held_out, groups=groups)
    shown = {"label_map": read_label_map(options.label_map)} if options.label_map else {}
    shown |= {"groups": groups} if groups is not None else {}
    common = {"path": str(root.resolve()), "calibration_split": options.calibration_split, **shown}
    if verdict is not None:
        found = ImageSplit(whole, Dataset.open(root, verdict, groups=groups), DataRecipe(split=verdict, **common))
    else:
        if whole.units < 2 * PASS_IMAGES:
            units = f"{whole.units} {'groups' if whole.groups else 'images'}"
            raise DataError(
                f"{root}, split {held_out!r}: {units} are too few for a search and a separate verdict",
                cause=f"both halves need {PASS_IMAGES} to pass anything" + (", and share none" if whole.groups else ""),
                hint="give more images, or others for the verdict: --verdict-split NAME",
            )
        first, second = (whole.part(*map(int, _PARTS[name].split("/"))) for name in ("search", "verdict"))
        found = ImageSplit(first, second, DataRecipe(split=held_out, part=_PARTS["verdict"], **common))
    for name, part, units in (
        ("search", found.search, len(found.search)),
        ("verdict", found.verdict, found.verdict.units),
    ):
        if units < PASS_IMAGES:
            of = f" in {units} group{'s' if units > 1 else ''}" if part.groups else ""
            raise DataError(
                f"{root}, split {part.split!r}: {len(part)} images{of} for the {name}",
                cause=f"fewer than {PASS_IMAGES} {'groups' if of else 'images'} pass nothing",
            )
    return found


def _imported(model: Path, importing: ImportOptions, data: Dataset, store: Store) -> ModelArtifact:
    options = importing.model_copy(update={"fallback_labels": data.labels})
    source = import_model(model, options, store)
    require_float(source, "compress")
    return fix_input_size(model, options, source, data, store)


class _Judge:
    """Runs the normal check of the finalists, with the accuracy budget, on images that the search did not use."""

    def __init__(
        self,
        model: ModelRecipe,
        data: DataRecipe,
        options: CompressOptions,
        goal: Goal,
        space: Space,
        budget: TimeBudget,
        store: Store,
        engine: TaskEngine | None,
        feedback: Feedback,
    ) -> None:
        self._model, self._data, self._goal, self._space, self._budget = model, data, goal, space, budget
        self._check = {
            "device": options.device,
            "threads": options.threads,
            "latency_seconds": options.latency_seconds,
            "latency": "warn",  # the search has timed the finalists: only one that is surely slower is refused here
        }
        self._store, self._engine, self._feedback = store, engine, feedback
        self.failed: list[str] = []  # finalists that the verdict images did not confirm, and why

    def verdict(self, outcome: Outcome, out: Path) -> tuple[Trial | None, Report, str]:
        """The first finalist that passes, or None for fp32; its report, and the outcome in a sentence."""
        failed = self.failed
        for number, point in enumerate(finalists(self._goal, outcome.points)):
            needed_s = self._budget.verdict_s(outcome.points)
            if number and needed_s > self._budget.left_s:
                text = f"verdict: {point.attempt.idea} left out, about {duration(needed_s)} of work"
                outcome.left_out.append(text)
                self._feedback.say(text)
                break
            self._feedback.say(f"verdict: {point.attempt.idea}")
            recipe, checked = self._checked(point, out)
            result = next(export for export in checked.exports if export.name == winner.COMPRESSED)
            if result.verdict is Verdict.PASS and self._kept(result) and not self._slower(result):
                _write_recipe(out, recipe, point.attempt.idea, checked)
                return point, checked, self._sentence(point, result, checked)
            slower = f"slower than fp32, {_times(result)}" if self._slower(result) else ""
            failed.append(f"{point.attempt.idea}: {slower or _not_passed(result, _metric(checked))}")
            _empty(out)
        recipe, checked = self._checked(None, out)
        _write_recipe(out, recipe, "the model as it was", checked)
        return None, checked, self._nothing(outcome, failed)

    def _checked(self, point: Trial | None, out: Path) -> tuple[Recipe, Report]:
        candidate = None if point is None else point.candidate
        baseline = self._space.precisions[0]
        recipe = winner.recipe_of(candidate, baseline, self._goal, self._model, self._data, **self._check)
        ran = run_pipeline(recipe, Path(), out, feedback=self._feedback, store=self._store, engine=self._engine)
        return recipe, ran

    def _kept(self, result: ExportResult) -> bool:
        """Whether a result is within the accuracy budget; without labels, of the mask IoU with the original's masks."""
        low = result.miou_delta_interval[0] if result.miou_delta_interval is not None else None
        return low is not None and low >= -self._goal.max_miou_drop

    def _slower(self, result: ExportResult) -> bool:
        """Whether it is surely slower than fp32; on a busy machine the times of the verdict decide nothing."""
        interval = result.latency_ratio_interval
        return self._goal.objective == "latency" and interval is not None and interval[0] > 1

    def _sentence(self, point: Trial, result: ExportResult, checked: Report) -> str:
        fp32 = next(export for export in checked.exports if export.name == winner.BASELINE)
        size = (result.size_bytes or 0) / (fp32.size_bytes or 1)
        low, _ = result.miou_delta_interval or (float("nan"), 0.0)
        metric = _metric(checked)
        words = f"{point.attempt.idea}: {metric} {result.miou_delta:+.4f} (at worst {low:+.4f} with 95 % certainty, "
        words += f"{self._goal.max_miou_drop:g} may be lost) on {checked.dataset.images} images of the verdict, "
        words += f"{size:.2f}x the size of fp32"
        if result.latency_ratio is not None:
            words += f", {_times(result)}"
        return words + "."

    def _nothing(self, outcome: Outcome, failed: list[str]) -> str:
        if failed:
            return f"fp32 is shipped: what the search found is not proven on the verdict images. {'; '.join(failed)}."
        words = f"fp32 is shipped: nothing that loses at most {self._goal.max_miou_drop:g} mIoU is "
        words += {"latency": "faster", "size": "smaller", "flops": "cheaper to compute"}[self._goal.objective]
        tried = sum(p.error is None for p in carefully(outcome.points)) - 1
        words += f" than it, of {tried} candidate{'' if tried == 1 else 's'} that could be measured"
        return words + (f"; not measured: {'; '.join(outcome.left_out)}." if outcome.left_out else ".")


def _metric(report: Report) -> str:
    return TASKS[report.task].words.metric_name(report)


def _times(result: ExportResult) -> str:
    words = f"{result.latency_ratio:.2f}x its time"
    if result.latency_ratio_interval is not None:
        words += " ({:.2f} to {:.2f})".format(*result.latency_ratio_interval)
    return words


def _not_passed(result: ExportResult, metric: str) -> str:
    found = [check.message for check in result.checks if check.gated and check.verdict not in _GOOD]
    return (
        found[0].rstrip(".")
        if found
        else f"{metric} {result.miou_delta:+.4f}, the interval is not entirely within the budget"
    )


_GOOD = (Verdict.PASS, Verdict.SKIPPED)


def _empty(folder: Path) -> None:
    import shutil

    for child in folder.iterdir():
        shutil.rmtree(child) if child.is_dir() else child.unlink()


def _write_recipe(out: Path, recipe: Recipe, idea: str, checked: Report) -> None:
    head = {"Found by": "segexport compress", "What it is": idea, "Verdict": checked.verdict.value}
    (out / "recipe.yaml").write_text(winner.to_yaml(recipe, head), encoding="utf-8")


def _summary(
    sentence: str, goal: Goal, space: Space, outcome: Outcome, chosen: Trial | None, images: dict[str, int]
) -> report.Summary:
    points = outcome.points
    return report.Summary(
        sentence=sentence,
        goal=goal,
        chosen="" if chosen is None else chosen.key,
        images=images,
        spent_seconds=round(spent_s(points), 1),
        made=outcome.made,
        found=outcome.found,
        left_out=tuple(outcome.left_out),
        notes=report.notes(space),
        front=tuple(point.attempt.idea for point in plot.pareto(goal, points)),
        environment=describe_machine(),
        tries=report.tries(goal, points, chosen),
    )


def _write_overlays(out: Path, space: Space, outcome: Outcome, chosen: Trial | None) -> None:
    """Writes overlays for Model Explorer, which reads ONNX exports."""
    export = read_artifact(out / "exports" / (winner.BASELINE if chosen is None else winner.COMPRESSED))
    if export.manifest.format == Format.ONNX:
        graph, nodes = onnx_names(export.file("model"))
        write_overlays(out, of_search(space, outcome.points, chosen, graph, nodes))


def _write(out: Path, summary: report.Summary, goal: Goal, outcome: Outcome, chosen: Trial | None) -> None:
    (out / "search.html").write_text(report.html(summary, goal, outcome.points, chosen), encoding="utf-8")
    text = json.dumps(summary.model_dump(mode="json"), indent=2, ensure_ascii=False)
    (out / "search.json").write_text(text + "\n", encoding="utf-8")
    lines = (json.dumps(point.model_dump(mode="json"), ensure_ascii=False) for point in outcome.points)
    (out / "journal.jsonl").write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")

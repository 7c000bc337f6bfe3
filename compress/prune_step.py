"""The pruning step. A worker process does the parts that need images."""

from __future__ import annotations

import json
import tempfile
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

from pydantic import Field, model_validator

from segexport.artifact import Manifest, ModelArtifact, file_digest, file_entry
from segexport.compress import sensitivity
from segexport.compress.channel_analysis import analyze
from segexport.compress.cost import macs, parameters
from segexport.compress.latency_target import Stopwatch, Where, macs_for_latency
from segexport.compress.prune import FROM_WEIGHTS, Pruned, prune, prune_to_budgets
from segexport.compress.prune_job import Budgets, PruneJob, PruneOptions
from segexport.compress.training_job import DatasetSpec
from segexport.errors import MismatchError
from segexport.exporter import program
from segexport.exporter.quantized_program import require_float
from segexport.pipeline.step import StepContext, lineage_entry
from segexport.process.fast_products import fast_products
from segexport.process.worker import Worker
from segexport.spec import Format

REPORT = "pruning.json"  # removed channels and the cost of each stage
_WORKER = Path(__file__).parent / "workers" / "prune_worker.py"
_LISTED = 4  # names per reason in the notes, to keep them short
_MEASURED_AT_ONCE = 3  # sensitivities between two progress reports


class Prune:
    """Removes whole channels and everything coupled to them. The result needs fine-tuning."""

    kind = "prune"
    version = "2"
    accepts = Format.PADDLE
    produces = Format.PADDLE

    class Params(PruneOptions):
        """How much to prune, given in one of three ways, and how; see `PruneOptions` for the other fields.

        Attributes:
            ratio: Fraction of each channel group to remove.
            keep_macs, keep_parameters, keep_bytes: Fractions that may remain; several may be given.
            keep_latency: Fraction of the time that may remain, measured on this machine in `latency_in`.
            sensitivities_file: File for individual ratios, so that each group loses at most `eval_metric_loss` of the
                metric. A missing or incomplete file is measured on the images and written.
            measure: Whether to do so; False: the file must exist, and groups that it does not name stay whole.
        """

        ratio: float | None = Field(default=None, ge=0, lt=1)
        keep_macs: float | None = Field(default=None, gt=0, lt=1)
        keep_parameters: float | None = Field(default=None, gt=0, lt=1)
        keep_bytes: float | None = Field(default=None, gt=0, lt=1)
        keep_latency: float | None = Field(default=None, gt=0, lt=1)
        latency_in: Where = "onnxruntime"
        sensitivities_file: str = ""
        eval_metric_loss: float = Field(default=0.05, ge=0)
        measure: bool = True

        @property
        def budgets(self) -> Budgets:
            given = {"macs": self.keep_macs, "parameters": self.keep_parameters, "bytes": self.keep_bytes}
            return {what: share for what, share in given.items() if share is not None}

        @model_validator(mode="after")
        def _one_target(self) -> Prune.Params:
            ways = [self.ratio is not None, bool(self.budgets) or self.keep_latency is not None]
            if sum([*ways, bool(self.sensitivities_file)]) != 1:
                raise ValueError(
                    "give `ratio`, or `keep_macs` (`keep_parameters`, `keep_bytes`, `keep_latency`), or "
                    "`sensitivities_file`: one of them"
                )
            if self.widths != "uniform" and not ways[1]:
                raise ValueError(f"`widths: {self.widths}` needs one of the keep_ targets")
            if self.widths == "global" and self.criterion != "fisher":
                raise ValueError("`widths: global` needs scores that compare across the network: `criterion: fisher`")
            if self.stages > 1 and (not ways[1] or (self.criterion in FROM_WEIGHTS and not self.reconstruct)):
                raise ValueError(
                    "`stages` need a keep_ target, and something that is measured for each stage: `reconstruct`, or a "
                    "criterion other than l1 and fpgm"
                )
            return self

    def __init__(self, params: Params) -> None:
        self.params = params

    @property
    def needs(self) -> tuple[str, ...]:
        return ("paddle",) if self.uses_data else ("numpy",)

    @property
    def uses_data(self) -> bool:
        params = self.params
        return params.criterion not in FROM_WEIGHTS or params.reconstruct or bool(params.sensitivities_file)

    def key_params(self) -> dict[str, Any]:
        """Returns the parameters for the cache key, with the sensitivities file by content."""
        file = Path(self.params.sensitivities_file)
        known = file_digest(file) if self.params.sensitivities_file and file.is_file() else ""
        always = {"measure"} if self.params.measure else set()  # keys are those from before there was the parameter
        return {**self.params.model_dump(mode="json", exclude=always), "sensitivities_file": known}

    def run(self, source: ModelArtifact, out_dir: Path, context: StepContext) -> Manifest:
        """Writes `model.pdmodel`, `model.pdiparams` and `pruning.json`.

        Raises:
            InputError: The target is unreachable, or images are needed and there are none.
            UnsupportedModelError: Height or width is dynamic, so the cost is undefined; or the model is quantized.
        """
        require_float(source, "pruning")
        started = time.monotonic()
        before = program.read(source.file("model"), source.file("params"))
        macs(before)  # refuse a program with undefined cost before reading images
        maker = _FromImages if self.uses_data else _FromWeights
        with maker(source, before, self.params, context) as pruning:
            report = pruning.run(out_dir)
        after = program.read(out_dir / "model.pdmodel", out_dir / "model.pdiparams")
        lines = notes(before, after, analyze(before).frozen_because)
        report |= {"costs": _costs(before, after), "seconds": round(time.monotonic() - started, 2)}
        (out_dir / REPORT).write_text(json.dumps(report, indent=1) + "\n")
        lineage = lineage_entry(self, context.key, lines)
        if self.params.sensitivities_file:
            lineage = lineage.model_copy(update={"params": {**lineage.params, **self.key_params()}})
        manifest = paddle_manifest(source, out_dir, after, lineage)
        return manifest.model_copy(update={"files": (*manifest.files, file_entry(out_dir, REPORT, "other"))})


class _Pruning:
    """One run of the step: prunes to budgets or by ratios."""

    def __init__(
        self, source: ModelArtifact, before: program.Program, params: Prune.Params, context: StepContext
    ) -> None:
        self.source, self.before, self.params, self.context = source, before, params, context

    def run(self, out: Path) -> dict[str, Any]:
        """Writes the pruned program into `out`; returns the report."""
        params, report = self.params, {}
        if params.keep_latency is not None:
            share, tried = self._macs_for_latency(params.keep_latency)
            budgets = {**params.budgets, "macs": min(share, params.keep_macs or 1.0)}
            report["latency"] = {"in": params.latency_in, "tried": [asdict(each) for each in tried]}
        else:
            budgets = params.budgets
        ratio = self._ratios() if params.sensitivities_file else params.ratio
        if isinstance(ratio, dict):
            report["ratios"] = ratio
        return report | self.prune(out, budgets=budgets or None, ratio=None if budgets else ratio)

    def _macs_for_latency(self, wanted: float):
        with (
            Stopwatch(self.source, self.params.latency_in, self.context) as watch,
            tempfile.TemporaryDirectory(prefix="segexport-prune-") as scratch,
        ):

            def make(share: float) -> ModelArtifact:
                folder = Path(scratch) / f"{share:.4f}"
                folder.mkdir()
                self.cut(folder, {**self.params.budgets, "macs": share})
                cut = program.read(folder / "model.pdmodel", folder / "model.pdiparams")
                manifest = paddle_manifest(self.source, folder, cut, self.source.manifest.lineage[-1:])
                return ModelArtifact(folder, manifest)

            return macs_for_latency(make, watch.ratio, wanted)


class _FromWeights(_Pruning):
    """Prunes by the weights alone."""

    def __enter__(self) -> _FromWeights:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def cut(self, out: Path, budgets: Budgets) -> None:
        params, graph = self.params, analyze(self.before)
        how = {"criterion": params.criterion, "align": params.align, "least_kept": params.least_kept}
        prune_to_budgets(graph, budgets, params.widths, **how).program.write(out)

    def prune(self, out: Path, *, budgets: Budgets | None, ratio: float | None) -> dict[str, Any]:
        if budgets:
            self.cut(out, budgets)
        else:
            self._to_ratio(ratio).program.write(out)
        return {}

    def _to_ratio(self, ratio: float) -> Pruned:
        return prune(self.before, ratio, criterion=self.params.criterion, align=self.params.align)


class _FromImages(_Pruning):
    """Prunes in a worker that uses images."""

    def __enter__(self) -> _FromImages:
        data, manifest, context = self.context.images("pruning by images"), self.source.manifest, self.context
        same = data.labelled and data.num_classes == manifest.num_classes
        classes = manifest.num_classes if same else None
        job = PruneJob(
            model={role: str(self.source.file(role)) for role in ("model", "params")},
            options=PruneOptions.model_validate(self.params.model_dump(include=set(PruneOptions.model_fields))),
            classes=classes,
            preprocess=manifest.preprocess,
            data=DatasetSpec.of(data, classes),
            seed=context.seed,
        )
        how = {"threads": context.threads, "environment": fast_products()}
        self._worker = Worker(_WORKER, needs="paddle", own_code=True, name="pruning", **how)
        try:
            self._call("begin", job=job.model_dump_json())
        except BaseException:
            self._worker.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._worker.close()

    def _call(self, command: str, **arguments: Any) -> dict[str, Any]:
        return self._worker.call(command, arguments, timeout_s=self.context.timeout_s)[0]

    def cut(self, out: Path, budgets: Budgets) -> None:
        self._call("cut", budgets=budgets, out=str(out))

    def prune(self, out: Path, *, budgets: Budgets | None, ratio: float | dict[str, float] | None) -> dict[str, Any]:
        return self._call("prune", budgets=budgets, ratio=ratio, out=str(out))

    def _ratios(self) -> dict[str, float]:
        file = Path(self.params.sensitivities_file)
        if self.params.measure and (not file.is_file() or sensitivity.is_measured_here(file)):
            left = 1
            with self.context.progress("sensitivities", None) as bar:
                while left:
                    left = self._call("sensitivities", file=str(file.resolve()), most=_MEASURED_AT_ONCE)["left"]
                    bar.advance(_MEASURED_AT_ONCE)
        return self._known(sensitivity.ratios_by_loss(sensitivity.load(file), self.params.eval_metric_loss), file)

    def _known(self, ratios: dict[str, float], file: Path) -> dict[str, float]:
        names = {name for group in analyze(self.before).groups for name, _ in group.sources}
        if not names & ratios.keys():
            raise MismatchError(
                f"{file}: sensitivities of another model",
                cause=f"it lists {', '.join(sorted(ratios)[:_LISTED]) or 'nothing'}, but no channels of this model",
                hint="name a new file: the sensitivities of a trained model are then measured",
            )
        return {name: ratio for name, ratio in ratios.items() if name in names}


def paddle_manifest(source: ModelArtifact, out_dir: Path, changed: program.Program, lineage) -> Manifest:
    """Writes a program with the inputs and outputs of `source` and returns its manifest."""
    model, params = changed.write(out_dir)
    return source.manifest.model_copy(
        update={
            "files": (file_entry(out_dir, model.name), file_entry(out_dir, params.name, "params")),
            "inputs": tuple(changed.inputs()),
            "outputs": tuple(
                new.model_copy(update={"semantics": old.semantics})
                for new, old in zip(changed.outputs(), source.manifest.outputs, strict=True)
            ),
            "lineage": (*source.manifest.lineage, lineage),
            "sample": None,
        }
    )


def notes(before: program.Program, after: program.Program, frozen_because: dict[str, list[str]]) -> tuple[str, ...]:
    """Returns notes on what was cut and what could not be."""
    costs = _costs(before, after)
    lines = [
        f"multiply-accumulates {costs['macs'][0]:,} -> {costs['macs'][1]:,} "
        f"({1 - costs['macs'][1] / max(1, costs['macs'][0]):.1%} less)",
        f"parameters {costs['parameters'][0]:,} -> {costs['parameters'][1]:,}",
    ]
    for reason, names in frozen_because.items():
        more = f" and {len(names) - _LISTED} more" if len(names) > _LISTED else ""
        lines.append(f"not cut, {reason}: {', '.join(names[:_LISTED])}{more}")
    return tuple(lines)


def _costs(before: program.Program, after: program.Program) -> dict[str, tuple[int, int]]:
    return {"macs": (macs(before), macs(after)), "parameters": (parameters(before), parameters(after))}

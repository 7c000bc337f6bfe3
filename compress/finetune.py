"""Fine-tuning as a step of the pipe: a worker trains, this side follows."""

from __future__ import annotations

import shutil
from pathlib import Path

from pydantic import Field

from segexport.artifact import LineageEntry, Manifest, ModelArtifact, digest_of, file_digest, file_entry, read_artifact
from segexport.compress.batches import Augmentation
from segexport.compress.prune_step import paddle_manifest
from segexport.compress.training_options import LOG, Losses, TrainingOptions
from segexport.errors import InputError
from segexport.exporter import program
from segexport.process.worker import Worker
from segexport.reading.model_files import find_model
from segexport.spec import Format, Frozen
from segexport.step import StepContext, lineage_entry
from segexport.store import default_root

_WORKER = Path(__file__).parent / "workers" / "finetune_worker.py"
_REPORTS = 50  # how often progress is told


class Finetune:
    """Trains a program on the data's labels, on what a teacher says of its images, or on both."""

    kind = "finetune"
    version = "1"
    accepts = Format.PADDLE
    produces = Format.PADDLE
    needs = ("paddle",)
    uses_data = True

    class Params(Frozen):
        """How to train; see `TrainingOptions`, whose fields these are.

        Attributes:
            teacher: A Paddle export to learn from, usually the one that was pruned.
            batch: Images per step.
        """

        steps: int = Field(gt=0)
        batch: int = Field(default=4, gt=0)
        teacher: str = ""
        optimizer: str = Field(default="adamw", pattern="^(adamw|momentum)$")
        learning_rate: float = Field(default=1e-3, gt=0)
        schedule: str = Field(default="poly", pattern="^(poly|cosine)$")
        warmup: int = Field(default=0, ge=0)
        weight_decay: float = Field(default=1e-4, ge=0)
        losses: Losses = Losses()
        features: tuple[str, ...] = ()
        temperature: float = Field(default=1.0, gt=0)
        ema: float = Field(default=0.0, ge=0, lt=1)
        save_every: int = Field(default=200, gt=0)
        augmentation: Augmentation = Augmentation()

    def __init__(self, params: Params) -> None:
        self.params = params

    def run(self, source: ModelArtifact, out_dir: Path, context: StepContext) -> Manifest:
        """Writes `model.pdmodel`, `model.pdiparams` and `training.jsonl`, a line for each step.

        A run that was killed goes on from its last checkpoint.

        Raises:
            InputError: No images, images without labels and no teacher, a teacher that does not fit, an image that
                cannot be read, or a training that diverged.
        """
        data = context.images("fine-tuning")
        options = self._options(context)
        if not data.labelled and not options.losses.needs_teacher:
            raise InputError(
                f"{data.root}: the images have no labels, and no distillation loss has a weight",
                hint="set losses.kl or losses.cwd, and name a teacher",
            )
        arguments = {
            "student": {role: str(source.file(role)) for role in ("model", "params")},
            "teacher": self._teacher(),
            "options": options.model_dump_json(),
            "preprocess": source.manifest.preprocess.model_dump_json(),
            "augmentation": self.params.augmentation.model_dump_json(),
            "batch": self.params.batch,
            "data": {
                "root": str(data.root),
                "split": data.split,
                "num_classes": source.manifest.num_classes if data.labelled else None,
                "ignore_index": data.ignore_index,
            },
            "folder": str(default_root() / "training" / (context.key or "unnamed")),
        }
        with Worker(_WORKER, needs="paddle", threads=context.threads, name="fine-tuning") as worker:
            answer, _ = worker.call("begin", arguments, timeout_s=context.timeout_s)
            step = answer["step"]
            with context.progress("fine-tuning", options.steps) as bar:
                bar.advance(step)
                while step < options.steps:
                    until = min(options.steps, step + max(1, options.steps // _REPORTS))
                    answer, _ = worker.call("advance", {"until": until}, timeout_s=context.timeout_s)
                    bar.advance(answer["step"] - step)
                    step = answer["step"]
            worker.call("finish", {"out": str(out_dir)}, timeout_s=context.timeout_s)
        shutil.copyfile(Path(arguments["folder"]) / LOG, out_dir / LOG)
        shutil.rmtree(arguments["folder"], ignore_errors=True)  # nothing is left to go on with
        trained = program.read(out_dir / "model.pdmodel", out_dir / "model.pdiparams")
        manifest = paddle_manifest(source, out_dir, trained, self._lineage(context, arguments["teacher"]))
        return manifest.model_copy(update={"files": (*manifest.files, file_entry(out_dir, LOG, "other"))})

    def _lineage(self, context: StepContext, teacher: dict[str, str]) -> LineageEntry:
        """The teacher by its digest: an artifact holds no path of the machine that made it."""
        entry = lineage_entry(self, context.key)
        digest = digest_of({role: file_digest(Path(path)) for role, path in teacher.items()}) if teacher else ""
        return entry.model_copy(update={"params": {**entry.params, "teacher": digest}})

    def _options(self, context: StepContext) -> TrainingOptions:
        own = self.params.model_dump(include=set(TrainingOptions.model_fields) & set(type(self.params).model_fields))
        return TrainingOptions.model_validate({**own, "seed": context.seed})

    def _teacher(self) -> dict[str, str]:
        if not self.params.teacher:
            return {}
        files = find_model(Path(self.params.teacher))
        if files.kind == "artifact":
            artifact = read_artifact(files.folder)
            return {role: str(artifact.file(role)) for role in ("model", "params")}
        return {"model": str(files.model), "params": str(files.params)}

"""The fine-tuning step: prepares the training, which runs in separate processes, and follows its progress."""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Iterator
from dataclasses import replace
from itertools import chain
from pathlib import Path
from typing import Any

from pydantic import AliasChoices, Field, model_validator

from segexport.artifact import Manifest, ModelArtifact, digest_of, file_digest, file_entry
from segexport.compress import checkpoint, processes
from segexport.compress.batches import Augmentation
from segexport.compress.new_classes import with_classes
from segexport.compress.prune_step import paddle_manifest
from segexport.compress.training_job import DatasetSpec, Job
from segexport.compress.training_options import (
    EVALUATIONS,
    LOG,
    CourseOptions,
    LearningOptions,
    TrainingOptions,
    require_class_weight,
)
from segexport.data.dataset import Dataset
from segexport.data.label_scan import count_pixels, require_counted, require_trainable
from segexport.errors import DataError, MismatchError, OptionError
from segexport.exporter import program
from segexport.exporter.from_paddle import ImportOptions, import_model
from segexport.exporter.quantized_program import require_float
from segexport.exporter.truncate import cut
from segexport.files.lock import only_user
from segexport.files.store import TRAINING, Store, default_root
from segexport.importers.model_files import find_model
from segexport.pipeline.step import StepContext, lineage_entry
from segexport.spec import Format, Label
from segexport.ui.pictures import default_labels

_PLACES = ("teacher", "save_dir", "log_dir")  # paths that do not change the result


class Finetune:
    """Trains a program on labels, on a teacher's outputs, or on both.

    Data with other classes gets a new head; classes that the model has by name keep their weights.
    """

    kind = "finetune"
    version = "3"
    accepts = Format.PADDLE
    produces = Format.PADDLE
    needs = ("paddle",)
    uses_data = True
    worker = processes.WORKER  # the worker file for training

    class Params(LearningOptions, CourseOptions):
        """Training parameters, named as the options of `segexport finetune`.

        Attributes:
            steps, num_epochs: Length of the training; give one of them.
            batch_size: Images per step, over all processes.
            teacher: Paddle export to learn from, usually the model before pruning.
            new_head: Whether to create a new head although the number of classes is the same.
            device: `cpu` or `gpu:N`.
            processes: Number of processes of `paddle.distributed.launch`, one device each.
            save_dir: Folder for checkpoint, logs and best weights; default: the cache, until the training ends.
            log_dir: Folder for TensorBoard files.
        """

        steps: int | None = Field(default=None, gt=0)
        num_epochs: int | None = Field(default=None, gt=0)
        batch_size: int = Field(default=4, gt=0, validation_alias=AliasChoices("batch_size", "batch"))
        teacher: str = ""
        augmentation: Augmentation = Augmentation()
        new_head: bool = False
        device: str = "cpu"
        processes: int = Field(default=1, ge=1)
        save_dir: str = ""
        log_dir: str = ""

        @model_validator(mode="after")
        def _one_length(self) -> Finetune.Params:
            if (self.steps is None) == (self.num_epochs is None):
                raise ValueError("give `steps` or `num_epochs`, one of them")
            if self.batch_size < self.processes:
                raise ValueError(f"{self.processes} processes share a batch of {self.batch_size} images")
            return self

    def __init__(self, params: Params) -> None:
        self.params = params

    def key_params(self) -> dict[str, Any]:
        """Returns the parameters for the cache key: the teacher by content, without paths."""
        values = self.params.model_dump(mode="json", exclude=set(_PLACES))
        teacher = ""
        if self.params.teacher:
            files = find_model(Path(self.params.teacher))
            teacher = digest_of([file_digest(file) for file in (files.model, files.params) if file is not None])
        return {**values, "teacher": teacher}

    def run(self, source: ModelArtifact, out_dir: Path, context: StepContext) -> Manifest:
        """Writes `model.pdmodel`, `model.pdiparams`, `training.jsonl` with one line per step, and `evaluations.jsonl`.

        A killed run resumes from its last checkpoint. With `context.validation` the model is evaluated between epochs
        and the best weights are kept, else the last ones.

        Raises:
            InputError: There are no images, neither labels nor a teacher, or classes that differ from the model's
                without names; the teacher does not fit, a file cannot be read, or the training diverged.
            UnsupportedModelError: The model is quantized.
        """
        require_float(source, "training")
        data, validation = context.images("fine-tuning"), context.validation
        if not data.labelled and not self.params.losses.needs_teacher:
            raise DataError(
                f"{data.root}: the images have no labels, and no distillation loss has a weight",
                hint="set losses.kl or losses.cwd, and name a teacher",
            )
        if self.params.precision != "fp32" and self.params.device == "cpu":
            raise OptionError(
                f"precision {self.params.precision}: mixed precision trains on a GPU only",
                cause="Paddle always computes in fp32 on a CPU",
                hint="leave it out, or train with device gpu:0",
            )
        labels, origin = self._classes(source.manifest, data)
        require_class_weight(self.params, len(labels))
        if validation is not None:
            _require_same_classes(data, validation)
        pixels = None
        if data.labelled:
            counted = count_pixels(_with_range(data, len(labels)), len(labels), context.progress)
            require_trainable(data, counted, [label.name for label in labels])
            pixels = counted.classes
        if validation is not None:
            counted = count_pixels(_with_range(validation, len(labels)), len(labels), context.progress)
            require_counted(validation, counted)
        key = context.key or "unnamed"
        folder = Path(self.params.save_dir) if self.params.save_dir else default_root() / TRAINING / key
        folder.mkdir(parents=True, exist_ok=True)
        with only_user(folder, "this training"):
            student = {role: str(source.file(role)) for role in ("model", "params")}
            if origin is not None:
                before = program.read(source.file("model"), source.file("params"))
                shares = None if pixels is None else pixels / pixels.sum()
                model, params = with_classes(before, origin, shares).write(folder, "student")
                student = {"model": str(model), "params": str(params)}
            job = self._job(source, data, validation, student, len(labels), folder, context)
            more = self._more_arguments(source, context)
            if own_teacher := more.pop("teacher", None):
                job = job.model_copy(update={"teacher": own_teacher})
            before_training = _told_warmup(job.options)
            for note in before_training:
                context.say(note)
            notes = (*self._train(job, more, out_dir, context), *before_training, *self._more_notes())
            if origin is not None:
                notes = (_told_head(source.manifest.num_classes, labels, origin), *notes)
            for name in (LOG, EVALUATIONS):
                shutil.copyfile(folder / name, out_dir / name)
            if not self.params.save_dir:
                shutil.rmtree(folder, ignore_errors=True)  # no checkpoint is needed any more
        trained = program.read(out_dir / "model.pdmodel", out_dir / "model.pdiparams")
        if len(self.params.multi_loss_weight) > 1:
            notes = (*notes, f"auxiliary heads, taken off: {len(self.params.multi_loss_weight) - 1}")
            trained = cut(trained, trained.fetch_names[:1])
            main = source.manifest.model_copy(update={"outputs": source.manifest.outputs[:1]})
            source = replace(source, manifest=main)
        manifest = paddle_manifest(source, out_dir, trained, lineage_entry(self, context.key, notes))
        logs = tuple(file_entry(out_dir, name, "other") for name in (LOG, EVALUATIONS))
        return manifest.model_copy(update={"files": (*manifest.files, *logs), "labels": labels})

    # -- what a step that trains otherwise changes -----------------------------------------------------------------

    def _more_arguments(self, source: ModelArtifact, context: StepContext) -> dict[str, Any]:
        """Returns the worker's arguments besides the job; `teacher`: files of the default teacher."""
        return {}

    def _more_notes(self) -> tuple[str, ...]:
        """Returns further lineage notes."""
        return ()

    # -- parts -----------------------------------------------------------------------------------------------------

    def _classes(self, manifest: Manifest, data: Dataset) -> tuple[tuple[Label, ...], tuple[int | None, ...] | None]:
        """Returns the labels after training and, for a new head, each label's class in the model."""
        own = manifest.labels
        if not data.labelled or data.labels is None or (len(data.labels) == len(own) and not self.params.new_head):
            if data.labelled and data.labels is None and data.num_classes not in (None, len(own)):
                raise MismatchError(f"{data.root}: {data.num_classes} classes, the model has {len(own)}")
            return own, None
        if len(data.labels) < 2:
            raise DataError(f"{data.root}/labels.txt: one class, at least two are needed")
        known = {label.name: label.id for label in own}
        return default_labels(data.labels), tuple(known.get(name) for name in data.labels)

    def _job(
        self,
        source: ModelArtifact,
        data: Dataset,
        validation: Dataset | None,
        student: dict[str, str],
        classes: int,
        folder: Path,
        context: StepContext,
    ) -> Job:
        params = self.params
        given = params.model_dump()
        steps = params.steps or math.ceil((params.num_epochs or 1) * len(data) / params.batch_size)
        own = {name: given[name] for name in LearningOptions.model_fields}
        options = TrainingOptions.model_validate(
            {**own, "steps": steps, "seed": context.seed, "ignore_index": data.ignore_index}
        )
        images = DatasetSpec.of(data, classes if data.labelled else None)
        measured = DatasetSpec.of(validation, classes) if validation is not None else None
        seen = [images.model_dump(exclude={"root"}), params.batch_size, params.processes, classes]
        seen.append(measured.model_dump(exclude={"root"}) if measured else None)
        return Job(
            student=student,
            teacher=_teacher(params.teacher),
            options=options,
            course=CourseOptions.model_validate({name: given[name] for name in CourseOptions.model_fields}),
            preprocess=source.manifest.preprocess,
            augmentation=params.augmentation,
            classes=classes,
            batch_size=params.batch_size,
            data=images,
            validation=measured,
            folder=str(folder),
            log_folder=params.log_dir,
            device=params.device,
            data_digest=digest_of(seen),
        )

    def _train(self, job: Job, more: dict[str, Any], out_dir: Path, context: StepContext) -> tuple[str, ...]:
        """Runs the training to its end; returns notes."""
        limits = {"threads": context.threads, "timeout_s": context.timeout_s}
        answers: Iterator[dict[str, Any]]
        if self.params.processes == 1:
            answers = processes.alone(job, out_dir, script=self.worker, more=more, **limits)
        elif self.worker is processes.WORKER:
            answers = processes.several(job, self.params.processes, out_dir, **limits)
        else:
            raise OptionError(f"step {self.kind} trains in one process, not in {self.params.processes}")
        try:
            first = next(answers)
            if step := first["step"]:
                context.say(f"fine-tuning resumes from step {step}")
            with context.progress("fine-tuning", max(1, job.options.steps - step)) as bar:
                for answer in chain([first], answers):
                    bar.advance(answer["step"] - step)
                    step = answer["step"]
                    for event in answer["events"]:
                        context.say(_told_evaluation(event))
        except (Exception, KeyboardInterrupt):
            if (Path(job.folder) / checkpoint.NAME).is_file():
                context.say(f"the training so far is kept in {job.folder}; the same command resumes it")
            raise
        context.say(f"{step} steps, {answer['waited_s'] / max(answer['worked_s'], 1e-9):.1%} of the time for data")
        return _told_course(step, job.options.steps, Path(job.folder))


def _told_warmup(options: TrainingOptions) -> tuple[str, ...]:
    if options.warmup_steps < options.steps:
        return ()
    reached = options.steps / options.warmup_steps
    return (
        f"the warmup of {options.warmup_steps} steps does not end in the {options.steps} of the training: "
        f"the learning rate reaches {reached:.0%} of {options.learning_rate:g}",
    )


def _teacher(path: str) -> dict[str, str]:
    """Returns the files of a Paddle export, including Paddle 3's."""
    if not path:
        return {}
    artifact = import_model(Path(path), ImportOptions(), Store())
    if artifact.manifest.format != Format.PADDLE:
        raise OptionError(
            f"{path}: a {artifact.manifest.format} model cannot be the teacher",
            hint="give the Paddle export that it was made from",
        )
    return {role: str(artifact.file(role)) for role in ("model", "params")}


def _with_range(data: Dataset, classes: int) -> Dataset:
    return DatasetSpec.of(data, classes).open()


def _require_same_classes(data: Dataset, validation: Dataset) -> None:
    if not validation.labelled:
        raise DataError(f"{validation.root}: the images of {validation.split} have no labels to measure with")
    if validation.labels != data.labels:
        raise MismatchError(f"{validation.root} and {data.root} have different classes")


def _told_head(before: int, labels: tuple[Label, ...], origin: tuple[int | None, ...]) -> str:
    kept = [label.name for label, known in zip(labels, origin, strict=True) if known is not None]
    named = f"; {', '.join(kept)} kept their weights" if kept else ""
    return f"new head: {before} -> {len(labels)} classes{named}"


def _told_evaluation(event: dict[str, Any]) -> str:
    loss = "" if event["loss"] is None else f"loss {event['loss']:.4f}, "
    miou = "–" if event["miou"] is None else f"{event['miou']:.4f}"
    more = ", the best so far" if event["best"] and event["step"] else ""
    stop = "; no better for a while, stopped" if event["stopped"] else ""
    when = f"epoch {event['epoch']:g}" if event["step"] else "before training"
    return f"{when}: {loss}mIoU {miou}{more}{stop}"


def _told_course(step: int, steps: int, folder: Path) -> tuple[str, ...]:
    lines = (folder / EVALUATIONS).read_text().splitlines()
    evaluations = [json.loads(line) for line in lines]
    notes = [f"{step} of {steps} steps"]
    if best := [entry for entry in evaluations if entry["best"] and entry["miou"] is not None]:
        when = f"epoch {best[-1]['epoch']:g}" if best[-1]["step"] else "the initial weights, which training made worse"
        notes.append(f"kept: {when}, mIoU {best[-1]['miou']:.4f}")
    return tuple(notes)

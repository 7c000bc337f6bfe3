"""`segexport finetune`: runs the step `finetune`, cached like every step, and copies the result."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from segexport.artifact import ModelArtifact, digest_of
from segexport.data.dataset import Dataset
from segexport.errors import DataError, MissingInputError, OptionError, UnreadableError
from segexport.exporter.from_paddle import ImportOptions, import_model
from segexport.files.output_folder import place_artifact, require_free
from segexport.files.store import Store
from segexport.files.yaml_reader import read_yaml
from segexport.pipeline.entry_points import load
from segexport.pipeline.plan import Planned, PlanRunner
from segexport.pipeline.registry import make_step
from segexport.pipeline.step import StepContext, check_chain, content_key
from segexport.progress import SILENCE, Feedback
from segexport.records.run_log import open_logs, record_of_training

NO_SPLIT = "none"
_CHECKPOINT = "checkpoint.npz"


@dataclass(frozen=True, kw_only=True)
class FinetuneOptions:
    """Options of `segexport finetune`; `compress.training_options` describes each.

    Attributes:
        data: Folder with the lists `split` and `val_split`.
        val_split: Image list for validation between epochs; `none`: no validation; None: `val`, if present.
        num_epochs, steps: Length of the training; give one of the two.
        losses: `NAME` or `NAME=WEIGHT`.
        class_weight: `dynamic`, or one number per class, separated by commas.
        multi_loss_weight: Weight of the losses at each output of a model with auxiliary heads; these heads are removed
            at the end.
        augmentation: YAML file of `albumentations.save`.
        save_dir: Folder for checkpoint, logs and best weights; None: in the cache.
        resume_checkpoint: The `save_dir` of a training to resume.
        log_dir: Folder for the curves of the training, as TensorBoard events.
        log: Trackers of the finished training, `mlflow:URI` or `tensorboard:DIR`; see `records.run_log`.
        teacher: A Paddle export with the same classes, for distillation.
        timeout_s: Time limit of 20 steps and a validation, in seconds.
    """

    data: Path
    split: str = "train"
    val_split: str | None = None
    num_epochs: int | None = None
    steps: int | None = None
    batch_size: int = 4
    learning_rate: float = 1e-3
    lr_decay: str = "poly"
    lr_decay_power: float = 0.9
    warmup_steps: int = 0
    optimizer: str = "adamw"
    momentum: float = 0.9
    weight_decay: float = 1e-4
    losses: tuple[str, ...] = ()
    class_weight: str | None = None
    multi_loss_weight: tuple[float, ...] = (1.0,)
    augmentation: Path | None = None
    ema: float = 0.0
    save_interval_epochs: int = 1
    early_stop: bool = False
    early_stop_patience: int = 5
    save_dir: Path | None = None
    resume_checkpoint: Path | None = None
    log_dir: Path | None = None
    log_interval_steps: int = 10
    log: tuple[str, ...] = ()
    teacher: Path | None = None
    new_head: bool = False
    precision: str = "fp32"
    device: str = "cpu"
    processes: int = 1
    threads: int = 1
    timeout_s: float = 3600.0
    seed: int = 0


def finetune(
    model: Path, output: Path, importing: ImportOptions, options: FinetuneOptions, *, feedback: Feedback = SILENCE
) -> ModelArtifact:
    """Fine-tunes a Paddle export on a data set.

    The same command reuses a finished training, and resumes one that was killed.

    Raises:
        SegexportError: Model, data or options cannot be used, or the training fails.
    """
    require_free(output)
    log = open_logs(options.log)
    data = Dataset.open(options.data, options.split, ignore_index=importing.ignore_index)
    store = Store()
    importing = importing.model_copy(update={"fallback_labels": data.labels})
    source = import_model(model, importing, store)
    feedback.warn_of(source)
    made = place_artifact(train_on(data, source, output.name, options, store, feedback), output)
    log(record_of_training(made), feedback)
    return made


def train_on(
    data: Dataset, source: ModelArtifact, name: str, options: FinetuneOptions, store: Store, feedback: Feedback
) -> ModelArtifact:
    """Trains a model on images, or loads it from the store.

    Args:
        name: Name of the model in the progress.

    Raises:
        SegexportError: Model, data or options cannot be used, or the training fails.
    """
    validation = _validation(data, options)
    step = make_step("finetune", _params(options))
    check_chain([step], source.manifest.format)
    if options.early_stop and validation is None:
        raise OptionError("--early-stop needs images to measure the model on", hint="name their list: --val-split val")
    seen = digest_of([data.fingerprint, validation.fingerprint if validation else ""])
    start = digest_of([source.digest, source.manifest.source_sha256])
    chain = (Planned(step, content_key(step, start, seen, options.seed)),)
    context = StepContext(
        data=data,
        seed=options.seed,
        threads=options.threads,
        timeout_s=options.timeout_s,
        progress=feedback.progress,
        validation=validation,
        say=feedback.say,
    )
    return PlanRunner(store, context, feedback.say).build(name, source, chain)


def _validation(data: Dataset, options: FinetuneOptions) -> Dataset | None:
    """The images of `val_split`, or of `val` if present."""
    split = options.val_split
    if split == NO_SPLIT or (split is None and not (data.root / "val.txt").is_file()):
        return None
    split = split or "val"
    if split == data.split:
        raise OptionError(
            f"{split!r} is the training list",
            cause="validation on training images overestimates the accuracy",
            hint=f"segexport data split {data.root} makes two lists; --val-split {NO_SPLIT} skips validation",
        )
    found = Dataset.open(data.root, split, ignore_index=data.ignore_index)
    if not found.labelled:
        raise DataError(
            f"{found.root}/{split}.txt: the images have no labels to measure the model with",
            hint=f"--val-split {NO_SPLIT}",
        )
    return found


def _params(options: FinetuneOptions) -> dict[str, Any]:
    """Converts the options to the step's parameters."""
    if options.steps is None and options.num_epochs is None:
        raise OptionError("no training length", hint="give --num-epochs, or --steps")
    if options.steps is not None and options.num_epochs is not None:
        raise OptionError("--steps and --num-epochs: both are the length of the training", hint="give one of them")
    taken = load("step", "finetune").Params.model_fields
    params = {name: value for name, value in vars(options).items() if name in taken}
    params["losses"] = _losses(options.losses)
    params["class_weight"] = _class_weight(options.class_weight)
    params["augmentation"] = {"pipeline": _pipeline(options.augmentation)} if options.augmentation else {}
    params["teacher"] = str(options.teacher or "")
    params["log_dir"] = str(options.log_dir.resolve()) if options.log_dir else ""
    resumed, save_dir = options.resume_checkpoint, options.save_dir
    if resumed is not None:
        if save_dir is not None and save_dir != resumed:
            raise OptionError("--save-dir and --resume-checkpoint name two folders", hint="give one of them")
        if not (resumed / _CHECKPOINT).is_file():
            raise MissingInputError(f"{resumed}: no {_CHECKPOINT} to resume", hint="give the folder of --save-dir")
    folder = resumed or save_dir
    params["save_dir"] = str(folder.resolve()) if folder else ""
    return params


def _losses(given: tuple[str, ...]) -> dict[str, float]:
    """Loss name -> weight, from `dice=0.5` or `lovasz` (weight 1); others have weight 0."""
    from segexport.compress.training_options import Losses

    losses = {"cross_entropy": 0.0} if given else {}
    for text in given:
        name, _, weight = text.partition("=")
        if name not in Losses.model_fields:
            raise OptionError(
                f"--loss {text}: there is no loss {name!r}", hint=f"there are {', '.join(Losses.model_fields)}"
            )
        try:
            losses[name] = float(weight) if weight else 1.0
        except ValueError:
            raise OptionError(
                f"--loss {text}: {weight!r} is not a number", hint="for example --loss dice=0.5"
            ) from None
    return losses


def _pipeline(path: Path) -> dict[str, Any]:
    found = read_yaml(path)
    if not isinstance(found, dict) or "transform" not in found:
        raise UnreadableError(
            f"{path}: no pipeline of albumentations",
            hint="write one with albumentations.save(transform, FILE, data_format='yaml')",
        )
    return found


def _class_weight(given: str | None) -> str | tuple[float, ...] | None:
    if given is None:
        return None
    if given.lower() == "dynamic":
        return "dynamic"
    try:
        return tuple(float(part) for part in given.split(","))
    except ValueError:
        raise OptionError(
            f"--class-weight {given}: not numbers", hint="--class-weight dynamic, or one for each class: 1,2.5,0.3"
        ) from None

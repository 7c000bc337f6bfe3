"""`segexport train`: trains a network of PaddleSeg, given by its name or its configuration."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from segexport.artifact import ModelArtifact
from segexport.commands.finetune import FinetuneOptions, train_on
from segexport.data.dataset import Dataset
from segexport.data.images import image_size
from segexport.errors import DataError, MismatchError, OptionError
from segexport.exporter.from_paddle import ImportOptions, new_model
from segexport.exporter.mask_output import FIRST
from segexport.exporter.paddleseg_network import PaddleSegNetwork
from segexport.exporter.set_head import SetHead
from segexport.files.output_folder import place_artifact, require_free
from segexport.files.pinned_download import local_file
from segexport.files.store import Store
from segexport.importers.training_config import TrainingConfig, plain_arguments, read_training_config
from segexport.pipeline.plan import PlanRunner, planned
from segexport.pipeline.registry import make_step
from segexport.pipeline.step import StepContext
from segexport.preprocess import place
from segexport.progress import SILENCE, Feedback
from segexport.records.run_log import open_logs, record_of_training
from segexport.spec import HeadKind

_CONFIGS = (".yml", ".yaml")
_DEFAULT = [{"type": "Normalize"}]  # of a network without transforms


@dataclass(frozen=True, kw_only=True)
class NetworkOptions:
    """Options of the network to train.

    Attributes:
        backbone: Name of a backbone in PaddleSeg, for networks that have one.
        option: Parameters of the network, `NAME=VALUE`, or of its backbone, `backbone.NAME=VALUE`.
        num_classes: Number of classes; None: as in labels.txt.
        image_size: (width, height) for resizing; None: as in the configuration, or the images' own size.
        pretrained: A local checkpoint, or its URL with `#sha256=DIGEST`; training begins with those of its weights that
            match the network.
        sensitivities_file: Sensitivities of a trained network of this kind, as the step `prune` measures them; the
            untrained network is pruned by them.
        eval_metric_loss: Fraction of the metric that the pruning of one layer may cost, by that file.
        width: Width multiplier (Howard et al. 2017, MobileNets, section 3.3): fraction of the channels of each layer
            that the untrained network keeps; 1: all.
        head: Output of the trained network.
        ignore_index: Label of pixels to ignore.
        paddleseg: Checkout of the PaddleSeg that builds the network; None: the toolchain's.
    """

    backbone: str | None = None
    option: tuple[str, ...] = ()
    num_classes: int | None = None
    image_size: tuple[int, int] | None = None
    pretrained: Path | str | None = None
    sensitivities_file: Path | None = None
    eval_metric_loss: float = 0.05
    width: float = 1.0
    head: HeadKind = "argmax"
    ignore_index: int | None = None
    paddleseg: Path | None = None


def train(
    network: str, output: Path, wanted: NetworkOptions, options: FinetuneOptions, *, feedback: Feedback = SILENCE
) -> ModelArtifact:
    """Trains a network of PaddleSeg from random weights, or from those of another.

    The same command reuses a finished training, and resumes one that was killed. A configuration gives the network and
    the transforms of validation; `options` give losses, optimizer, schedule and augmentation.

    Args:
        network: A name in PaddleSeg, such as `PPLiteSeg`, or the path of a configuration.

    Raises:
        SegexportError: PaddleSeg does not have the network, data or options cannot be used, or the training fails.
    """
    require_free(output)
    if wanted.width < 1 and wanted.sensitivities_file is not None:
        raise OptionError("--width and --sensitivities-file: both set the number of channels", hint="give one of them")
    log = open_logs(options.log)
    config = _config(network, wanted)
    ignored = config.ignore_index if wanted.ignore_index is None else wanted.ignore_index
    data = Dataset.open(options.data, options.split, ignore_index=ignored)
    config.model["num_classes"] = _classes(config, wanted, data)
    size = _input_size(config, data)
    config = _with_resize(config, size)
    importing = ImportOptions(labels=data.labels, input_size=size, mask_output=FIRST, ignore_index=ignored)
    store = Store()
    pretrained = None if wanted.pretrained is None else local_file(wanted.pretrained, store, feedback=feedback)
    untrained = new_model(
        PaddleSegNetwork(config, wanted.paddleseg),
        importing,
        store,
        heads=len(options.multi_loss_weight),
        pretrained=pretrained,
        seed=options.seed,
    )
    feedback.warn_of(untrained)
    if wanted.sensitivities_file is not None:  # as PaddleX does before a training
        by = {"sensitivities_file": str(wanted.sensitivities_file), "eval_metric_loss": wanted.eval_metric_loss}
        untrained = _pruned(untrained, {**by, "measure": False}, data, store, feedback)
    elif wanted.width < 1:
        untrained = _pruned(untrained, {"ratio": 1 - wanted.width}, data, store, feedback)
    trained = train_on(data, untrained, output.name, options, store, feedback)
    if wanted.head != "keep":
        chain = planned([SetHead(SetHead.Params(head=wanted.head))], trained)
        trained = PlanRunner(store, StepContext()).build(output.name, trained, chain)
    made = place_artifact(trained, output)
    log(record_of_training(made), feedback)
    return made


def _pruned(
    untrained: ModelArtifact, params: dict[str, Any], data: Dataset, store: Store, feedback: Feedback
) -> ModelArtifact:
    """Prunes an untrained network: its weights say nothing yet, so only the number of channels matters."""
    chain = planned([make_step("prune", params)], untrained, data.fingerprint)
    context = StepContext(data=data, progress=feedback.progress, say=feedback.say)
    return PlanRunner(store, context, feedback.say).build(untrained.manifest.name, untrained, chain)


def _config(network: str, wanted: NetworkOptions) -> TrainingConfig:
    """The configuration of the requested network, without the data's classes."""
    if network.endswith(_CONFIGS):
        config = read_training_config(Path(network))
    else:
        config = TrainingConfig(file=Path(network), model={"type": network}, transforms=_DEFAULT)
    model = dict(config.model)
    if wanted.backbone is not None:
        model["backbone"] = {"type": wanted.backbone}
    for pair in wanted.option:
        _set(model, pair)
    model = plain_arguments(config.file, model, "model")
    config = config.model_copy(update={"model": model, "dataset": ""})
    if wanted.image_size is None:
        return config
    given = _DEFAULT if config.transforms is None else config.transforms
    normalize = [each for each in given if isinstance(each, dict) and each.get("type") == "Normalize"]
    resize = {"type": "Resize", "target_size": list(wanted.image_size)}
    return config.model_copy(update={"transforms": [resize, *normalize]})


def _set(model: dict[str, Any], pair: str) -> None:
    """Sets `NAME=VALUE` or `backbone.NAME=VALUE`; the value is YAML."""
    name, equals, value = pair.partition("=")
    *sections, name = name.split(".")
    if not equals or not name:
        raise OptionError(f"--option {pair}: no value", hint="--option NAME=VALUE, or backbone.NAME=VALUE")
    if (sections or [name])[0] == "num_classes":
        raise OptionError(f"--option {pair}: the data decides the number of classes", hint="--num-classes N")
    place = model
    for section in sections:
        inner = place.get(section) or {}
        if not isinstance(inner, dict):
            raise OptionError(f"--option {pair}: {section} is {inner!r}, it has no parameters")
        place[section] = dict(inner)
        place = place[section]
    try:
        place[name] = yaml.safe_load(value)
    except yaml.YAMLError as error:
        raise OptionError(f"--option {pair}: not YAML", cause=" ".join(str(error).split())) from None


def _classes(config: TrainingConfig, wanted: NetworkOptions, data: Dataset) -> int:
    """The number of classes from the user, the data or the configuration, in this order."""
    named = None if data.labels is None else len(data.labels)
    if wanted.num_classes is not None and named not in (None, wanted.num_classes):
        raise MismatchError(f"{data.root}: labels.txt names {named} classes, --num-classes says {wanted.num_classes}")
    found = wanted.num_classes or named or config.model.get("num_classes")
    if found is None:
        raise DataError(
            f"{data.root}: the number of classes is unknown",
            hint="write labels.txt, one name per line, or give --num-classes N",
        )
    if found < 2:
        raise DataError(
            f"{data.root}: {found} class",
            cause="the background is a class too, so there are at least two",
            hint="name it in labels.txt: a line for each class, in the order of their ids",
        )
    return found


def _input_size(config: TrainingConfig, data: Dataset) -> tuple[int, int]:
    """(width, height) of the tensors, equal for all images."""
    preprocess = config.deploy_config(_channels(config), None).preprocess
    sizes = {place(preprocess, *image_size(data.root / entry.image)).tensor for entry in data.entries}
    if len(sizes) != 1:
        some: Sequence[tuple[int, int]] = sorted(sizes)[:3]
        raise DataError(
            f"{data.root}/{data.split}.txt: its images become tensors of {len(sizes)} sizes",
            cause=f"{', '.join(f'{width}x{height}' for width, height in some)}, ...; a batch needs one size",
            hint="resize them: --image-size WxH",
        )
    return sizes.pop()


def _with_resize(config: TrainingConfig, size: tuple[int, int]) -> TrainingConfig:
    """The configuration; if it has no size, with a resize to the network's fixed size."""
    if config.deploy_config(_channels(config), None).preprocess.geometry:
        return config
    resize = {"type": "Resize", "target_size": list(size)}
    others = _DEFAULT if config.transforms is None else config.transforms
    return config.model_copy(update={"transforms": [resize, *others]})


def _channels(config: TrainingConfig) -> int:
    backbone = config.model.get("backbone")
    return (backbone if isinstance(backbone, dict) else config.model).get("in_channels", 3)

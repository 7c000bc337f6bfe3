"""`segexport train`: a network of PaddleSeg, by its name or its configuration, is trained from nothing."""

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
from segexport.errors import InputError
from segexport.exporter.from_paddle import ImportOptions, new_model
from segexport.exporter.mask_output import FIRST
from segexport.exporter.paddleseg_network import PaddleSegNetwork
from segexport.exporter.set_head import SetHead
from segexport.files.output_folder import place_artifact, require_free
from segexport.files.store import Store
from segexport.importers.training_config import TrainingConfig, read_training_config
from segexport.pipeline.plan import PlanRunner, planned
from segexport.pipeline.step import StepContext
from segexport.preprocess import place
from segexport.progress import SILENCE, Feedback
from segexport.spec import HeadKind

_CONFIGS = (".yml", ".yaml")


@dataclass(frozen=True, kw_only=True)
class NetworkOptions:
    """What network is trained.

    Attributes:
        backbone: PaddleSeg's name of one, for networks that have one.
        option: `NAME=VALUE`: further parameters of the network, `backbone.NAME=VALUE` of its backbone.
        num_classes: None: as many as labels.txt names.
        image_size: (width, height) that images are resized to; None: as the configuration says, or as they are.
        pretrained: A local checkpoint whose weights are begun with, where they fit.
        head: What leaves the network that comes out.
        ignore_index: The label that does not count.
        paddleseg: Checkout of the PaddleSeg that builds the network; None: the toolchain's.
    """

    backbone: str | None = None
    option: tuple[str, ...] = ()
    num_classes: int | None = None
    image_size: tuple[int, int] | None = None
    pretrained: Path | None = None
    head: HeadKind = "argmax"
    ignore_index: int | None = None
    paddleseg: Path | None = None


def train(
    network: str, output: Path, wanted: NetworkOptions, options: FinetuneOptions, *, feedback: Feedback = SILENCE
) -> ModelArtifact:
    """Trains a network of PaddleSeg from random weights, or from those of another.

    The same command finds what is done already, and goes on where it was killed. Of a configuration the network and
    the transforms of validation are taken; losses, optimizer, schedule and augmentation are `options`.

    Args:
        network: A name in PaddleSeg, such as `PPLiteSeg`, or the path of a configuration.

    Raises:
        SegexportError: PaddleSeg has no such network, the data or options cannot be used, the training cannot go on.
    """
    require_free(output)
    config = _config(network, wanted)
    ignored = config.ignore_index if wanted.ignore_index is None else wanted.ignore_index
    data = Dataset.open(options.data, options.split, ignore_index=ignored)
    config.model["num_classes"] = _classes(config, wanted, data)
    size = _input_size(config, data)
    config = _with_resize(config, size)
    importing = ImportOptions(labels=data.labels, input_size=size, mask_output=FIRST, ignore_index=ignored)
    store = Store()
    untrained = new_model(
        PaddleSegNetwork(config, wanted.paddleseg),
        importing,
        store,
        heads=len(options.multi_loss_weight),
        pretrained=wanted.pretrained,
        seed=options.seed,
    )
    feedback.warn_of(untrained)
    trained = train_on(data, untrained, output.name, options, store, feedback)
    if wanted.head != "keep":
        chain = planned([SetHead(SetHead.Params(head=wanted.head))], trained)
        trained = PlanRunner(store, StepContext()).build(output.name, trained, chain)
    return place_artifact(trained, output)


def _config(network: str, wanted: NetworkOptions) -> TrainingConfig:
    """What a configuration would say of the network that is asked for; the data's classes are not yet in it."""
    if network.endswith(_CONFIGS):
        config = read_training_config(Path(network))
    else:
        config = TrainingConfig(file=Path(network), model={"type": network}, transforms=[{"type": "Normalize"}])
    model = dict(config.model)
    if wanted.backbone is not None:
        model["backbone"] = {"type": wanted.backbone}
    for pair in wanted.option:
        _set(model, pair)
    config = config.model_copy(update={"model": model, "dataset": ""})
    if wanted.image_size is None:
        return config
    normalize = [each for each in config.transforms or () if isinstance(each, dict) and each.get("type") == "Normalize"]
    resize = {"type": "Resize", "target_size": list(wanted.image_size)}
    return config.model_copy(update={"transforms": [resize, *normalize]})


def _set(model: dict[str, Any], pair: str) -> None:
    """Sets `NAME=VALUE` or `backbone.NAME=VALUE`; the value is YAML."""
    name, equals, value = pair.partition("=")
    *sections, name = name.split(".")
    if not equals or not name:
        raise InputError(f"--option {pair}: no value", hint="--option NAME=VALUE, or backbone.NAME=VALUE")
    place = model
    for section in sections:
        place[section] = dict(place.get(section) or {})
        place = place[section]
    try:
        place[name] = yaml.safe_load(value)
    except yaml.YAMLError as error:
        raise InputError(f"--option {pair}: not YAML", cause=" ".join(str(error).split())) from None


def _classes(config: TrainingConfig, wanted: NetworkOptions, data: Dataset) -> int:
    """As many as the user says, or the data, or the configuration."""
    named = None if data.labels is None else len(data.labels)
    if wanted.num_classes is not None and named not in (None, wanted.num_classes):
        raise InputError(f"{data.root}: labels.txt names {named} classes, --num-classes says {wanted.num_classes}")
    found = wanted.num_classes or named or config.model.get("num_classes")
    if found is None:
        raise InputError(
            f"{data.root}: nothing says how many classes there are",
            hint="write labels.txt, one name per line, or give --num-classes N",
        )
    return found


def _input_size(config: TrainingConfig, data: Dataset) -> tuple[int, int]:
    """(width, height) of the tensors that all images become."""
    preprocess = config.deploy_config(_channels(config), None).preprocess
    sizes = {place(preprocess, *image_size(data.root / entry.image)).tensor for entry in data.entries}
    if len(sizes) != 1:
        some: Sequence[tuple[int, int]] = sorted(sizes)[:3]
        raise InputError(
            f"{data.root}/{data.split}.txt: its images become tensors of {len(sizes)} sizes",
            cause=f"{', '.join(f'{width}x{height}' for width, height in some)}, ...; a batch needs one size",
            hint="resize them: --image-size WxH",
        )
    return sizes.pop()


def _with_resize(config: TrainingConfig, size: tuple[int, int]) -> TrainingConfig:
    """The configuration with a resize to the one size that the network is written for, where it names none."""
    if config.deploy_config(_channels(config), None).preprocess.geometry:
        return config
    resize = {"type": "Resize", "target_size": list(size)}
    return config.model_copy(update={"transforms": [resize, *(config.transforms or [{"type": "Normalize"}])]})


def _channels(config: TrainingConfig) -> int:
    backbone = config.model.get("backbone")
    return (backbone if isinstance(backbone, dict) else config.model).get("in_channels", 3)

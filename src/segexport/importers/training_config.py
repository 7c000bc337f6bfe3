"""Reads PaddleSeg's training configuration: the network of a checkpoint, and its preprocessing.

Files inherit from others by `_base_`, as in `paddleseg.cvlibs.Config`: a file's keys override those of its base, unless
`_inherited_: false` replaces a whole section. Numbers of classes and channels that the model does not give are those of
its data set.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any, TypeGuard

from segexport.artifact import warning
from segexport.errors import InputError, MissingInputError, ModelSettingsError, TooLargeError, UnreadableError
from segexport.files.foreign import guarded
from segexport.files.yaml_reader import read_lenient_yaml
from segexport.importers.deploy_config import DeployConfig, named_types, typed_list
from segexport.importers.deploy_params import OWN_HINT, PADDLESEG
from segexport.importers.deploy_transforms import to_preprocess
from segexport.spec import Frozen, Preprocess

MOST_CLASSES = 1 << 16
"""Label images have at most 16 bits; a network for many more would take minutes to build, and all memory."""
_DEPTH = 16  # longest chain of files that inherit from one another
_FILES = 200  # most files of one configuration; each may name several bases, so a chain can stand for millions
_INHERITED = "_inherited_"
_PLAIN_DATASET = "Dataset"  # its classes and channels are given in the file, not in its class
_DATASETS = ("train_dataset", "val_dataset")
_WITH_TRANSFORMS = (
    "export",
    "val_dataset",
    "test_dataset",
)  # the first with transforms is used; `export` is of PaddleSeg 2.2-2.5
_EVALUATION = ("test_config", "test")  # PaddleSeg 2.9 calls it `test`
_SECTIONS = {
    "model", *_DATASETS, "test_dataset", "export", *_EVALUATION, "optimizer", "lr_scheduler", "loss", "distill_loss",
    "learning_rate", "batch_size", "iters", "seed", "to_static_training", "profiler_options", "global", "train",
}  # fmt: skip


class TrainingConfig(Frozen):
    """The part of a configuration that describes the network of a checkpoint.

    Attributes:
        file: The configuration's path; its bases are merged into it.
        model: Type and constructor arguments of the network and, nested, of its backbone.
        dataset: Class of the training data in PaddleSeg, which may define the numbers of classes and channels; "" if
            the file gives them, or leaves them to the network.
        transforms: Transforms of validation, as in the file; None if it does not state any.
        transforms_of: Section of the transforms.
        other_transforms: Names of its transforms that only the code of its data set explains.
        ignore_index: Label of pixels that training ignored.
        notes: Settings that were not used; some are warnings.
    """

    file: Path
    model: dict[str, Any]
    dataset: str = ""
    transforms: list[Any] | None = None
    transforms_of: str = ""
    other_transforms: tuple[str, ...] = ()
    ignore_index: int = 255
    notes: tuple[str, ...] = ()

    @property
    def source(self) -> str:
        """The file's name and system, for messages."""
        return f"{self.file.name} (PaddleSeg)"

    def deploy_config(self, channels: int, stated: Preprocess | None) -> DeployConfig:
        """The deploy configuration that an export with this configuration would have.

        Args:
            channels: Number of input channels of the network.
            stated: The user's preprocessing; replaces the file's transforms.

        Raises:
            InputError: The contract cannot express the transforms, or only code defines what they do.
        """
        if stated is not None:
            return DeployConfig(source=self.source, preprocess=stated, ignore_index=self.ignore_index, notes=self.notes)
        if self.transforms is None and self.other_transforms:
            raise ModelSettingsError(
                f"{self.file}: {self.transforms_of} gives its transforms as {', '.join(self.other_transforms)}",
                cause="what they do is in the code of its data set",
                hint=OWN_HINT,
            )
        where = f"{self.file}: {self.transforms_of}"
        notes = self.notes
        transforms = typed_list(self.file, self.transforms, f"{self.transforms_of}.transforms")
        if self.transforms is None:
            transforms = [("Normalize", {})]
            notes = (*notes, warning(f"{self.file.name} names no transforms: PaddleSeg's Normalize is assumed"))
        preprocess, more = to_preprocess(transforms, PADDLESEG, where, channels=channels)
        return DeployConfig(
            source=self.source,
            preprocess=preprocess,
            ignore_index=self.ignore_index,
            multi_label="AddMultiLabelAuxiliaryCategory" in named_types(self.transforms),
            notes=(*notes, *more),
        )


@guarded("a training configuration of PaddleSeg")
def read_training_config(path: Path) -> TrainingConfig:
    """Reads a configuration and its bases.

    Raises:
        InputError: The file is not YAML, has no network, or contradicts itself; a base is missing or circular.
    """
    repeated: list[str] = []
    content = _without_marks(_with_bases(path, (), repeated, [0]))
    model = content.get("model")
    if not isinstance(model, dict) or not isinstance(model.get("type"), str):
        raise _no_model(path, content)
    datasets = [_section(path, content, name) for name in _DATASETS]
    model = plain_arguments(path, model, "model")
    kinds = [data["type"] for data in datasets if isinstance(data.get("type"), str)]
    if _PLAIN_DATASET in kinds and len(set(kinds)) > 1:
        raise ModelSettingsError(f"{path}: train_dataset and val_dataset are of two types: {', '.join(kinds)}")
    classes = _agreed(path, "num_classes", model.get("num_classes"), datasets, "num_classes")
    where = model["backbone"] if isinstance(model.get("backbone"), dict) else model
    channels = _agreed(path, "in_channels", where.get("in_channels"), datasets, "img_channels")
    if classes is not None:
        model["num_classes"] = classes
    if channels is not None:
        where["in_channels"] = channels
    ignored = _agreed(path, "ignore_index", None, datasets, "ignore_index")
    section, others = _with_transforms(path, content)
    return TrainingConfig(
        file=path,
        model=model,
        dataset=next((kind for kind in kinds if kind != _PLAIN_DATASET), ""),  # PaddleSeg asks that of the training
        transforms=content[section].get("transforms") if section else None,
        transforms_of=section,
        other_transforms=others,
        ignore_index=255 if ignored is None else ignored,
        notes=tuple(_notes(path, content, _pretrained(model), repeated)),
    )


def require_few_bases(path: Path, below: tuple[Path, ...], count: list[int], key: str) -> None:
    """Counts a file of a configuration.

    Args:
        below: The files that inherit from it.
        count: The number of files so far.
        key: What names the bases of a file.

    Raises:
        InputError: It inherits from itself, or the files are too many.
    """
    chain = " <- ".join(map(str, (path, *below[::-1])))
    if path.resolve() in below:
        raise ModelSettingsError(f"{path}: inherits from itself by {key}", cause=chain)
    count[0] += 1
    if len(below) > _DEPTH or count[0] > _FILES:
        raise TooLargeError(
            f"{path}: too many bases: over {_FILES} files, or {_DEPTH} that inherit from one another", cause=chain
        )


def notes_of_repeated(repeated: list[str], system: str) -> list[str]:
    """Warnings for keys that a file gives more than once."""
    return [warning(f"{key} is given again; the last one was used, as in {system}") for key in repeated]


def _with_bases(path: Path, below: tuple[Path, ...], repeated: list[str], count: list[int]) -> dict[str, Any]:
    """The content of a file merged with its bases; `repeated` gets the keys that a file gives more than once."""
    require_few_bases(path, below, count, "_base_")
    if not path.exists():
        inherits = f"_base_ of {below[-1]}" if below else ""
        raise MissingInputError(f"{path}: no such file", cause=inherits)
    content, keys = read_lenient_yaml(path)
    repeated += (f"{path.name}: {key}" for key in keys)
    if not isinstance(content, dict):
        raise UnreadableError(f"{path}: not a configuration", cause=f"its top level is a {type(content).__name__}")
    bases = content.pop("_base_", None) or []
    for base in [bases] if isinstance(bases, str) else bases:
        if not isinstance(base, str):
            raise ModelSettingsError(f"{path}: _base_ holds {base!r}, the path of a file is expected")
        content = _merged(content, _with_bases(path.parent / base, (*below, path.resolve()), repeated, count))
    return content


def _merged(own: dict[str, Any], base: dict[str, Any]) -> dict[str, Any]:
    """`own` over `base`. A mark `_inherited_` stays as long as no base had the section: the next one may have it."""
    own = dict(own)
    if not own.get(_INHERITED, True):
        del own[_INHERITED]
        return own
    merged = dict(base)
    for key, value in own.items():
        inherited = merged.get(key)
        if isinstance(value, dict) and isinstance(inherited, dict):
            value = _merged(value, inherited)
        merged[key] = value
    return merged


def _without_marks(value: Any) -> Any:
    """A copy without the marks `_inherited_` of sections that no base had."""
    if isinstance(value, dict):
        return {key: _without_marks(each) for key, each in value.items() if key != _INHERITED}
    return [_without_marks(each) for each in value] if isinstance(value, list) else value


def _section(path: Path, content: dict[str, Any], name: str) -> dict[str, Any]:
    section = content.get(name)
    if section is not None and not isinstance(section, dict):
        raise ModelSettingsError(f"{path}: {name} is {section!r}, a section is expected")
    return section or {}


def _with_transforms(path: Path, content: dict[str, Any]) -> tuple[str, tuple[str, ...]]:
    """The section with the transforms of validation, "" if there is none; and their names if they are not `transforms`.

    Raises:
        InputError: The transforms are not a list.
    """
    for name in _WITH_TRANSFORMS:
        section = _section(path, content, name)
        transforms = section.get("transforms")
        if transforms is not None and not isinstance(transforms, list):
            raise ModelSettingsError(f"{path}: {name}.transforms is {transforms!r}, a list is expected")
        others = [str(key) for key, value in section.items() if "transforms" in str(key) and value is not None]
        if others:
            return name, () if transforms is not None else tuple(others)
    return "", ()


def _agreed(path: Path, name: str, of_model: Any, datasets: list[dict[str, Any]], in_dataset: str) -> int | None:
    """The number given by the model and the data sets; None if none gives it.

    Raises:
        InputError: They give different values, or a value is not a whole number or above any count of classes.
    """
    stated = {"model": of_model} | dict(zip(_DATASETS, (data.get(in_dataset) for data in datasets), strict=True))
    stated = {where: value for where, value in stated.items() if value is not None}
    for where, value in stated.items():
        if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= MOST_CLASSES:
            raise ModelSettingsError(
                f"{path}: {where}: {name} is {value!r}, a whole number up to {MOST_CLASSES} is expected"
            )
    if len(set(stated.values())) > 1:
        said = ", ".join(f"{value} in {where}" for where, value in stated.items())
        raise ModelSettingsError(f"{path}: {name} is {said}", hint="PaddleSeg requires the same value everywhere")
    return next(iter(stated.values()), None)


def _pretrained(section: dict[str, Any]) -> list[str]:
    """The pretrained weights of the network and its parts."""
    found = [str(section["pretrained"])] if section.get("pretrained") else []
    return found + [name for value in section.values() if isinstance(value, dict) for name in _pretrained(value)]


def plain_arguments(path: Path, value: Any, where: str) -> Any:
    """A copy of constructor arguments: numbers, text, lists and sections.

    Raises:
        InputError: A value of another kind, or text with a call: PaddleSeg evaluates some as Python (`norm_layer`).
    """
    if isinstance(value, dict):
        return {str(key): plain_arguments(path, each, f"{where}.{key}") for key, each in value.items()}
    if isinstance(value, list):
        return [plain_arguments(path, each, f"{where}[{index}]") for index, each in enumerate(value)]
    if isinstance(value, str) and "(" in value and not where.endswith(".pretrained"):
        raise ModelSettingsError(
            f"{path}: {where} is {value!r}", cause="PaddleSeg evaluates some text as Python, so calls are not allowed"
        )
    finite = not isinstance(value, float) or math.isfinite(value)
    if finite and (value is None or isinstance(value, str | bool | int | float)):
        return value
    raise ModelSettingsError(f"{path}: {where} is {value!r}, a number, text, list or section is expected")


def _notes(path: Path, content: dict[str, Any], pretrained: list[str], repeated: list[str]) -> list[str]:
    notes = notes_of_repeated(repeated, PADDLESEG.name)
    if pretrained:
        notes.append(f"pretrained was not loaded, the checkpoint has all weights: {', '.join(pretrained)}")
    if unknown := sorted(str(key) for key in content.keys() - _SECTIONS):
        notes.append(warning(f"{path.name}: {', '.join(unknown)} is unknown and was not used"))
    exported, validated = (_section(path, content, name).get("transforms") for name in ("export", "val_dataset"))
    if exported and validated and exported != validated:
        notes.append(
            warning(
                f"{path.name}: export and val_dataset have different transforms; those of export were taken, as in "
                "PaddleSeg before 2.6, and later versions take those of val_dataset"
            )
        )
    for name in _EVALUATION:
        test = content.get(name)
        if isinstance(test, dict) and (how := _evaluated(test)):
            text = f"{path.name}: {name} evaluates {how}; an export sees the whole image, once"
            notes.append(warning(text + (_as_tiles(test) if test.get("is_slide") else "")))
    return notes


def _evaluated(test: dict[str, Any]) -> str:
    """How PaddleSeg evaluates, if not as an export runs: each image once, in its size."""
    if test.get("is_slide"):
        return "in sliding windows"
    if not test.get("aug_eval"):
        return ""
    scales = test.get("scales", 1.0)
    scales = scales if isinstance(scales, list) else [scales]
    how = [] if scales == [1] else [f"at {', '.join(map(str, scales))} of an image's size"]
    how += ["mirrored too"] if test.get("flip_horizontal") or test.get("flip_vertical") else []
    return " and ".join(how)


def _as_tiles(test: dict[str, Any]) -> str:
    """The tile options that match `test_config`; empty if it does not define tiles."""
    crop, stride = test.get("crop_size"), test.get("stride")
    if not (_is_size(crop) and _is_size(stride)):
        return ""
    (width, height), (across, down) = crop, stride
    overlap = f"{max(0, width - across)}x{max(0, height - down)}"
    return f", unless it is told: --tile-size {width}x{height} --tile-overlap {overlap} --tile-blend average"


def _is_size(value: Any) -> TypeGuard[list[int]]:
    return isinstance(value, list) and len(value) == 2 and all(type(side) is int for side in value)


def _no_model(path: Path, content: dict[str, Any]) -> InputError:
    keys = ", ".join(map(str, list(content)[:8]))
    if content.keys() & {"Deploy", "DEPLOY", "PreProcess"}:
        return UnreadableError(
            f"{path}: the file of an export, not a training configuration",
            cause=f"its keys are {keys}",
            hint="give the file that PaddleSeg's train.py was given by --config",
        )
    if content.keys() & {"Transforms", "_init_params"}:
        return UnreadableError(
            f"{path}: PaddleX's model.yml, not a training configuration of PaddleSeg",
            cause=f"its keys are {keys}",
            hint="export the model with that PaddleX, and import the export without --config",
        )
    return ModelSettingsError(
        f"{path}: no network: `model` with its `type` is expected",
        cause=f"its keys are {keys}" if keys else "the file is empty",
        hint="give the file that PaddleSeg's train.py was given by --config",
    )

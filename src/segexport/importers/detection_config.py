"""Reads PaddleDetection's training configuration: the network of a checkpoint, and its preprocessing.

Files inherit from others by the list `_BASE_`, as in `ppdet.core.workspace.load_config`: of two bases the later one
decides, and a file's own keys override those of its bases, section by section.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from segexport.errors import InputError, MissingInputError, ModelSettingsError
from segexport.files.foreign import guarded
from segexport.files.yaml_reader import read_lenient_yaml
from segexport.importers.deploy_config import DeployConfig
from segexport.importers.deploy_params import PADDLEDETECTION
from segexport.importers.deploy_transforms import to_preprocess
from segexport.importers.training_config import MOST_CLASSES, notes_of_repeated, plain_arguments, require_few_bases
from segexport.spec import Frozen, Preprocess

_READER = "TestReader"
_KEPT = ("num_classes", "norm_type", "use_ema", "with_mask", "hidden_dim", "use_focal_loss", "export_onnx")
"""Keys outside of sections that networks read."""


class DetectionConfig(Frozen):
    """The part of a configuration that describes the network of a checkpoint.

    Attributes:
        file: The configuration's path; its bases are merged into it.
        architecture: Name of the network's section.
        sections: Name -> arguments of each part of the network, and the keys that all parts share.
        transforms: (name, parameters) of the test reader.
    """

    file: Path
    architecture: str
    sections: dict[str, Any]
    transforms: tuple[tuple[str, dict[str, Any]], ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def source(self) -> str:
        """The file's name and system, for messages."""
        return f"{self.file.name} ({PADDLEDETECTION.name})"

    @property
    def model(self) -> dict[str, Any]:
        """The network's type, as `TrainingConfig.model` has it."""
        return {"type": self.architecture}

    def deploy_config(self, channels: int, stated: Preprocess | None) -> DeployConfig:
        """The deploy configuration that an export with this configuration would have.

        Args:
            channels: Number of input channels of the network.
            stated: The user's preprocessing; replaces the file's transforms.

        Raises:
            InputError: The contract cannot express the transforms.
        """
        if stated is not None:
            return DeployConfig(source=self.source, preprocess=stated, notes=self.notes)
        where = f"{self.file}: {_READER}"
        preprocess, more = to_preprocess(list(self.transforms), PADDLEDETECTION, where, channels=channels)
        return DeployConfig(source=self.source, preprocess=preprocess, notes=(*self.notes, *more))


def is_detection(path: Path) -> bool:
    """Whether a configuration is PaddleDetection's: it has bases of its kind, or names an architecture."""
    try:
        content, _ = read_lenient_yaml(path)
    except (InputError, OSError):
        return False  # reading it as PaddleSeg's gives the error
    return isinstance(content, dict) and ("_BASE_" in content or isinstance(content.get("architecture"), str))


@guarded("a training configuration of PaddleDetection")
def read_detection_config(path: Path) -> DetectionConfig:
    """Reads a configuration and its bases.

    Raises:
        InputError: The file is not YAML, names no architecture or number of classes; a base is missing or circular.
    """
    repeated: list[str] = []
    content = _with_bases(path, (), repeated, [0])
    architecture = content.get("architecture")
    if not isinstance(architecture, str) or not isinstance(content.get(architecture), dict):
        raise ModelSettingsError(
            f"{path}: no network: `architecture` with a section of its name is expected",
            cause=f"its keys are {', '.join(map(str, list(content)[:8]))}",
            hint="give the file that PaddleDetection's train.py was given by -c",
        )
    classes = content.get("num_classes")
    if isinstance(classes, bool) or not isinstance(classes, int) or not 1 <= classes <= MOST_CLASSES:
        raise ModelSettingsError(
            f"{path}: num_classes is {classes!r}, a whole number from 1 to {MOST_CLASSES} is expected"
        )
    sections = {
        str(name): plain_arguments(path, value, str(name))
        for name, value in content.items()
        if str(name) in _KEPT or (isinstance(value, dict) and not str(name).endswith(("Reader", "Dataset")))
    }
    return DetectionConfig(
        file=path,
        architecture=architecture,
        sections=sections,
        transforms=tuple(_transforms(path, content.get(_READER))),
        notes=(
            f"the network is exported as {PADDLEDETECTION.name} does for ONNX: export_onnx",
            *notes_of_repeated(repeated, PADDLEDETECTION.name),
        ),
    )


def _with_bases(path: Path, below: tuple[Path, ...], repeated: list[str], count: list[int]) -> dict[str, Any]:
    """The content of a file merged with its bases; parameters as for `require_few_bases`."""
    require_few_bases(path, below, count, "_BASE_")
    if not path.exists():
        raise MissingInputError(f"{path}: no such file", cause=f"_BASE_ of {below[-1]}" if below else "")
    content, keys = read_lenient_yaml(path)
    repeated += (f"{path.name}: {key}" for key in keys)
    if not isinstance(content, dict):
        raise ModelSettingsError(f"{path}: not a configuration", cause=f"its top level is a {type(content).__name__}")
    bases = content.pop("_BASE_", None) or []
    if not isinstance(bases, list) or not all(isinstance(base, str) for base in bases):
        raise ModelSettingsError(f"{path}: _BASE_ holds {bases!r}, a list of paths is expected")
    merged: dict[str, Any] = {}
    for base in bases:
        merged = _merged(merged, _with_bases(path.parent / base, (*below, path.resolve()), repeated, count))
    return _merged(merged, content)


def _merged(base: dict[str, Any], own: dict[str, Any]) -> dict[str, Any]:
    merged = dict(base)
    for key, value in own.items():
        inherited = merged.get(key)
        merged[key] = value
        if isinstance(value, dict) and isinstance(inherited, dict):
            merged[key] = _merged(inherited, value)
    return merged


def _transforms(path: Path, reader: Any) -> list[tuple[str, dict[str, Any]]]:
    """The transforms of a reader in the form of an export's `infer_cfg.yml`.

    Raises:
        ModelSettingsError: There is no reader, or a transform is not written as one.
    """
    if not isinstance(reader, dict):
        raise ModelSettingsError(f"{path}: no {_READER}, whose transforms are the network's preprocessing")
    found = []
    for name in ("sample_transforms", "batch_transforms"):
        for item in reader.get(name) or []:
            if not isinstance(item, dict) or len(item) != 1:
                raise ModelSettingsError(f"{path}: {_READER}.{name} holds {item!r}, a transform is expected")
            kind, params = next(iter(item.items()))
            if params is not None and not isinstance(params, dict):
                raise ModelSettingsError(f"{path}: {_READER}.{name}: {kind} has no parameters but {params!r}")
            if kind == "Decode":  # reads the file
                continue
            params = {str(key): value for key, value in (params or {}).items()}
            found.append(
                ("PadStride", {"stride": params.get("pad_to_stride", 0)}) if kind == "PadBatch" else (str(kind), params)
            )
    return found

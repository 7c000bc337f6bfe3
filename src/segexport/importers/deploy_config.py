"""Reads the configuration of an export: `deploy.yaml` of PaddleSeg 2 and 0.x, `inference.yml` and `model.yml` of
PaddleX, `infer_cfg.yml` of PaddleDetection."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

from segexport.artifact import warning
from segexport.errors import ModelSettingsError, UnreadableError
from segexport.files.foreign import guarded
from segexport.files.yaml_reader import compose, to_data, tuples_to_lists
from segexport.importers import paddleseg_0
from segexport.importers.deploy_params import (
    OWN_HINT,
    PADDLEDETECTION,
    PADDLESEG,
    PADDLEX_1,
    PADDLEX_2,
    PADDLEX_3,
    Dialect,
)
from segexport.importers.deploy_transforms import to_preprocess
from segexport.importers.model_files import ModelFiles, find_model
from segexport.spec import Color, Frozen, Preprocess

__all__ = ["DeployConfig", "ModelFiles", "find_model", "parse_deploy_config", "read_deploy_config"]

_HEADS = ("argmax", "softmax", "none")  # only validated: the graph shows the head


class DeployConfig(Frozen):
    """The configuration of an export.

    Attributes:
        source: The file's name, without its path, and the system that wrote it.
        preprocess: Its transforms, as the preprocessing contract.
        model_file: Name of the program's file, if given.
        params_file: Name of the parameters' file, if given.
        labels: Class names, if given.
        num_classes: Number of classes, if given.
        input_shape: NCHW, -1 for a dynamic size, if given.
        multi_label: Whether a pixel can have several classes, or none.
        ignore_index: Label of pixels that training ignored.
        notes: Differences between the file and the contract; some are warnings.
    """

    source: str
    preprocess: Preprocess
    model_file: str | None = None
    params_file: str | None = None
    labels: tuple[str, ...] | None = None
    num_classes: int | None = None
    input_shape: tuple[int, ...] | None = None
    multi_label: bool = False
    ignore_index: int = 255
    notes: tuple[str, ...] = ()


def read_deploy_config(files: ModelFiles, channels: int = 3, stated: Preprocess | None = None) -> DeployConfig:
    """Reads the configuration next to a model; without one, assumes PaddleSeg's defaults, with a warning.

    Args:
        files: The model's files.
        channels: Number of input channels of the network.
        stated: The user's preprocessing; replaces the file's transforms.

    Raises:
        InputError: The file is not YAML, is of no known system, or has transforms that the contract cannot express.
    """
    if files.config is not None:
        return parse_deploy_config(files.config, channels, stated)
    source = f"{files.model.name} alone"
    if stated is not None:
        return DeployConfig(source=source, preprocess=stated)
    default = _DEFAULTS.get(channels)
    if default is None:
        raise ModelSettingsError(
            f"{files.model}: it is unknown how images become its {channels} channels",
            cause=f"there is no {', '.join(CONFIG_KINDS)} beside it",
            hint=OWN_HINT,
        )
    values = f"{'grey' if channels == 1 else 'RGB'}, /255, mean 0.5, std 0.5, no resize"
    return DeployConfig(
        source=source,
        preprocess=default,
        notes=(warning(f"no {', '.join(CONFIG_KINDS)} beside the model: PaddleSeg's defaults are assumed ({values})"),),
    )


CONFIG_KINDS = ("deploy.yaml", "inference.yml", "model.yml")
_DEFAULTS = {1: Preprocess(color="gray", mean=(0.5,), std=(0.5,)), 3: Preprocess()}  # PaddleSeg 2's


@guarded("a deploy file")
def parse_deploy_config(path: Path, channels: int = 3, stated: Preprocess | None = None) -> DeployConfig:
    """Reads a file of any of these systems; arguments and errors as in `read_deploy_config`."""
    content = _content(path)
    transforms = _Transforms(path, channels, stated)
    if isinstance(content.get("Deploy"), dict):
        return _deploy(path, content, transforms)
    if isinstance(content.get("DEPLOY"), dict):
        return _deploy_0(path, content["DEPLOY"], channels, stated)
    if "PreProcess" in content:
        return _pre_process(path, content, transforms)
    if content.keys() & {"Transforms", "test_transforms", "_Attributes"}:
        return _model_yml(path, content, transforms)
    if "Preprocess" in content and "arch" in content:
        return _detection(path, content, transforms)
    keys = ", ".join(map(str, list(content)[:8]))
    cause = (
        f"its keys are {keys}; one of Deploy (PaddleSeg, PaddleX 3), DEPLOY (PaddleSeg 0), PreProcess (PaddleX 3), "
        "Transforms (PaddleX 1, 2), test_transforms (PaddleX 0) and Preprocess with arch (PaddleDetection) is expected"
    )
    if stated is not None:
        return DeployConfig(
            source=f"{path.name} (not read)",
            preprocess=stated,
            notes=(warning(f"{path.name} is of an unknown system, and was not read: {cause}"),),
        )
    raise ModelSettingsError(f"{path}: of an unknown system", cause=cause, hint=OWN_HINT)


class _Transforms(NamedTuple):
    """Converts a file's transforms to the contract, or returns the user's; see `read_deploy_config`."""

    path: Path
    channels: int
    stated: Preprocess | None

    def contract(
        self, transforms: Callable[[], list[tuple[str, dict[str, Any]]]], dialect: Dialect, color: Color | None = None
    ) -> tuple[Preprocess, tuple[str, ...]]:
        if self.stated is not None:
            return self.stated, ()
        return to_preprocess(transforms(), dialect, str(self.path), color, self.channels)


def _deploy(path: Path, content: dict[str, Any], transforms: _Transforms) -> DeployConfig:
    """Reads a file of PaddleSeg since 2.0, or of PaddleX 3, which adds `Global`."""
    deploy = content["Deploy"]
    general = content.get("Global")
    dialect = PADDLEX_3 if isinstance(general, dict) and "model_name" in general else PADDLESEG
    preprocess, notes = transforms.contract(lambda: typed_list(path, deploy.get("transforms")), dialect)
    head = deploy.get("output_op")
    if head is not None and head not in _HEADS:
        notes = (*notes, warning(f"output_op {head!r} is unknown and was not used"))
    labels = _labels(path, deploy.get("label_list", content.get("label_list")))
    return DeployConfig(
        source=f"{path.name} ({dialect.name})",
        preprocess=preprocess,
        model_file=_file_name(path, "Deploy.model", deploy.get("model")),
        params_file=_file_name(path, "Deploy.params", deploy.get("params")),
        labels=labels,
        num_classes=len(labels) if labels else None,
        input_shape=_shape(path, deploy.get("input_shape")),
        multi_label="AddMultiLabelAuxiliaryCategory" in named_types(deploy.get("transforms")),
        notes=notes,
    )


def _deploy_0(path: Path, deploy: dict[str, Any], channels: int, stated: Preprocess | None) -> DeployConfig:
    """Reads a file of PaddleSeg before 2.0, whose `export_model.py` writes a folder `freeze_model`."""
    preprocess, notes = (stated, ()) if stated is not None else paddleseg_0.to_preprocess(path, deploy, channels)
    classes = deploy.get("NUM_CLASSES")
    return DeployConfig(
        source=f"{path.name} (PaddleSeg 0)",
        preprocess=preprocess,
        model_file=_file_name(path, "MODEL_FILENAME", deploy.get("MODEL_FILENAME")),
        params_file=_file_name(path, "PARAMS_FILENAME", deploy.get("PARAMS_FILENAME")),
        num_classes=classes if isinstance(classes, int) else None,
        notes=notes,
    )


def _pre_process(path: Path, content: dict[str, Any], transforms: _Transforms) -> DeployConfig:
    """Reads a file of PaddleX 3 with `PreProcess.transform_ops`: each operation is `{Name: parameters}`."""
    pre, post = content.get("PreProcess"), content.get("PostProcess")
    ops = pre.get("transform_ops") if isinstance(pre, dict) else pre
    preprocess, notes = transforms.contract(lambda: _named_list(path, "PreProcess.transform_ops", ops), PADDLEX_3)
    labels = _labels(path, content.get("label_list", post.get("label_list") if isinstance(post, dict) else None))
    return DeployConfig(
        source=f"{path.name} ({PADDLEX_3.name})",
        preprocess=preprocess,
        labels=labels,
        num_classes=len(labels) if labels else None,
        notes=notes,
    )


def _detection(path: Path, content: dict[str, Any], transforms: _Transforms) -> DeployConfig:
    """Reads a file of PaddleDetection, or of a PaddleX 3 detector, which has the same form."""
    preprocess, notes = transforms.contract(
        lambda: typed_list(path, content["Preprocess"], "Preprocess"), PADDLEDETECTION
    )
    if any(op.op == "resize_short" for op in preprocess.geometry):
        notes = (
            *notes,
            "a resize that keeps the ratio samples with the rounded size, PaddleDetection with the exact ratio",
        )
    labels = _labels(path, content.get("label_list"))
    return DeployConfig(
        source=f"{path.name} ({PADDLEDETECTION.name})",
        preprocess=preprocess,
        labels=labels,
        num_classes=len(labels) if labels else None,
        notes=notes,
    )


def _model_yml(path: Path, content: dict[str, Any], transforms: _Transforms) -> DeployConfig:
    """Reads a file of PaddleX 0, 1 or 2. PaddleX 0 and PaddleSeg's HumanSeg name the transforms `test_transforms`."""
    status = content.get("status", content.get("save_method"))
    if status in ("Normal", "Prune", "fluid.save"):
        raise ModelSettingsError(
            f"{path}: a training checkpoint of PaddleX (status {status})",
            hint="export it first: `paddlex --export_inference --model_dir=MODEL --save_dir=DIR`",
        )
    given = content.get("_Attributes")
    attributes: dict[str, Any] = given if isinstance(given, dict) else {}
    kind = attributes.get("model_type", "segmenter")
    dialect, color = _paddlex_version(content)
    if kind == "detector" and dialect is PADDLEX_1:
        raise ModelSettingsError(
            f"{path}: a detector of PaddleX 1",
            cause="its program takes im_info and returns masks in another form than PaddleX 2's",
            hint="export the model with PaddleX 2 or PaddleDetection",
        )
    if kind not in ("segmenter", "detector"):
        raise UnreadableError(f"{path}: a {kind}, not a segmenter")
    key = "Transforms" if content.get("Transforms") else "test_transforms"
    preprocess, notes = transforms.contract(lambda: _of_model_yml(path, key, content), dialect, color)
    if transforms.stated is None and not content.get(key):
        notes = (warning(f"{path.name} names no transforms"), *notes)
    outputs = content.get("_ModelInputsOutputs")
    outputs = outputs.get("test_outputs") if isinstance(outputs, dict) else None
    if isinstance(outputs, list) and all(isinstance(pair, list) and len(pair) == 2 for pair in outputs):
        notes = (*notes, "outputs: " + ", ".join(f"{name} is {variable}" for name, variable in outputs))
    labels = _labels(path, attributes.get("labels"))
    classes = attributes.get("num_classes")
    if labels and isinstance(classes, int) and classes != len(labels):
        raise ModelSettingsError(f"{path}: {len(labels)} labels for {classes} classes")
    fixed = attributes.get("fixed_input_shape")
    return DeployConfig(
        source=f"{path.name} ({dialect.name})",
        preprocess=preprocess,
        labels=labels,
        num_classes=classes if isinstance(classes, int) else None,
        input_shape=_fixed_shape(path, fixed, dialect),
        notes=notes,
    )


def _paddlex_version(content: dict[str, Any]) -> tuple[Dialect, Color]:
    """The dialect and its channel order: PaddleX 1 states BGR or RGB in `TransformsMode`, RGB by default."""
    if str(content.get("version", "1")).startswith("2"):
        return PADDLEX_2, "rgb"
    return PADDLEX_1, "bgr" if content.get("TransformsMode", "RGB") == "BGR" else "rgb"


def _content(path: Path) -> dict[str, Any]:
    node = compose(path)
    tuples_to_lists(node)
    content = to_data(node, path)
    if not isinstance(content, dict):
        raise UnreadableError(f"{path}: not a configuration", cause=f"its top level is a {type(content).__name__}")
    return content


def typed_list(path: Path, value: Any, where: str = "Deploy.transforms") -> list[tuple[str, dict[str, Any]]]:
    """Transforms of the form `{type: Name, parameter: ...}`."""
    transforms = []
    for item in _list(path, where, value):
        if not isinstance(item, dict) or not isinstance(item.get("type"), str):
            raise ModelSettingsError(f"{path}: {where} holds {item!r}, which has no `type`")
        transforms.append((item["type"], {str(key): value for key, value in item.items() if key != "type"}))
    return transforms


def named_types(transforms: Any) -> list[Any]:
    """The names of all transforms of the form `{type: Name, ...}`, also of unknown ones."""
    return [item.get("type") for item in transforms if isinstance(item, dict)] if isinstance(transforms, list) else []


def _named_list(path: Path, where: str, value: Any) -> list[tuple[str, dict[str, Any]]]:
    """Transforms of the form `{Name: {parameter: ...}}` or `Name`."""
    transforms = []
    for item in _list(path, where, value):
        item = {item: None} if isinstance(item, str) else item
        if not isinstance(item, dict) or len(item) != 1:
            raise UnreadableError(f"{path}: {where} holds {item!r}, which is not a transform with its parameters")
        name, params = next(iter(item.items()))
        if params is not None and not isinstance(params, dict):
            raise ModelSettingsError(f"{path}: {where}: the parameters of {name} are {params!r}")
        transforms.append((str(name), {str(key): value for key, value in (params or {}).items()}))
    return transforms


def _of_model_yml(path: Path, key: str, content: dict[str, Any]) -> list[tuple[str, dict[str, Any]]]:
    """Transforms of the form `{Name: {...}}` or, in PaddleX's first releases, `[Name, {...}]`."""
    items = _list(path, key, content.get(key))
    pairs = [isinstance(item, list) and len(item) == 2 and isinstance(item[0], str) for item in items]
    if not items or not all(pairs):
        return _named_list(path, key, items)
    transforms = _named_list(path, key, [{name: params} for name, params in items])
    return [(name, _SINCE_RENAMED.get(name, dict)(params)) for name, params in transforms]


def _resize_by_short_of_old(params: dict[str, Any]) -> dict[str, Any]:
    size = params.pop("target_size", None)
    return {"short_size": size, "max_size": -1} | {key: value for key, value in params.items() if value is not None}


_SINCE_RENAMED: dict[str, Callable[[dict[str, Any]], dict[str, Any]]] = {"ResizeByShort": _resize_by_short_of_old}


def _list(path: Path, where: str, value: Any) -> list[Any]:
    if value is None:
        return []
    if not isinstance(value, list):
        raise ModelSettingsError(f"{path}: {where} is a {type(value).__name__}, a list is expected")
    return value


def _file_name(path: Path, key: str, value: Any) -> str | None:
    if value is None:
        return None
    name = PurePosixPath(value) if isinstance(value, str) and value else None
    if name is None or name.is_absolute() or ".." in name.parts or "\\" in str(name):
        raise ModelSettingsError(f"{path}: {key} is {value!r}", cause="a file beside this one is expected")
    return str(name)


def _labels(path: Path, value: Any) -> tuple[str, ...] | None:
    if value is None or value == []:
        return None
    if not isinstance(value, list) or not all(isinstance(name, str | int | float) for name in value):
        raise ModelSettingsError(f"{path}: labels are {value!r}, a list of names is expected")
    names = tuple(map(str, value))
    if len(set(names)) != len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise ModelSettingsError(f"{path}: two classes are called {twice!r}")
    return names


def _shape(path: Path, value: Any) -> tuple[int, ...] | None:
    if value is None:
        return None
    sides = value if isinstance(value, list) else []
    if len(sides) != 4 or not all(side is None or isinstance(side, int) for side in sides):
        raise ModelSettingsError(f"{path}: Deploy.input_shape is {value!r}, [batch, 3, height, width] is expected")
    return tuple(-1 if side is None else side for side in sides)


def _fixed_shape(path: Path, value: Any, dialect: Dialect) -> tuple[int, ...] | None:
    """The input shape, NCHW: PaddleX 1 writes (width, height), PaddleX 2 NCHW or (height, width)."""
    if value is None:
        return None
    if not isinstance(value, list) or not all(isinstance(side, int) for side in value) or len(value) not in (2, 4):
        raise ModelSettingsError(f"{path}: fixed_input_shape is {value!r}, a width and a height are expected")
    if len(value) == 4:
        return tuple(value)
    height, width = value if dialect is PADDLEX_2 else reversed(value)
    return (1, 3, height, width)

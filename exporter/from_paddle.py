"""Imports models as artifacts: PaddleSeg and PaddleX export folders, single programs, training checkpoints."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from pydantic import ValidationError

from segexport.artifact import (
    LineageEntry,
    Manifest,
    ModelArtifact,
    TargetDevice,
    digest_of,
    file_digest,
    file_entry,
    read_artifact,
    warning,
    write_artifact,
)
from segexport.data.dataset import Dataset
from segexport.data.images import MAX_PIXELS, image_size
from segexport.errors import (
    InputError,
    ModelSettingsError,
    OptionError,
    TooLargeError,
    UnreadableError,
    UnsupportedModelError,
    one_line,
)
from segexport.exporter import detections, output_semantics, pir, program
from segexport.exporter.from_checkpoint import TrainingCheckpoint
from segexport.exporter.import_options import ImportOptions
from segexport.exporter.layers import layer_of
from segexport.exporter.mask_output import choice_notes, choose_mask, mask_of
from segexport.exporter.mends import AS_READ, OF_ITS_SIZE, mend, straighten
from segexport.exporter.mends.image_input import takes_bytes
from segexport.exporter.paddleseg_network import Built, PaddleSegNetwork
from segexport.exporter.quantized_program import is_quantized
from segexport.exporter.shapes import follow_input_shape, settled, with_input_shape
from segexport.files.store import Store
from segexport.importers.checkpoint import find_checkpoint, read_checkpoint
from segexport.importers.checkpoint_fit import beginning
from segexport.importers.deploy_config import DeployConfig, read_deploy_config
from segexport.importers.model_files import ModelFiles, find_model
from segexport.preprocess import place
from segexport.spec import (
    Clip,
    Format,
    Label,
    Lanes,
    Pad,
    PadToMultiple,
    Precision,
    Preprocess,
    Resize,
    ResizeLong,
    ResizeShort,
    TensorSpec,
)
from segexport.ui.pictures import default_labels

IMPORT_VERSION = "13"
_READERS = {"paddle": program.read, "paddle-pir": pir.read_program}  # keys: kinds of `model_files`


@dataclass(frozen=True)
class _Found:
    """A located model that is not read yet.

    Attributes:
        path: Path for messages.
        read: Reads the program.
        describe: Reads the accompanying configuration, given the number of input channels.
        params: Lineage parameters; `files` are the files that all exports of the model share.
        deploy: Name and digest of the file that `describe` reads; None if `params` is complete.
        notes: Notes on how the model was read.
    """

    path: Path
    read: Callable[[], program.Program]
    describe: Callable[[int], DeployConfig]
    params: dict[str, object]
    deploy: tuple[str, str] | None = None
    notes: Sequence[str] = ()


def import_model(path: Path, options: ImportOptions, store: Store) -> ModelArtifact:
    """Reads a model and saves it as an artifact in `store`; returns an existing artifact unchanged.

    Raises:
        InputError: No readable model, files that do not belong together, or options that contradict the files.
    """
    if options.config is not None:
        found = _checkpoint(path, options.config, options)
    elif options.paddleseg is not None:
        raise OptionError("--paddleseg builds the network of a configuration", hint="name it: --config FILE")
    else:
        files = find_model(path)
        if files.kind == "artifact":
            return read_artifact(files.folder).with_tiles(options.tiles)
        found = _export(files, options)
    return _kept(_name(path), found, options, store)


def new_model(
    network: PaddleSegNetwork,
    options: ImportOptions,
    store: Store,
    *,
    heads: int = 1,
    pretrained: Path | None = None,
    seed: int = 0,
) -> ModelArtifact:
    """Creates an untrained network that outputs the scores of its heads, the main head first.

    Args:
        heads: Number of PaddleSeg's training heads to output.
        pretrained: Checkpoint; weights with matching name and shape are loaded. None: all weights are random.
        seed: Seed of the random weights.

    Raises:
        InputError: PaddleSeg cannot build the network, or no weight of `pretrained` fits.
    """
    config, notes = network.config, [f"PaddleSeg built {network.config.model['type']}"]
    file = None if pretrained is None else find_checkpoint(pretrained)

    def fill(built: Built) -> Mapping[str, np.ndarray]:
        if file is None:
            return {}
        found = beginning(file, read_checkpoint(file), built.weights)
        notes.extend(found.notes(file.name))
        return found.taken

    files = {} if file is None else {"pretrained": file_digest(file)}
    found = _Found(
        path=config.file,
        read=lambda: network.program(options.input_size, fill, heads=heads, seed=seed),
        describe=lambda channels: config.deploy_config(channels, options.preprocess),
        params={**network.described(**files), "heads": heads, "seed": seed},
        notes=notes,
    )
    return _kept(config.model["type"], found, options, store)


def _kept(name: str, found: _Found, options: ImportOptions, store: Store) -> ModelArtifact:
    unset = {name for name in ("tiles", "postprocess") if getattr(options, name) is None}  # keys are those from before
    told = options.model_dump(mode="json", exclude={"config", "paddleseg", *unset})
    made_of = {**found.params, "deploy": found.deploy, "options": told}
    key = digest_of({"import": IMPORT_VERSION, "name": name, **made_of})
    kept = store.find_artifact(key)
    if kept is not None:
        return kept
    lineage = LineageEntry(step="import", version=IMPORT_VERSION, params=found.params, key=key)
    return read_artifact(store.keep(key, lambda folder: _write(folder, name, found, options, lineage)))


def _export(files: ModelFiles, options: ImportOptions) -> _Found:
    if files.kind not in _READERS:
        raise UnreadableError(
            f"{files.model}: a model for {files.kind}, not a Paddle export",
            hint="give the PaddleSeg or PaddleX export that it was made from",
        )
    assert files.params is not None, "a program has two files"
    model, params = files.model, files.params
    return _Found(
        path=model,
        read=lambda: _READERS[files.kind](model, params),
        describe=lambda channels: read_deploy_config(files, channels, options.preprocess),
        params={"files": {role: file_digest(file) for role, file in (("model", model), ("params", params))}},
        deploy=None if files.config is None else (files.config.name, file_digest(files.config)),
        notes=("translated from Paddle 3's .json into a legacy program",) if files.kind == "paddle-pir" else (),
    )


def _checkpoint(path: Path, config: Path, options: ImportOptions) -> _Found:
    given = TrainingCheckpoint(path, config, options.paddleseg)
    return _Found(
        path=given.file,
        read=lambda: given.program(options.input_size),
        describe=lambda channels: given.config.deploy_config(channels, options.preprocess),
        params=given.described(),
        notes=(f"{given.builder} built {given.config.model['type']}, and {given.file.name} has all of its weights",),
    )


def _write(folder: Path, name: str, found: _Found, options: ImportOptions, lineage: LineageEntry) -> None:
    graph = found.read()
    graph.strip_build_paths()
    of_bytes = takes_bytes(graph)
    notes = mend(graph, AS_READ)
    detector = detections.finds_objects(graph)
    fed = _image(graph.inputs()) if detector else _only_image(graph, found.path)
    channels, assumed = _channels(fed, options)
    config = found.describe(channels)
    notes = [f"read from {config.source}", *config.notes, *assumed, *notes, *found.notes]
    shapes, size = {}, options.input_size
    if size is None and not detector:
        size = _needed_size(graph, fed, config, options)
        notes += [] if size is None else [warning(_SIZE_IS_NEEDED)]
    if size is not None:
        width, height = size
        shapes = {fed.name: (1, fed.shape[1], height, width)}
        if detector:
            shapes |= {name: (1, 2) for name in graph.feed_names if name != fed.name}
            # What was traced with this size knows sizes that cannot be inferred again.
            shapes = {name: shape for name, shape in shapes.items() if graph.shape(name) != shape}
        graph = with_input_shape(graph, shapes)
        notes.append(f"input fixed to {width}x{height}")
    notes += straighten(graph, shapes or None)
    if shapes:
        follow_input_shape(graph, shapes)
    graph = settled(graph)
    notes += mend(graph, OF_ITS_SIZE)
    inputs, outputs = tuple(graph.inputs()), tuple(graph.outputs())
    stated = options.labels or config.labels
    if detector:
        inputs, outputs = detections.described(graph, str(found.path))
    else:
        labels = len(stated or options.fallback_labels or ())
        if isinstance(options.postprocess, Lanes):  # the mask is lane or no lane, however many channels the others have
            labels = labels or 2
        possible, outputs = outputs, choose_mask(graph, outputs, options.mask_output, labels, str(found.path))
        notes += (
            choice_notes(graph, possible, outputs)
            if options.mask_output is None and options.postprocess is None
            else []
        )
        _require_one_class(graph, mask_of(outputs), config, options, found.path)
    stated_contract, raw = _stated(options, config), []
    if of_bytes:
        stated_contract, raw = _unscaled(stated_contract)
    preprocess, more = _fitting(stated_contract, _image(inputs), found.path, pads=detector)
    classes = detections.num_classes(graph) if detector else _classes(graph, mask_of(outputs))
    fallback = options.fallback_labels
    names = stated or (fallback if fallback and len(fallback) == classes else None)
    labels = _labels(names, classes, found.path, background=not detector)
    model, params = graph.write(folder)
    manifest = Manifest(
        name=name,
        format=Format.PADDLE,
        files=(file_entry(folder, model.name), file_entry(folder, params.name, "params")),
        inputs=inputs,
        outputs=outputs,
        preprocess=preprocess,
        postprocess=options.postprocess,
        labels=labels,
        ignore_index=_ignored(options, config),
        target=TargetDevice(arch="any", precision=Precision.INT8 if is_quantized(graph) else Precision.FP32),
        lineage=(lineage.model_copy(update={"notes": (*notes, *raw, *more)}),),
    )
    write_artifact(folder, manifest)


def _only_image(graph: program.Program, source: Path) -> TensorSpec:
    """Returns the input of a program with a single image input.

    Raises:
        UnsupportedModelError: The program has several inputs or none.
        InputError: The input is not an image.
    """
    inputs = graph.inputs()
    if len(inputs) != 1:
        listed = ", ".join(f"{spec.name} ({spec.dtype} {list(spec.shape)})" for spec in inputs)
        raise UnsupportedModelError(
            f"{source}: the program takes {len(inputs)} inputs: {listed}",
            cause="segexport feeds a network one image and no other input, such as a trimap or a depth map",
            hint="export the network with the image as its only input",
        )
    spec = inputs[0]
    if spec.layout != "NCHW" or spec.dtype != "float32":
        raise InputError(
            f"{source}: the input {spec.name!r} is {spec.dtype} {list(spec.shape)}",
            cause="segexport feeds images as float32 [batch, channels, height, width], or bytes that the network casts",
            hint="export the network with an image of four axes, and cast it to float32 inside",
        )
    return spec


_SIZE_IS_NEEDED = (
    "what the network computes depends on its input's size: the stated one is fixed; for another one, --input-size"
)


def _needed_size(
    graph: program.Program, spec: TensorSpec, config: DeployConfig, options: ImportOptions
) -> tuple[int, int] | None:
    """Returns the (width, height) that the export states, for a network that can only be read for a fixed size.

    Such a network has a branch or a loop that depends on the size of its input, and this is dynamic.
    """
    if -1 not in spec.shape[2:]:
        return None
    try:
        straighten(graph.copy())
    except UnsupportedModelError:
        return _only_size(_stated(options, config), config)
    return None


def _only_size(preprocess: Preprocess, config: DeployConfig) -> tuple[int, int] | None:
    """Returns (width, height) of the tensor of every image, else of `input_shape`; None if neither is fixed."""
    last = next((op for op in reversed(preprocess.geometry) if not isinstance(op, Clip)), None)
    if isinstance(last, Pad) or (isinstance(last, Resize) and not last.keep_ratio):
        return place(preprocess, 1, 1).tensor
    height, width = (config.input_shape or (-1, -1))[-2:]
    return (width, height) if height > 0 and width > 0 else None


def _channels(spec: TensorSpec, options: ImportOptions) -> tuple[int, list[str]]:
    """Returns the number of input channels, and a note if the program does not state it."""
    if len(spec.shape) == 4 and spec.shape[1] > 0:
        return spec.shape[1], []
    stated = (options.preprocess.mean if options.preprocess else None) or options.mean or options.std
    if stated is not None:
        return len(stated), []
    return 3, [warning(f"the number of channels of the input {spec.name!r} is unknown: 3 are assumed")]


def _require_one_class(
    graph: program.Program, mask: str, config: DeployConfig, options: ImportOptions, source: Path
) -> None:
    """Refuses a multi-label network, in which a pixel can have several classes or none.

    Raises:
        UnsupportedModelError: The network is multi-label and the user did not name a mask output.
    """
    op = output_semantics.decides_alone(graph, mask) if mask else None
    scores = op is None or op.type in _SIGMOIDS
    if (op is None and not config.multi_label) or (options.mask_output and scores):
        return
    if op is None:
        why = f"{config.source} names the transform AddMultiLabelAuxiliaryCategory"
    else:
        why = f"{op.type} (layer {layer_of(graph, op)}) decides for each channel whether its class is present"
    raise UnsupportedModelError(
        f"{source}: the output {mask!r} is multi-label, a pixel may be of several classes or of none",
        cause=f"{why}; segexport gives each pixel one class, and the largest channel is not it",
        hint=f"if the classes exclude each other, name the output: --mask-output {mask}"
        if scores
        else "export the scores that the threshold is applied to",
    )


_SIGMOIDS = ("sigmoid", "hard_sigmoid")


def _ignored(options: ImportOptions, config: DeployConfig) -> int:
    """Returns the user's ignore index, else the training's."""
    default = ImportOptions.model_fields["ignore_index"].default
    return config.ignore_index if options.ignore_index == default else options.ignore_index


def _classes(graph: program.Program, mask: str) -> int:
    return output_semantics.recognise(graph, mask).num_classes if mask else output_semantics.num_classes(graph)


def _image(inputs: Sequence[TensorSpec]) -> TensorSpec:
    return next((spec for spec in inputs if spec.semantics == "image"), inputs[0])


def _fitting(preprocess: Preprocess, spec: TensorSpec, source: Path, *, pads: bool) -> tuple[Preprocess, list[str]]:
    """Adds a resize to the preprocessing if the program has a fixed input size and the export states none.

    Args:
        pads: Whether smaller images may be padded, because the image size is an input of the program.
    """
    if spec.shape[1] not in (preprocess.channels, -1):
        raise ModelSettingsError(
            f"{source}: the preprocessing is for {preprocess.channels} channels, "
            f"the input {spec.name!r} takes {spec.shape[1]}",
            hint="give as many means and standard deviations: --preprocess FILE, or --mean and --std",
        )
    if spec.shape[0] not in (1, -1):
        raise InputError(f"{source}: the program takes {spec.shape[0]} images at once; export it with a batch of 1")
    height, width = spec.shape[2:]
    fixed = height > 0 and width > 0
    if max(height, 1) * max(width, 1) > MAX_PIXELS:
        raise TooLargeError(
            f"{source}: the input {spec.name!r} is {width}x{height} pixels",
            cause=f"the limit is {MAX_PIXELS / 1e6:g} million pixels",
            hint="export it for a smaller size, or with a dynamic one",
        )
    if pads and fixed and preprocess.geometry:
        return fitted_into(preprocess, width, height)
    if not fixed or any(not isinstance(op, Clip) for op in preprocess.geometry):
        return preprocess, []
    resize = Resize(width=width, height=height)
    note = f"the export names no resize, but the program takes {width}x{height} only: a resize was added"
    return preprocess.model_copy(update={"geometry": (*preprocess.geometry, resize)}), [warning(note)]


def fitted_into(preprocess: Preprocess, width: int, height: int) -> tuple[Preprocess, list[str]]:
    """Replaces the sizes of preprocessing that keeps the aspect ratio and so may give another size."""
    resizes = [op for op in preprocess.geometry if isinstance(op, Resize | ResizeShort | ResizeLong)]
    pads = [op for op in preprocess.geometry if isinstance(op, Pad | PadToMultiple)]
    last = preprocess.geometry[-1]
    reaches = isinstance(last, Pad | Resize) and (last.width, last.height) == (width, height)
    if len(resizes) + len(pads) != len(preprocess.geometry) or (reaches and not getattr(last, "keep_ratio", False)):
        return preprocess, []
    interpolation = resizes[0].interpolation if resizes else "linear"
    black = tuple(mean / preprocess.scale for mean in preprocess.mean)  # 0 after normalization
    geometry = (
        Resize(width=width, height=height, keep_ratio=True, interpolation=interpolation),
        Pad(width=width, height=height, value=pads[-1].value if pads else black),
    )
    before = ", ".join(op.op for op in preprocess.geometry)
    note = f"the program takes {width}x{height} only: images are fitted into it and padded, in place of {before}"
    return preprocess.model_copy(update={"geometry": geometry}), [warning(note)]


def _labels(names: tuple[str, ...] | None, classes: int, source: Path, *, background: bool = True) -> tuple[Label, ...]:
    """Returns the classes with colours. With a background, the first class is black."""
    if names and classes and len(names) != classes:
        raise ModelSettingsError(
            f"{source}: {len(names)} labels for a model of {classes} classes",
            cause=f"the labels are {', '.join(names[:12])}",
            hint="give a file with one name per class: --labels FILE",
        )
    if not names and not classes:
        raise ModelSettingsError(
            f"{source}: the number of classes cannot be read from the graph", hint="name them: --labels FILE"
        )
    names = names or tuple(f"class_{index}" for index in range(classes))
    if background:
        return default_labels(names)
    colors = default_labels(("", *names))[1:]
    return tuple(label.model_copy(update={"id": label.id - 1}) for label in colors)


def _unscaled(preprocess: Preprocess) -> tuple[Preprocess, list[str]]:
    """Returns the preprocessing of a network that takes 8-bit pixels, and a warning if it was to scale them."""
    none = {"scale": 1.0, "mean": (0.0,) * preprocess.channels, "std": (1.0,) * preprocess.channels}
    unscaled = preprocess.model_copy(update=none)
    if unscaled == preprocess:
        return preprocess, []
    return unscaled, [warning("the network takes 8-bit pixels: they are fed as they are, without scale, mean and std")]


def _name(path: Path) -> str:
    return (path.resolve().name if path.is_dir() else path.stem) or "model"


def _stated(options: ImportOptions, config: DeployConfig) -> Preprocess:
    """Returns the export's preprocessing, overridden by the user's values."""
    stated = {
        name: value for name in ("color", "mean", "std", "tiles") if (value := getattr(options, name)) is not None
    }
    whole = (options.preprocess or config.preprocess).model_dump() | stated
    try:
        return Preprocess.model_validate(whole)
    except ValidationError as error:
        raise ModelSettingsError("the preprocessing that is stated is none", cause=one_line(error)) from None


def fix_input_size(
    path: Path, options: ImportOptions, source: ModelArtifact, data: Dataset, store: Store
) -> ModelArtifact:
    """Fixes the model's dynamic input size to the size of preprocessed images, if they all have the same size.

    Phones run one size, and size-dependent operators can only be exported for one size.
    """
    manifest = source.manifest
    if -1 not in manifest.image.shape[2:] or options.input_size is not None:
        return source
    sizes = {place(manifest.preprocess, *image_size(data.root / entry.image)).tensor for entry in data.entries}
    if len(sizes) != 1:
        return source
    return import_model(path, options.model_copy(update={"input_size": sizes.pop()}), store)

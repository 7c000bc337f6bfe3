"""Builds a network of PaddleSeg and writes it as a Paddle program. Commands: build, write.

The network begins with random weights and gets the caller's: nothing is downloaded, and no pickle is loaded. The code
of a user's checkout is executed.
"""

from __future__ import annotations

import difflib
import importlib.metadata
import inspect
import os
import sys

import numpy as np
from offline import stay_offline
from worker_host import WorkerFailure

_built = {}

stay_offline()


def _import_paddleseg(checkout):
    """Imports Paddle and PaddleSeg with downloads of pretrained weights disabled."""
    if checkout:
        sys.path.insert(0, checkout)
    import paddle
    import paddleseg
    from paddleseg.utils import utils

    if checkout and not os.path.realpath(paddleseg.__file__).startswith(os.path.realpath(checkout) + os.sep):
        raise WorkerFailure(f"{checkout}: paddleseg was imported from {os.path.dirname(paddleseg.__file__)}")
    paddle.load = lambda _path, **_options: {}
    for name in ("load_entire_model", "load_pretrained_model"):
        setattr(utils, name, lambda _network, _path: None)
    return paddle, paddleseg


def _components(manager, names):
    """The components that configurations can name, by kind; older versions have fewer kinds."""
    found = {}
    for name in names:
        if hasattr(manager, name):
            found = {**getattr(manager, name).components_dict, **found}
    return found


def _fitting(known, where):
    """The components that can stand in a place of the configuration: networks, backbones, or any."""
    from paddleseg.cvlibs import manager

    kind = {"model": "MODELS", "backbone": "BACKBONES"}.get(where.rpartition(".")[2])
    return _components(manager, (kind,)) if kind else known


def _make(section, known, where):
    """Builds a component after those in its parameters, as `paddleseg.cvlibs.Builder.build_component` does."""
    kind = section["type"]
    if kind not in known:
        fitting = _fitting(known, where)
        near = difflib.get_close_matches(kind, fitting, n=1)
        raise WorkerFailure(
            f"{where}.type: PaddleSeg has no {kind!r}",
            cause=f"it has {', '.join(sorted(fitting))}"[:2000],
            hint=f"did you mean {near[0]!r}?" if near else "give the checkout that has it: --paddleseg PATH",
        )

    def made(value, place):
        return _make(value, known, place) if isinstance(value, dict) and "type" in value else value

    params = {}
    for name, value in section.items():
        if name == "type":
            continue
        place = f"{where}.{name}"
        if name == "pretrained" and value is not None:  # some networks check that it exists
            value = os.devnull
        is_list = isinstance(value, list)
        params[name] = [made(each, place) for each in value] if is_list else made(value, place)
    component = known[kind]
    try:
        inspect.signature(component).bind(**params)
    except TypeError as error:
        takes = ", ".join(inspect.signature(component).parameters)
        raise WorkerFailure(f"{where}: {kind}: {error}", cause=f"it takes {takes}") from error
    try:
        return _instance(component, params)
    except Exception as error:
        text = " ".join(f"{type(error).__name__}: {error}".split())[:600]
        raise WorkerFailure(f"{where}: PaddleSeg cannot build {kind} with these parameters", cause=text) from error


def _instance(component, params):
    """The component; PaddleSeg's vision transformers ask whether their pretrained weights exist even without a path."""
    try:
        return component(**params)
    except TypeError:
        takes = inspect.signature(component).parameters.values()
        takes_weights = any(each.name == "pretrained" or each.kind is each.VAR_KEYWORD for each in takes)
        if not takes_weights or params.get("pretrained") is not None:
            raise
        return component(**{**params, "pretrained": os.devnull})


def _of_dataset(dataset, known, where, name):
    """Compares the classes or channels that a data set's class states with the model's."""
    value = getattr(known[dataset], name, None)
    if value is None:
        return where
    if where is not None and where != value:
        raise WorkerFailure(f"model: {where} in the configuration, {value} for the data set {dataset} ({name})")
    return value


def build(arguments, _arrays):
    """Builds the network; returns its weights, classes and channels."""
    paddle, paddleseg = _import_paddleseg(arguments["checkout"])
    from paddleseg.cvlibs import manager

    known = _components(manager, ("MODELS", "BACKBONES", "TRANSFORMS", "LOSSES", "OPTIMIZERS"))
    datasets = _components(manager, ("DATASETS",))
    model, dataset = dict(arguments["model"]), arguments["dataset"]
    has_backbone = isinstance(model.get("backbone"), dict)
    place = dict(model["backbone"]) if has_backbone else model
    if dataset in datasets:
        model["num_classes"] = _of_dataset(dataset, datasets, model.get("num_classes"), "NUM_CLASSES")
        place["in_channels"] = _of_dataset(dataset, datasets, place.get("in_channels"), "IMG_CHANNELS")
        for section, name in ((model, "num_classes"), (place, "in_channels")):
            if section[name] is None:
                del section[name]
    if has_backbone:
        model["backbone"] = place
    paddle.seed(arguments["seed"])
    np.random.seed(arguments["seed"])  # some networks draw from it
    network = _make(model, known, "model")
    if not isinstance(network, paddle.nn.Layer):
        raise WorkerFailure(f"model.type: {model['type']!r} is not a network")
    network.eval()
    _built.update(network=network, channels=place.get("in_channels", 3))
    weights = {name: [_name_of(value.dtype), value.shape] for name, value in network.state_dict().items()}
    return {
        "weights": weights,
        "num_classes": model.get("num_classes") or 0,
        "version": getattr(paddleseg, "__version__", "") or importlib.metadata.version("paddleseg"),
    }, []


def _name_of(dtype):
    return str(dtype).rpartition(".")[2]


def write(arguments, arrays):
    """Loads the weights, in the order of `names`, and writes `model.pdmodel` and `model.pdiparams`.

    `heads` 0 writes the argmax of the first output, as PaddleSeg's `export.py` does; an output of one channel, or one
    that is a mask, is not changed. Otherwise writes the scores of this many of the heads that PaddleSeg trains.
    """
    import paddle

    network, channels, heads = _built["network"], _built["channels"], arguments["heads"]
    own = network.state_dict()
    for name, value in zip(arguments["names"], arrays, strict=True):
        own[name].set_value(value)

    class Scores(paddle.nn.Layer):
        def __init__(self):
            super().__init__()
            self.network, self.heads = network, heads

        def forward(self, image):
            scores = self.network(image)
            return scores[: self.heads] if isinstance(scores, (list, tuple)) else scores

    class Mask(Scores):
        def forward(self, image):
            scores = self.network(image)
            if isinstance(scores, (list, tuple)):
                scores = scores[0]
            if paddle.is_integer(scores) or scores.shape[1] == 1:
                return scores
            return paddle.argmax(scores, axis=1, dtype="int32")

    exported = Scores() if heads else Mask()
    exported.eval()
    network.training = heads > 1  # only the network, not its layers: this selects the heads that it returns
    height, width = arguments["sides"] or (None, None)
    batch = 1 if height and not heads else None  # a network that is trained must not fix its reshapes to one image
    spec = paddle.static.InputSpec([batch, channels, height, width], "float32", name="x")
    try:
        static = paddle.jit.to_static(exported, input_spec=[spec])
        paddle.jit.save(static, os.path.join(arguments["folder"], "model"))
    except Exception as error:
        text = " ".join(f"{type(error).__name__}: {error}".split())[-600:]
        raise WorkerFailure(
            "PaddleSeg's network cannot be written as a program" + ("" if height else " for images of any size"),
            cause=text,
            hint="give the size of its training: --input-size WxH" if height else "fix its size: --input-size WxH",
        ) from error
    return {}, []


COMMANDS = {"build": build, "write": write}

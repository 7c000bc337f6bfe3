"""Builds a network of PaddleDetection and writes it as a Paddle program. Commands: build, write.

The network begins with random weights and gets the caller's: nothing is downloaded, and no pickle is loaded. The code
of a user's checkout is executed.
"""

from __future__ import annotations

import importlib.metadata
import importlib.util
import os
import sys
import types

import numpy as np
from offline import stay_offline
from worker_host import WorkerFailure

_built = {}

stay_offline()


def _import_networks(checkout):
    """Imports Paddle and the networks alone: the rest of `ppdet` needs packages that no network does."""
    if checkout:
        sys.path.insert(0, checkout)
    import paddle

    # PaddleDetection was written for a Paddle in which an element of a tensor has one dimension; now it has none.
    paddle.set_flags({"FLAGS_set_to_1d": True})
    paddle.nn.SyncBatchNorm = paddle.nn.BatchNorm2D  # for a CPU
    paddle.load = lambda _path, **_options: {}
    found = importlib.util.find_spec("ppdet")
    if found is None:
        raise WorkerFailure("ppdet, PaddleDetection's package, is not installed")
    package = types.ModuleType("ppdet")
    package.__spec__, package.__path__ = found, list(found.submodule_search_locations)
    sys.modules["ppdet"] = package
    import ppdet.modeling  # noqa: F401 - registers the networks
    from ppdet.core import workspace

    return paddle, workspace


def build(arguments, _arrays):
    """Builds the network; returns its weights and classes."""
    network = create_network(arguments, export=True)
    network.eval()
    return describe(network, arguments), []


def create_network(arguments, *, export):
    """Builds the network; `export`: without branches on the number of objects, as PaddleDetection does for ONNX."""
    paddle, workspace = _import_networks(arguments["checkout"])
    architecture, sections = arguments["architecture"], arguments["sections"]
    registered = workspace.get_registered_modules()
    if architecture not in registered:
        names = sorted(name for name, one in registered.items() if getattr(one, "category", "") == "architecture")
        raise WorkerFailure(
            f"architecture: PaddleDetection has no {architecture!r}",
            cause=f"it has {', '.join(names)}"[:700],
            hint="give the checkout that has it: --paddleseg PATH",
        )
    workspace.merge_config({**sections, "export_onnx": export})
    paddle.seed(arguments["seed"])
    np.random.seed(arguments["seed"])
    try:
        network = workspace.create(architecture)
    except Exception as error:
        text = " ".join(f"{type(error).__name__}: {error}".split())[:600]
        raise WorkerFailure(f"PaddleDetection cannot build {architecture} with these sections", cause=text) from error
    _built.update(network=network)
    return network


def describe(network, arguments):
    """The network's weights and classes."""
    weights = {name: [str(value.dtype).rpartition(".")[2], value.shape] for name, value in network.state_dict().items()}
    return {
        "weights": weights,
        "num_classes": arguments["sections"]["num_classes"],
        "version": importlib.metadata.version("paddledet") if not arguments["checkout"] else "",
    }


def load_weights(network, names, arrays):
    """Sets the weights of these names."""
    own = network.state_dict()
    for name, value in zip(names, arrays, strict=True):
        own[name].set_value(value)


def write(arguments, arrays):
    """Loads the weights, in the order of `names`, and writes `model.pdmodel` and `model.pdiparams`.

    The inputs are those of PaddleDetection's `export_model.py`: image, im_shape and scale_factor.
    """
    import paddle

    network = _built["network"]
    load_weights(network, arguments["names"], arrays)
    for layer in network.sublayers():
        if hasattr(layer, "convert_to_deploy"):
            layer.convert_to_deploy()
    height, width = arguments["sides"] or (None, None)
    batch = 1 if height else None
    shapes = {"image": [batch, 3, height, width], "im_shape": [batch, 2], "scale_factor": [batch, 2]}
    spec = {name: paddle.static.InputSpec(shape, "float32", name=name) for name, shape in shapes.items()}
    try:
        static = paddle.jit.to_static(network, input_spec=[spec])
        paddle.jit.save(static, os.path.join(arguments["folder"], "model"))
    except Exception as error:
        text = " ".join(f"{type(error).__name__}: {error}".split())[-600:]
        raise WorkerFailure(
            "PaddleDetection's network cannot be written as a program" + ("" if height else " for images of any size"),
            cause=text,
            hint="" if height else "fix the size of its input: --input-size WxH",
        ) from error
    return {}, []


COMMANDS = {"build": build, "write": write}

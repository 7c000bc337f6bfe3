"""Traces a model whose runtime can start and stop at any tensor. Commands: read, whole, accumulated, local, save.

Compared tensors are stored in .npy files: the reference's values by the name of the model's tensor.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
from difference import difference
from worker_host import WorkerFailure

Run = Callable[[dict[str, np.ndarray], list[str]], list[np.ndarray]]


@dataclass
class Graph:
    """A model's operators, with ONNX's names for their types.

    Attributes:
        nodes: Type, inputs and outputs of each operator, in order.
        constants: Names of inputs that do not depend on the image.
        inputs, outputs: Inputs and outputs of the model; an output may be the second name of a tensor.
        quantized: Tensor -> scale, zero point, and range of its 8-bit values.
        second_names: Second name of a tensor -> its name.
        files: The model's files -> their names in a copy.
        told: What a script that runs a copy has to know besides.
    """

    nodes: list[list]
    constants: list[str]
    inputs: list[str]
    outputs: list[str]
    quantized: dict[str, dict]
    second_names: dict[str, str]
    files: dict[str, str]
    told: dict = field(default_factory=dict)
    producers: dict[str, list[str]] = field(init=False)  # tensor -> its operator's inputs

    def __post_init__(self) -> None:
        self.producers = {name: given for _, given, made in self.nodes for name in made}

    def own(self, name: str) -> str:
        return self.second_names.get(name, name)

    def boundary(self, target: str, stops: set[str]) -> list[str]:
        """Returns the nearest stops or inputs before a tensor."""
        found, seen, waiting = {}, set(), list(self.producers.get(target, ()))
        while waiting:
            name = waiting.pop()
            if name in self.constants or name in seen:
                continue
            seen.add(name)
            if name in stops or name not in self.producers:
                found[name] = None
            else:
                waiting += self.producers[name]
        return list(found)


def commands(read_graph: Callable[[dict], Graph], run: Run) -> dict:
    """Returns the worker's commands.

    Args:
        read_graph: Opens the files that were passed to `read`.
        run: Computes tensors from the values of given ones.
    """
    state: dict = {}

    def read(arguments, _arrays):
        graph = state["graph"] = read_graph(arguments)
        aliases = [["Identity", [own], [name]] for name, own in graph.second_names.items()]
        return {
            "nodes": [*graph.nodes, *aliases],
            "constants": graph.constants,
            "inputs": graph.inputs,
            "outputs": graph.outputs,
            "quantized": graph.quantized
            | {n: graph.quantized[o] for n, o in graph.second_names.items() if o in graph.quantized},
        }, []

    def whole(arguments, arrays):
        graph = state["graph"]
        values = run(dict(zip(graph.inputs, arrays, strict=True)), [graph.own(name) for name in graph.outputs])
        pairs = zip(graph.outputs, values, strict=True)
        return {
            "differences": {n: _compared(arguments["files"][n], v) for n, v in pairs if n in arguments["files"]}
        }, []

    def accumulated(arguments, arrays):
        graph, files = state["graph"], arguments["files"]
        values = run(dict(zip(graph.inputs, arrays, strict=True)), [graph.own(name) for name in files])
        pairs = zip(files.items(), values, strict=True)
        return {"differences": {name: _compared(file, value) for (name, file), value in pairs}}, []

    def local(arguments, _arrays):
        graph, files, found = state["graph"], arguments["files"], {}
        for target in arguments["targets"]:
            feeds = _feeds(graph, target, arguments)
            (value,) = run({name: np.load(file) for name, file in feeds.items()}, [graph.own(target)])
            found[target] = _compared(files[target], value)
        return {"differences": found}, []

    def save(arguments, _arrays):
        graph = state["graph"]
        feeds, folder = _feeds(graph, arguments["target"], arguments), os.path.dirname(arguments["out"])
        for file, name in graph.files.items():
            shutil.copyfile(file, os.path.join(folder, name))
        with open(arguments["out"], "w") as stream:
            json.dump({"inputs": list(feeds), "output": graph.own(arguments["target"]), **graph.told}, stream)
        known = {graph.own(name): name for name in arguments["files"]}
        return {"inputs": [known[name] for name in feeds]}, []

    return {"read": read, "whole": whole, "accumulated": accumulated, "local": local, "save": save}


def _feeds(graph: Graph, target: str, arguments: dict) -> dict[str, str]:
    """Inputs of a target's operators -> the reference's files."""
    files = {graph.own(name): file for name, file in arguments["files"].items()}
    feeds = graph.boundary(graph.own(target), {graph.own(name) for name in arguments["stops"]} & files.keys())
    lacking = [name for name in feeds if name not in files]
    if lacking:
        raise WorkerFailure(f"{target}: the reference has no tensor for {', '.join(lacking)}, which it reads")
    return {name: files[name] for name in feeds}


def _compared(file: str, value: np.ndarray) -> dict:
    expected = np.load(file, mmap_mode="r")
    return difference(expected, value.reshape(expected.shape) if value.size == expected.size else value)

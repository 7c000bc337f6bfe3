"""Converts an ONNX model to MNN's format, and reads one. Commands: convert, describe.

MNN's console scripts install a telemetry package with pip and report their use; the converter function does
neither, so it is called directly.
"""

from __future__ import annotations

import hashlib
import json
import os
import tempfile

import _tools
import MNN
from worker_host import WorkerFailure

_AS_CONVOLUTION = "__matmul_converted"  # what MNN adds to a matrix product's name
_INTEGER_WEIGHTS = (1, 2, 4)  # IDSTQuan's types: dense, sparse, plain; 3 is fp16


def convert(arguments, _arrays):
    """Writes `out`; `options` are passed to the converter.

    With `weight_bits`, output of a product -> bits, weights are stored as integers. Those of other operators get 8
    bits, and the answer's `rounded` names these.
    """
    rounded = []
    out = arguments["out"]
    ends = ["-f", arguments["source_format"], "--modelFile", arguments["model"], "--MNNModel", out]
    command = ["mnnconvert", *ends, "--bizCode", "segexport", *arguments["options"]]
    if "weight_bits" in arguments:
        told = f"{out}.json"
        _tools.mnnconvert([*command, "--weightQuantBits", "8", "--compressionParamsFile", told])
        rounded = _set_bits(told, arguments["weight_bits"])
        command += ["--compressionParamsFile", told]
    _tools.mnnconvert(command)
    if "weight_bits" in arguments:
        os.unlink(told)
    if not os.path.isfile(out) or not os.path.getsize(out):
        raise WorkerFailure("MNN's converter wrote no model")  # the caller adds its log, which has the reason
    _settle_uuid(out)
    return {"version": MNN.version(), "rounded": rounded}, []


def _set_bits(file: str, bits: dict[str, int]) -> list[str]:
    """Sets the bits of each weight in the converter's list of them; returns the operators that have no bits here.

    A step is an output's largest magnitude / the largest integer, so weights that are multiples of it do not change.
    """
    others = []
    with open(file, encoding="utf-8") as stream:
        told = json.load(stream)
    for part in told["algo"]:
        for layer in part["quantParams"]["layer"]:
            name = layer["opName"].removesuffix(_AS_CONVOLUTION)
            if name not in bits:
                others.append(name)
            for weight in layer["weight"]:
                weight |= {"asymmetric": False, "bits": bits.get(name, 8)}
    with open(file, "w", encoding="utf-8") as stream:
        json.dump(told, stream)
    return others


def describe(arguments, _arrays):
    """Returns type, name and integer weight bits (0 if none) of each operator."""
    model = as_json(arguments["model"])
    operators = [[op["type"], op.get("name", ""), _weight_bits(op.get("main", {}))] for op in model["oplists"]]
    return {"operators": operators}, []


def as_json(file: str) -> dict:
    """Returns the whole model from MNN's JSON form."""
    with tempfile.TemporaryDirectory() as folder:
        text = os.path.join(folder, "model.json")
        _tools.mnnconvert(["mnnconvert", "-f", "MNN", "--modelFile", file, "--JsonFile", text])
        if not os.path.isfile(text):
            raise WorkerFailure(f"MNN cannot read {file}")
        with open(text) as stream:
            return json.load(stream)


def _weight_bits(parameters: dict) -> int:
    held = parameters.get("quanParameter", {})
    return held.get("aMaxOrBits", 0) if held.get("type") in _INTEGER_WEIGHTS else 0


def _settle_uuid(file: str) -> None:
    """Replaces the random id of a conversion by one that depends only on the bytes."""
    drawn = MNN.get_model_uuid(file).encode()
    with open(file, "rb") as stream:
        content = stream.read()
    blank = content.replace(drawn, b"0" * len(drawn))
    digest = hashlib.sha256(blank).hexdigest()
    settled = "-".join(digest[start:end] for start, end in ((0, 8), (8, 12), (12, 16), (16, 20), (20, 32)))
    with open(file, "wb") as stream:
        stream.write(content.replace(drawn, settled.encode()))


COMMANDS = {"convert": convert, "describe": describe}

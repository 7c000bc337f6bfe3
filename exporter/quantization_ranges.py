"""Stores activation ranges with a model: trained or calibrated on the program, used by the exporters.

The artifact contains them as `ranges.json`, with its digest in the manifest. A step that changes the program's
computation does not forward them; `set_head` and `to_onnx` do.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import NamedTuple

from pydantic import Field, ValidationError

from segexport.artifact import FileEntry, ModelArtifact, file_entry
from segexport.errors import UnreadableError, one_line
from segexport.exporter.program import Op, Program
from segexport.spec import Finite

RANGES_ROLE = "ranges"
_FILE = "ranges.json"
_MAX_BYTES = 16 << 20
_LEVELS = 256

# Operators that paddle2onnx and the simplifier fuse into the preceding convolution; only the last output keeps a name.
_FUSED = frozenset({"batch_norm", "elementwise_add"})
_PRODUCTS = frozenset({"matmul_v2", "matmul", "mul"})
CONVOLUTIONS = frozenset({"conv2d", "depthwise_conv2d", "conv2d_transpose", "depthwise_conv2d_transpose"})
_SAME = {"Add": ("elementwise_add", ("X", "Y")), "Mul": ("elementwise_mul", ("X", "Y")), "Concat": ("concat", ("X",))}


class Grid(Finite):
    """The 256 values of an unsigned 8-bit tensor: `scale` * (q - `zero_point`), q from 0 to 255."""

    scale: float = Field(gt=0)
    zero_point: int = Field(ge=0, lt=_LEVELS)

    @property
    def limits(self) -> tuple[float, float]:
        """The smallest and the largest value."""
        return -self.zero_point * self.scale, (_LEVELS - 1 - self.zero_point) * self.scale


def signed_grid(limit: float) -> Grid:
    """The grid of a tensor that is rounded to 127 steps of a limit on either side of 0: its larger end is the limit."""
    return Grid(scale=limit / 128, zero_point=127)


class Ranges(Finite):
    """Tensor -> grid. Names are those of the program or of the ONNX file in the same artifact."""

    tensors: dict[str, Grid]

    @classmethod
    def of(cls, artifact: ModelArtifact) -> Ranges | None:
        """Reads the artifact's ranges; None if it has none.

        Raises:
            InputError: The file is not a ranges file.
        """
        entry = next((entry for entry in artifact.manifest.files if entry.role == RANGES_ROLE), None)
        if entry is None:
            return None
        path = artifact.path / entry.path
        try:
            with path.open("rb") as stream:
                return cls.model_validate_json(stream.read(_MAX_BYTES))
        except (OSError, ValidationError) as error:
            cause = one_line(error) if isinstance(error, ValidationError) else str(error)
            raise UnreadableError(
                f"{path}: no ranges of a quantized model", cause=cause, hint="make it again"
            ) from error

    def limits(self) -> dict[str, tuple[float, float]]:
        """Returns tensor -> (lowest, highest) value."""
        return {name: grid.limits for name, grid in self.tensors.items()}

    def renamed(self, names: Mapping[str, str]) -> Ranges:
        """Renames the tensors; omits tensors without a new name."""
        return Ranges(tensors={names[name]: grid for name, grid in self.tensors.items() if name in names})

    def write(self, folder: Path) -> FileEntry:
        """Writes the file into an artifact's folder."""
        (folder / _FILE).write_text(self.model_dump_json(indent=1) + "\n", encoding="utf-8")
        return ranges_entry(folder)


def ranges_entry(folder: Path) -> FileEntry:
    """Describes the file that `Ranges.write` has written."""
    return file_entry(folder, _FILE, RANGES_ROLE)


def passed_on(source: ModelArtifact, folder: Path) -> tuple[FileEntry, ...]:
    """Writes the source's ranges into another artifact's folder; empty if it has none."""
    ranges = Ranges.of(source)
    return () if ranges is None else (ranges.write(folder),)


class OnnxNode(NamedTuple):
    """A node of an ONNX graph, as `onnx_worker` lists it."""

    kind: str
    name: str
    inputs: list[str]
    outputs: list[str]


def onnx_to_program(program: Program, nodes: Iterable[OnnxNode]) -> dict[str, str]:
    """Maps ONNX tensors to the program variables that they were converted from, if any.

    paddle2onnx keeps the variables' names except for operators fused into a convolution (found by the convolution), for
    sums and concatenations (found by their inputs), and for operators of several nodes (found by the convolution that
    reads the last one).

    Args:
        program: The converted program.
        nodes: Nodes of the ONNX graph, in topological order.
    """
    producers, consumers, fetched = program.producers(), program.consumers(), set(program.fetch_names)
    joined = {
        (op.type, tuple(sorted(name for slot in slots for name in op.inputs.get(slot, [])))): op.output("Out") or ""
        for kind, slots in _SAME.values()
        for op in program.ops
        if op.type == kind
    }
    found = {name: name for name in program.feed_names}
    for node in nodes:
        out = node.outputs[0]
        op = _convolution(node, program, producers)
        if op is not None and (read := op.input("Input") or "") not in found.values():
            found.setdefault(node.inputs[0], read)
        if op is not None and len(node.inputs) > 2 and out not in fetched:
            found[out] = last_fused(program, op, consumers)
        elif out in program.vars:
            found[out] = out
        elif node.kind in _SAME and all(name in found for name in node.inputs):
            key = (_SAME[node.kind][0], tuple(sorted(found[name] for name in node.inputs)))
            if joined.get(key):
                found[out] = joined[key]
    return found


def onnx_convolutions(program: Program, nodes: Iterable[OnnxNode]) -> dict[str, str]:
    """Maps the names of ONNX convolutions to the outputs of the program's convolutions."""
    producers = program.producers()
    pairs = ((node.name, _convolution(node, program, producers)) for node in nodes)
    return {name: op.output("Output") or "" for name, op in pairs if op is not None}


def read_by_convolutions(program: Program, nodes: Iterable[OnnxNode]) -> dict[str, str]:
    """Maps the inputs of the program's convolutions to the ONNX tensors that are read instead."""
    producers = program.producers()
    pairs = ((node, _convolution(node, program, producers)) for node in nodes)
    return {op.input("Input") or "": node.inputs[0] for node, op in pairs if op is not None}


def onnx_products(program: Program, nodes: Iterable[OnnxNode]) -> dict[str, str]:
    """Maps the names of ONNX matrix products to the outputs of the program's products with a matrix of weights."""
    producers = program.producers()
    pairs = ((node, producers.get(node.outputs[0])) for node in nodes if node.kind == "MatMul")
    return {
        node.name: op.output("Out") or ""
        for node, op in pairs
        if op is not None and op.type in _PRODUCTS and op.input("Y") in program.params
    }


def _convolution(node: OnnxNode, program: Program, producers: Mapping[str, Op]) -> Op | None:
    """Finds the program's convolution: paddle2onnx names the node or its output after the operator's output.

    One that gives the program's output has that name instead, with all that is fused into it: the convolution is behind
    that in the program.
    """
    found = (producers.get(name) for name in (node.name, node.outputs[0]))
    named = next((op for op in found if op is not None and op.type in CONVOLUTIONS), None)
    if named is not None or node.kind not in ("Conv", "ConvTranspose"):
        return named
    behind = producers.get(node.outputs[0])
    while behind is not None and behind.type not in CONVOLUTIONS:
        computed = [name for names in behind.inputs.values() for name in names if not is_constant(program, name)]
        behind = producers.get(computed[0]) if len(computed) == 1 else None
    return behind


def last_fused(program: Program, convolution: Op, consumers: Mapping[str, list[Op]]) -> str:
    """Returns the output of the bias and BatchNorm after a convolution, which exporters fold into it."""
    name = convolution.output("Output") or ""
    while len(readers := consumers.get(name, [])) == 1 and readers[0].type in _FUSED:
        op = readers[0]
        others = [other for slot in ("X", "Y") for other in op.inputs.get(slot, []) if other != name]
        if op.type == "elementwise_add" and not all(is_constant(program, other) for other in others):
            break
        name = op.output("Y" if op.type == "batch_norm" else "Out") or ""
    return name


def is_constant(program: Program, name: str) -> bool:
    """Whether a variable is a parameter or a reshaped parameter."""
    if name in program.params:
        return True
    op = program.producers().get(name)
    return op is not None and op.type in ("reshape2", "unsqueeze2") and (op.input("X") or "") in program.params

"""Calibrates a program: ranges for exporters that cannot observe them, and initial ranges for training."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, NamedTuple

from segexport.artifact import Manifest, ModelArtifact, file_entry, write_artifact
from segexport.errors import UnsupportedModelError
from segexport.exporter import program
from segexport.exporter.onnx_quantize import QuantizeOnnx, quantize
from segexport.exporter.quantization_ranges import (
    CONVOLUTIONS,
    Grid,
    Ranges,
    onnx_convolutions,
    onnx_products,
    onnx_to_program,
    read_by_convolutions,
)
from segexport.exporter.quantized_program import require_float
from segexport.exporter.to_onnx import ToOnnx, onnx_nodes
from segexport.pipeline.step import StepContext, lineage_entry
from segexport.recipe.calibration import Calibration
from segexport.spec import Format, ImageStatistics

if TYPE_CHECKING:
    import numpy as np

_ROLES = ("model", "params")
_NAMED = 3  # most tensors that a note lists


class Calibrate:
    """Observes activation ranges and writes them to `ranges.json` beside the unchanged program."""

    kind = "calibrate"
    version = "6"
    accepts = Format.PADDLE
    produces = Format.PADDLE
    needs = ("paddle2onnx", "onnx", "onnxruntime")
    uses_data = True
    Params = Calibration

    def __init__(self, params: Calibration | None = None) -> None:
        self.params = params or Calibration()

    def run(self, source: ModelArtifact, out_dir: Path, context: StepContext) -> Manifest:
        """Writes the program and `ranges.json`.

        Raises:
            InputError: As `QuantizeOnnx.run`.
            UnsupportedModelError: As `where_it_rounds`, or the program is already quantized.
        """
        require_float(source, "calibration")
        changes = {"rounding": "nearest", "agreement": 0.0, "bias_correction": False}  # ranges of all that can be int8
        found = where_it_rounds(source, self.params.model_copy(update=changes), context)
        graph = program.read(source.file("model"), source.file("params"))
        files = (file_entry(out_dir, path.name, role) for role, path in zip(_ROLES, graph.write(out_dir), strict=True))
        lineage = lineage_entry(self, context.key, found.notes, found.calibrated_on)
        return source.manifest.model_copy(
            update={
                "files": (*files, found.ranges.write(out_dir)),
                "lineage": (*source.manifest.lineage, lineage),
                "sample": None,
            }
        )


class Rounding(NamedTuple):
    """The tensors and weights that a program's int8 export rounds.

    Attributes:
        ranges: Activation ranges by program variable.
        weights: Outputs of the convolutions whose weights are rounded.
        whole: Convolution output -> integer weights, if they were rounded with compensation; a channel with a negative
            BatchNorm scale has the opposite sign.
        notes: Notes for the lineage.
        calibrated_on: Statistics of the calibration images, if there was a calibration.
        floats: Outputs of all other convolutions.
        matrices: Output of a product with a matrix of weights -> integer weights (in, out), in the same way.
        added: Variable -> what bias correction adds to its channels.
        read: Ranges of the convolutions' inputs, also of variables for which ONNX has another one with the same values.
    """

    ranges: Ranges
    weights: frozenset[str]
    whole: dict[str, np.ndarray]
    notes: tuple[str, ...]
    calibrated_on: ImageStatistics | None = None
    matrices: Mapping[str, np.ndarray] = MappingProxyType({})
    floats: frozenset[str] = frozenset()
    added: Mapping[str, np.ndarray] = MappingProxyType({})
    read: Mapping[str, Grid] = MappingProxyType({})


def where_it_rounds(source: ModelArtifact, calibration: Calibration, context: StepContext) -> Rounding:
    """Exports and quantizes a program into a temporary folder and reads which of its tensors are rounded.

    Args:
        calibration: Or `QuantizeOnnx.Params`.

    Raises:
        InputError: As `QuantizeOnnx.run`.
        UnsupportedModelError: Nothing would run in int8, or no rounded tensor maps back to the program.
    """
    plain = QuantizeOnnx.Params(**{**dict(calibration), "equalize": False})  # the program's weights are not equalized
    with tempfile.TemporaryDirectory(prefix="segexport-ranges-") as scratch:
        folder = Path(scratch)
        fp32 = write_artifact(folder, ToOnnx().run(source, folder, context))
        done = quantize(fp32, folder / "int8.onnx", plain, context)
        nodes = onnx_nodes(folder / "model.onnx", context)
    graph = program.read(source.file("model"), source.file("params"))
    names, convolutions = onnx_to_program(graph, nodes), onnx_convolutions(graph, nodes)
    ranges, of_onnx = done.ranges.renamed(names), read_by_convolutions(graph, nodes)
    read = {var: done.ranges.tensors[name] for var, name in of_onnx.items() if name in done.ranges.tensors}
    added = {names[name]: value for name, value in done.added.items() if name in names}
    weights = frozenset(convolutions[name] for name in done.chosen if name in convolutions)
    floats = frozenset(op.output("Output") or "" for op in graph.ops if op.type in CONVOLUTIONS) - weights
    if not ranges.tensors or not weights:
        raise UnsupportedModelError(
            f"{len(ranges.tensors)} tensors and {len(weights)} convolutions of this program are int8 in its export",
            cause="the export computes in float, or its names are not those of the program",
            hint="leave steps calibrate and qat out: onnx_int8 calibrates without them",
        )
    whole = {convolutions[name]: value for name, value in done.whole.items() if name in convolutions}
    notes = [f"{len(ranges.tensors)} tensors and the weights of {len(weights)} convolutions are rounded to int8"]
    products = onnx_products(graph, nodes)
    matrices = {products[name]: value for name, value in done.whole.items() if name in products}
    if whole:
        notes.append(f"the weights of {len(whole)} convolutions are rounded with compensation")
    if lost := sorted(done.ranges.tensors.keys() - names.keys()):
        named = ", ".join(lost[:_NAMED]) + (" ..." if len(lost) > _NAMED else "")
        notes.append(f"{len(lost)} tensors of the int8 export have no name in the program ({named})")
    notes += done.notes
    return Rounding(ranges, weights, whole, tuple(notes), done.calibrated_on, matrices, floats, added, read)

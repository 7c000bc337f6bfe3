"""The schema of a diagnosis; `diagnosis.json` has this form, every other format is made from it."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from segexport.spec import Frozen

DIAGNOSIS_SCHEMA_VERSION = 1


class Difference(Frozen):
    """Comparison of a tensor of the export with the reference's.

    Attributes:
        shape, found_shape: Sizes in the reference and in the export; if they differ, the other fields are unknown.
        max_abs, rms: Largest and root-mean-square difference.
        low, high, expected_rms: Minimum, maximum and root mean square of the reference's tensor.
        differing: Fraction of different elements, for integers.
        worst: Index of the largest difference, with both values.
        finite: False if the export has NaN or infinity where the reference has none.
    """

    shape: tuple[int, ...]
    found_shape: tuple[int, ...]
    max_abs: float | None = None
    rms: float | None = None
    low: float | None = None
    high: float | None = None
    expected_rms: float | None = None
    differing: float | None = None
    worst: tuple[int, ...] = ()
    worst_expected: float | None = None
    worst_found: float | None = None
    finite: bool = True

    @property
    def fits(self) -> bool:
        """Whether the tensors could be compared."""
        return self.max_abs is not None

    @property
    def span(self) -> float:
        """The reference tensor's range; its magnitude if it is constant."""
        span = (self.high or 0.0) - (self.low or 0.0)
        return max(span, 1e-3 * max(abs(self.low or 0.0), abs(self.high or 0.0)), 1e-12)

    @property
    def relative(self) -> float:
        """Largest difference / range; for integers, the fraction of different elements; infinity if sizes differ."""
        if not self.fits or not self.finite:
            return float("inf")
        return self.differing if self.differing is not None else (self.max_abs or 0.0) / self.span

    @property
    def steps(self) -> float:
        """Root-mean-square difference in 8-bit steps of the range; for integers, the fraction of different elements."""
        if not self.fits or not self.finite:
            return float("inf")
        return self.differing if self.differing is not None else (self.rms or 0.0) / self.span * 255.0


class QuantizedTensor(Frozen):
    """An 8-bit tensor: the values from `low` to `high` in steps of `scale`.

    Attributes:
        rounding_ratio: Root-mean-square error of rounding the reference's tensor to these steps, divided by that of
            rounding it to 256 steps of its range on this image.
        is_shifted: Whether the ratio is larger than another image explains.
    """

    scale: float
    zero_point: int
    low: float
    high: float
    rounding_ratio: float | None = None
    is_shifted: bool = False


class LayerComparison(Frozen):
    """The operators that compute one tensor of both graphs from the previous ones.

    Attributes:
        variable: The tensor's name in the reference program.
        operators: The reference's operators from the previous tensors to this one.
        scope: Position of the last of them in the network's source, if the program records it.
        tensor, export_operators: The same in the export.
        nodes: Names in the file of the export's operators, as Netron and Model Explorer show them; of ONNX only.
        matched_by: `name`, or `structure` if the exporter has renamed the tensor.
        accumulated: Error if both graphs run from the image on.
        local: Error of this layer alone, with the reference's tensors as inputs; None if it cannot run alone.
        expected: The limit of `score`.
        score: The local error in the unit of `expected` (see `diagnose_judge`).
    """

    variable: str
    operators: tuple[str, ...]
    scope: str = ""
    tensor: str
    export_operators: tuple[str, ...] = ()
    nodes: tuple[str, ...] = ()
    matched_by: Literal["name", "structure"] = "name"
    shape: tuple[int, ...]
    quantized: QuantizedTensor | None = None
    accumulated: Difference | None = None
    local: Difference | None = None
    score: float | None = None
    expected: float = 0.0
    is_faulty: bool = False


class Finding(Frozen):
    """A fault.

    Attributes:
        kind: `preprocess`; `operator`: one layer alone is wrong; `fusion`: only the fused graph is wrong;
            `accumulation`: every layer is within its limit, but the errors add up; `file`: the export differs from a
            new conversion of its source.
        layer: The layer's variable, if any.
    """

    kind: Literal["preprocess", "operator", "fusion", "accumulation", "file"]
    message: str
    layer: str = ""
    operators: tuple[str, ...] = ()


class Diagnosis(Frozen):
    """The whole result.

    Attributes:
        unit: The unit of `LayerComparison.score` and `LayerComparison.expected`.
        whole: The unchanged export's outputs, by the reference's names.
        findings: The faults, most important first; empty if there are none.
        graph: Name of the graph in the export's file; of ONNX only.
    """

    schema_version: int = DIAGNOSIS_SCHEMA_VERSION
    segexport_version: str
    export: str
    reference: str
    image: str
    format: str
    precision: str
    unit: str
    graph: str = ""
    findings: tuple[Finding, ...] = ()
    whole: dict[str, Difference] = Field(default_factory=dict)
    layers: tuple[LayerComparison, ...] = ()
    unmatched: tuple[str, ...] = ()  # the reference's variables that the export no longer has
    notes: tuple[str, ...] = ()
    seconds: float = 0.0

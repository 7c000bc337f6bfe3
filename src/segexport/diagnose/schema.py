"""The schema of a diagnosis; `diagnosis.json` has this form, every other format is made from it."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from segexport.spec import Frozen

DIAGNOSIS_SCHEMA_VERSION = 1


class Difference(Frozen):
    """A tensor of the export against the reference's.

    Attributes:
        shape, found_shape: Sizes in the reference and in the export; where they do not fit, nothing else is known.
        max_abs, rms: Largest and root-mean-square difference.
        low, high, expected_rms: Of the reference's tensor.
        differing: Share of elements that are not the same, where the tensor is of integers.
        worst: Index of the largest difference, with the two values there.
        finite: False when the export has NaN or infinity where the reference has none.
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
        """Whether the tensors could be compared at all."""
        return self.max_abs is not None

    @property
    def span(self) -> float:
        """The reference tensor's range; its magnitude where it is constant."""
        span = (self.high or 0.0) - (self.low or 0.0)
        return max(span, 1e-3 * max(abs(self.low or 0.0), abs(self.high or 0.0)), 1e-12)

    @property
    def relative(self) -> float:
        """Largest difference over the range; the share of other elements for integers; infinity where nothing fits."""
        if not self.fits or not self.finite:
            return float("inf")
        return self.differing if self.differing is not None else (self.max_abs or 0.0) / self.span

    @property
    def steps(self) -> float:
        """Root-mean-square difference in 8-bit steps of the range; the share of other elements for integers."""
        if not self.fits or not self.finite:
            return float("inf")
        return self.differing if self.differing is not None else (self.rms or 0.0) / self.span * 255.0


class QuantizedTensor(Frozen):
    """An 8-bit tensor: the values from `low` to `high` in steps of `scale`.

    Attributes:
        rounding_ratio: Root-mean-square error of the reference's tensor held so, over the error of the same tensor held
            in the range that it has on this image.
        is_shifted: The ratio is more than another image explains.
    """

    scale: float
    zero_point: int
    low: float
    high: float
    rounding_ratio: float | None = None
    is_shifted: bool = False


class LayerComparison(Frozen):
    """The operators that lead to one tensor that both graphs have.

    Attributes:
        variable: The tensor, by the name that it has in the reference program.
        operators: The reference's operators from the tensors before it to this one.
        scope: Place in the network's source of the last of them, if the program records it.
        tensor, export_operators: The same in the export.
        matched_by: `name`, or `structure` where the exporter has renamed the tensor.
        accumulated: Error when both graphs run from the image on.
        local: Error of this layer alone, fed with the reference's own tensors; None where it cannot run alone.
        expected: What `score` may be.
        score: The local error in the unit of `expected` (see `diagnose_judge`).
    """

    variable: str
    operators: tuple[str, ...]
    scope: str = ""
    tensor: str
    export_operators: tuple[str, ...] = ()
    matched_by: Literal["name", "structure"] = "name"
    shape: tuple[int, ...]
    quantized: QuantizedTensor | None = None
    accumulated: Difference | None = None
    local: Difference | None = None
    score: float | None = None
    expected: float = 0.0
    is_faulty: bool = False


class Finding(Frozen):
    """One thing that is wrong.

    Attributes:
        kind: `preprocess`; `operator`: one layer alone is off; `fusion`: only the fused graph is off; `accumulation`:
            every layer is as exact as it should be, and the errors add up; `file`: the export is not what its source
            gives today.
        layer: The layer's variable, where there is one.
    """

    kind: Literal["preprocess", "operator", "fusion", "accumulation", "file"]
    message: str
    layer: str = ""
    operators: tuple[str, ...] = ()


class Diagnosis(Frozen):
    """The whole result.

    Attributes:
        unit: What `LayerComparison.score` and `LayerComparison.expected` count.
        whole: The unchanged export's outputs, by the reference's names.
        findings: The first one is where to look first; empty when nothing is off.
    """

    schema_version: int = DIAGNOSIS_SCHEMA_VERSION
    segexport_version: str
    export: str
    reference: str
    image: str
    format: str
    precision: str
    unit: str
    findings: tuple[Finding, ...] = ()
    whole: dict[str, Difference] = Field(default_factory=dict)
    layers: tuple[LayerComparison, ...] = ()
    unmatched: tuple[str, ...] = ()  # the reference's variables that the export no longer has
    notes: tuple[str, ...] = ()
    seconds: float = 0.0

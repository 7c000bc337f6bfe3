"""The schema of `report.json`, the canonical result of a check, from which all other forms are rendered."""

from __future__ import annotations

from html import escape
from typing import Annotated, Any, Literal

from pydantic import Field

from segexport.measure.mask_proof import MaskProof
from segexport.spec import Frozen, Label, TaskName
from segexport.ui.pictures import Tile
from segexport.verdict import Check, Verdict

REPORT_SCHEMA_VERSION = 1

VALUES_RUN = "values.run"
"""The check of an export whose own file, or own arithmetic, no runtime of this check ran."""
NOT_RUN_HERE = "values not run here"
"""The mark beside the verdict of an export that was not run itself, in every form of the report."""

Chosen = Literal["worst", "best", "random"]


class Percentiles(Frozen):
    """Milliseconds per image (batch 1)."""

    p50: float
    p90: float
    p99: float


class Latency(Frozen):
    """Times of one export or reference.

    Attributes:
        samples_ms: Raw inference times, in measurement order.
        sessions_ms: Time for one image in each process; latency ratios use these.
        load_ms, first_ms: Cold start: time to load the model, and time of the first run; medians over the sessions.
        peak_rss_bytes: Peak memory of a session's process, including interpreter and runtime.
    """

    inference_ms: Percentiles
    samples_ms: tuple[float, ...] = ()
    sessions_ms: tuple[Annotated[float, Field(gt=0, allow_inf_nan=False)], ...] = ()
    load_ms: float | None = None
    first_ms: float | None = None
    preprocess_ms: float | None = None
    postprocess_ms: float | None = None
    peak_rss_bytes: int | None = None
    threads: int = 1
    device: str = ""


class InstructionCount(Frozen):
    """Instructions of one inference on one thread, in user mode; a cost, not a speed.

    Attributes:
        counted_by: The runtime and the counter, with versions. Counts of different ones are not comparable.
    """

    instructions: int = Field(ge=0)
    counted_by: str


class ShownImage(Frozen):
    """An image that the report shows.

    Attributes:
        chosen: Why: export and reference differ most on it, or least, or it was drawn at random (`measure.parity`).
        picture: Path of a PNG or JPEG, relative to the report: image, truth, both masks and their difference.
        picture_size, tiles: Size of the picture in pixels, and where its parts are; empty in older reports.
    """

    image: str
    agreement: float
    miou: float | None = None
    miou_reference: float | None = None
    chosen: Chosen = "worst"
    picture: str | None = None
    picture_size: tuple[int, int] | None = None
    tiles: tuple[Tile, ...] = ()


class ObjectScores(Frozen):
    """Scores of an instance segmentation model. Fractions of 1; deltas are export minus reference.

    Attributes:
        bbox_mmap, segm_mmap: COCO's average precision of boxes and of masks, mean over the IoU from 0.5 to 0.95.
        class_ap: AP per class: of masks, or of boxes if only boxes are annotated.
        found: Number of objects with a score of at least 0.5, in all images.
        box_iou, mask_iou: Mean IoU over the pairs of objects matched between both models.
    """

    bbox_mmap: float | None = None
    bbox_mmap_delta: float | None = None
    bbox_mmap_delta_interval: tuple[float, float] | None = None
    segm_mmap: float | None = None
    segm_mmap_delta: float | None = None
    segm_mmap_delta_interval: tuple[float, float] | None = None
    class_ap: tuple[float | None, ...] = ()
    class_ap_delta: tuple[float | None, ...] = ()
    found: int = 0
    box_iou: float | None = None
    mask_iou: float | None = None

    @property
    def mmap(self) -> float | None:
        """mAP of masks, or of boxes if only boxes are annotated."""
        return self.bbox_mmap if self.segm_mmap is None else self.segm_mmap

    @property
    def mmap_delta(self) -> float | None:
        """The change of `mmap`."""
        return self.bbox_mmap_delta if self.segm_mmap is None else self.segm_mmap_delta

    @property
    def mmap_delta_interval(self) -> tuple[float, float] | None:
        """The 95 % interval of `mmap_delta`."""
        return self.bbox_mmap_delta_interval if self.segm_mmap is None else self.segm_mmap_delta_interval


class ExportResult(Frozen):
    """One row of the table. mIoU, IoU and agreement are fractions of 1; deltas are export minus reference."""

    name: str
    format: str
    precision: str
    runtime: str = ""
    provider: str = ""
    device: str = ""
    target: str = ""
    digest: str = ""
    verdict: Verdict
    miou: float | None = None
    miou_reference: float | None = None
    miou_delta: float | None = None
    miou_delta_interval: tuple[float, float] | None = None
    pixel_accuracy: float | None = None
    kappa: float | None = None
    agreement: float | None = None
    agreement_worst: float | None = None
    class_iou: tuple[float | None, ...] = ()
    class_iou_delta: tuple[float | None, ...] = ()
    objects: ObjectScores | None = None
    size_bytes: int | None = None
    size_ratio: float | None = None  # export / reference model
    latency: Latency | None = None
    latency_ms: Percentiles | None = None
    latency_ratio: float | None = None  # this export / latency_baseline; below 1 is faster
    latency_ratio_interval: tuple[float, float] | None = None
    latency_baseline: str = ""
    instructions: dict[str, InstructionCount] = Field(default_factory=dict)  # by processor
    checks: tuple[Check, ...] = ()
    worst_images: tuple[ShownImage, ...] = ()
    other_images: tuple[ShownImage, ...] = ()  # the best, and some drawn at random
    operators: dict[str, dict[str, int]] = Field(default_factory=dict)  # precision -> operator type -> count
    notes: tuple[str, ...] = ()
    error: str | None = None

    @property
    def not_run(self) -> str:
        """A sentence about the substitute that ran for the export's file or arithmetic; empty if there was none."""
        return next((check.message for check in self.checks if check.name == VALUES_RUN), "")

    @property
    def outcome(self) -> str:
        """The verdict, with the mark of an export whose values were not run."""
        return f"{self.verdict.value}, {NOT_RUN_HERE}" if self.not_run else self.verdict.value


class Recorded(Frozen):
    """The recording that supplied the reference's masks instead of a model run.

    Attributes:
        kind: `recording` or `golden pack`.
        created: Time of recording.
        digest: sha256 of the file's header, which covers the whole content.
        images: Number of images.
        driver: GPU driver.
        noise_pixels: Pixels that differed between two runs of the reference; None if not measured.
        noise_miou_delta: Change of the reference's mIoU between the two runs.
    """

    kind: str
    created: str
    digest: str
    images: int
    driver: str = ""
    noise_pixels: int | None = None
    noise_miou_delta: float | None = None


class ReferenceResult(Frozen):
    """The reference of the comparison. `proof`: how its masks were computed, if the runtime has several ways."""

    name: str
    runtime: str
    provider: str = ""
    device: str
    is_gpu: bool = False
    recorded: Recorded | None = None
    digest: str = ""
    miou: float | None = None
    pixel_accuracy: float | None = None
    kappa: float | None = None
    class_iou: tuple[float | None, ...] = ()
    objects: ObjectScores | None = None
    size_bytes: int | None = None
    latency: Latency | None = None
    gpu_latency: Latency | None = None
    proof: MaskProof | None = None
    notes: tuple[str, ...] = ()


class Groups(Frozen):
    """Groups of dependent images; intervals are then computed over groups.

    Attributes:
        how: `auto`, `column`, or the pattern on file names.
        smallest, largest: Number of images in the smallest and the largest group.
    """

    how: str
    count: int
    smallest: int
    largest: int


class DatasetInfo(Frozen):
    """The images. Without labels, the mIoU is the mask IoU with the reference's masks."""

    path: str
    split: str
    images: int
    labelled: bool
    fingerprint: str
    label_map: dict[str, str] = Field(default_factory=dict)
    groups: Groups | None = None


class Baseline(Frozen):
    """The earlier report used as baseline; the checks `baseline.*` contain the outcome.

    Attributes:
        changed: Differences besides the results: export files, versions, devices.
        tolerances: Accepted losses: fractions of 1 for accuracy, relative growth for size and latency.
    """

    title: str
    created: str
    segexport_version: str
    verdict: Verdict
    changed: tuple[str, ...] = ()
    tolerances: dict[str, float] = Field(default_factory=dict)


class Report(Frozen):
    """The complete result of `segexport check` or `segexport run`."""

    schema_version: int = REPORT_SCHEMA_VERSION
    segexport_version: str
    created: str  # ISO 8601, UTC
    title: str
    verdict: Verdict
    metric: str  # the convention of mIoU or AP, in one sentence
    task: TaskName = "semantic"
    labels: tuple[Label, ...]
    dataset: DatasetInfo
    reference: ReferenceResult
    exports: tuple[ExportResult, ...]
    baseline: Baseline | None = None
    environment: dict[str, Any] = Field(default_factory=dict)
    notes: tuple[str, ...] = ()

    def __repr__(self) -> str:
        each = ", ".join(f"{export.name} {export.outcome}" for export in self.exports)
        return f"<Report {self.verdict.value}: {each}>"

    def _repr_html_(self) -> str:
        """Renders a notebook view with one row per export."""
        head = ("export", "verdict", "ΔmIoU", "agreement", "size")
        lines = [f"<tr>{''.join(f'<th>{name}</th>' for name in head)}</tr>"]
        for export in self.exports:
            cells = (
                escape(export.name),
                export.outcome,
                "–" if export.miou_delta is None else f"{export.miou_delta:+.4f}",
                "–" if export.agreement is None else f"{export.agreement:.3%}",
                "–" if export.size_ratio is None else f"{export.size_ratio:.2f}x",
            )
            lines.append(f"<tr>{''.join(f'<td>{cell}</td>' for cell in cells)}</tr>")
        return f"<table><caption>{self.verdict.value}</caption>{''.join(lines)}</table>"

"""`report.json`: the canonical result of a check. Every other form (table, markdown, HTML, JUnit) is drawn from it."""

from __future__ import annotations

from html import escape
from typing import Annotated, Any

from pydantic import Field

from segexport.measure.mask_proof import MaskProof
from segexport.spec import Frozen, Label, TaskName
from segexport.verdict import Check, Verdict

REPORT_SCHEMA_VERSION = 1


class Percentiles(Frozen):
    """Milliseconds per image (batch 1)."""

    p50: float
    p90: float
    p99: float


class Latency(Frozen):
    """Times of one export or reference.

    Attributes:
        samples_ms: Raw inference times, in the order taken.
        sessions_ms: What each process that was started for it took for one image; ratios come from these.
        load_ms, first_ms: Of a cold start: loading the model, and the first run after it; medians over the sessions.
        peak_rss_bytes: The most memory that such a process held, interpreter and runtime included.
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


class WorstImage(Frozen):
    """An image on which export and reference differ most. `picture` is a PNG beside the report, relative to it."""

    image: str
    agreement: float
    miou: float | None = None
    miou_reference: float | None = None
    picture: str | None = None


class ObjectScores(Frozen):
    """Scores of an instance segmentation model. Fractions of 1; deltas are export minus reference.

    Attributes:
        bbox_mmap, segm_mmap: COCO's average precision of boxes and of masks, mean over the IoU from 0.5 to 0.95.
        class_ap: Of each class: of masks, or of boxes where nothing else is annotated.
        found: Objects with a score of 0.5 or more, in all images.
        box_iou, mask_iou: Mean over the pairs of the same object in both models' answers.
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
        """Of masks, or of boxes where nothing else is annotated."""
        return self.bbox_mmap if self.segm_mmap is None else self.segm_mmap

    @property
    def mmap_delta(self) -> float | None:
        """The change of `mmap`."""
        return self.bbox_mmap_delta if self.segm_mmap is None else self.segm_mmap_delta

    @property
    def mmap_delta_interval(self) -> tuple[float, float] | None:
        """Its 95 % interval."""
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
    checks: tuple[Check, ...] = ()
    worst_images: tuple[WorstImage, ...] = ()
    operators: dict[str, dict[str, int]] = Field(default_factory=dict)  # precision -> operator -> how many ran so
    notes: tuple[str, ...] = ()
    error: str | None = None


class Recorded(Frozen):
    """Where the reference's masks were read from, when no model ran for them.

    Attributes:
        kind: `recording` or `golden pack`.
        created: When it was recorded.
        digest: sha256 of the file's header, and so of everything in it.
        images: How many it contains.
        driver: Of the GPU.
        noise_pixels: Pixels on which two runs of the reference itself differed; None if not measured.
        noise_miou_delta: How much its mIoU moved between the two.
    """

    kind: str
    created: str
    digest: str
    images: int
    driver: str = ""
    noise_pixels: int | None = None
    noise_miou_delta: float | None = None


class ReferenceResult(Frozen):
    """What the exports were compared with. `proof`: how its masks were made, where the runtime has several ways."""

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
    """Images that belong together and are not independent; intervals are over groups then.

    Attributes:
        how: `auto`, `column`, or the pattern on file names.
        smallest, largest: Images of a group.
    """

    how: str
    count: int
    smallest: int
    largest: int


class DatasetInfo(Frozen):
    """The images that were used. Without labels, what is called mIoU is the mask IoU with the reference's masks."""

    path: str
    split: str
    images: int
    labelled: bool
    fingerprint: str
    label_map: dict[str, str] = Field(default_factory=dict)
    groups: Groups | None = None


class Baseline(Frozen):
    """The earlier report that this one was compared with; the checks `baseline.*` have the outcome.

    Attributes:
        changed: What differs between the two besides the results: files of exports, versions, devices.
        tolerances: Losses that were let pass: fractions of 1 for accuracy, relative growth for size and latency.
    """

    title: str
    created: str
    segexport_version: str
    verdict: Verdict
    changed: tuple[str, ...] = ()
    tolerances: dict[str, float] = Field(default_factory=dict)


class Report(Frozen):
    """The whole result of `segexport check` or `segexport run`."""

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
        each = ", ".join(f"{export.name} {export.verdict.value}" for export in self.exports)
        return f"<Report {self.verdict.value}: {each}>"

    def _repr_html_(self) -> str:
        """What a notebook shows: a row for each export."""
        head = ("export", "verdict", "ΔmIoU", "agreement", "size")
        lines = [f"<tr>{''.join(f'<th>{name}</th>' for name in head)}</tr>"]
        for export in self.exports:
            cells = (
                escape(export.name),
                export.verdict.value,
                "–" if export.miou_delta is None else f"{export.miou_delta:+.4f}",
                "–" if export.agreement is None else f"{export.agreement:.3%}",
                "–" if export.size_ratio is None else f"{export.size_ratio:.2f}x",
            )
            lines.append(f"<tr>{''.join(f'<td>{cell}</td>' for cell in cells)}</tr>")
        return f"<table><caption>{self.verdict.value}</caption>{''.join(lines)}</table>"

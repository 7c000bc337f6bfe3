"""Made-up models whose best compression is known: what the search's core is tested with, in place of runtimes."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from segexport.exporter.targets.onnx import OnnxExport
from segexport.recipe.export import ExportRecipe
from segexport.search.candidate import Attempt, Candidate, Trial
from segexport.search.space import QuantizableLayer, Space, Training, grouped
from segexport.search.time_budget import ImageCounts, TimeBudget
from segexport.spec import Format, Precision

FP32, FP16, INT8, W4A8 = (
    OnnxExport(to=Format.ONNX, precision=one)
    for one in (Precision.FP32, Precision.FP16, Precision.INT8, Precision.W4A8)
)
IMAGES = ImageCounts(screen=10, full=50, verdict=50)


@dataclass
class World:
    """Losses and times add up over the layers that are int8.

    Attributes:
        harm: Layer -> mIoU that it loses in int8.
        gain_ms: Layer -> time that int8 saves there; negative where it costs some.
        fp32_ms: Of the whole model in float.
        calibrations: Method -> by what it multiplies every loss.
        noise: Of a screening: by how much its mIoU is off. A full measurement is exact.
        pruned: Share of the cost that is kept -> mIoU lost after a short training; a quarter of it after a longer one.
        learned: By what training with the rounding multiplies every loss; None where there is no such training.
        narrow_harm: mIoU that 4-bit weights lose beyond int8.
        broken: Precisions whose export fails.
        image_s: What one image takes.
        making_s: What quantizing takes, once for each export.
        timing_s: What timing takes in a screening; four times as long in a full measurement.
        sizes: Precision -> size of the file over that of fp32.
        now: The world's clock, in seconds.
        tried: What was asked, in order.
    """

    harm: dict[str, float]
    gain_ms: dict[str, float]
    fp32_ms: float = 100.0
    fp16_ratio: float = 1.5
    calibrations: dict[str, float] = field(default_factory=lambda: {"mse": 1.0})
    noise: float = 0.0
    pruned: dict[float, float] = field(default_factory=dict)
    learned: float | None = None
    narrow_harm: float = 0.002
    broken: frozenset[Precision] = frozenset()
    image_s: float = 0.1
    making_s: float = 0.0
    timing_s: float = 0.0
    sizes: dict[str, float] = field(default_factory=lambda: {"fp32": 1.0, "fp16": 0.5, "int8": 0.3, "w4a8": 0.17})
    now: float = 0.0
    tried: list[Attempt] = field(default_factory=list)

    def space(self, *, groups: int = 32, training: bool = False) -> Space:
        layers = tuple(
            QuantizableLayer(name=name, operator="Conv", float_ms=10.0, int8_ms=10.0 - self.gain_ms[name])
            for name in self.harm
        )
        exports: tuple[ExportRecipe, ...] = (FP32, FP16, INT8, W4A8)
        return Space(
            precisions=exports,
            methods=tuple(name for name in self.calibrations if name != "mse"),
            layers=layers,
            groups=grouped(layers, groups),
            kept_macs=tuple(self.pruned),
            qat=self.learned is not None,
            quantization_seconds=self.making_s,
            training=Training(teacher="original", labelled=True, steps=100, step_seconds=1.0) if training else None,
        )

    def budget(self, seconds: float, **changes: Any) -> TimeBudget:
        return TimeBudget(seconds, clock=lambda: self.now, **{"images": IMAGES, **changes})

    def __call__(self, attempt: Attempt) -> Trial:
        self.tried.append(attempt)
        candidate, images = attempt.candidate, IMAGES.of(attempt)
        making_s = 0.0
        if all(other.candidate.key != candidate.key for other in self.tried[:-1]):
            making_s += sum(int(step.params.get("steps", 0)) for step in candidate.steps)
            making_s += self.making_s if candidate.precision.arithmetic == "int8" else 0.0
        timing_s = self.timing_s * (0 if not attempt.timed else 4 if attempt.rung == "full" else 1)
        seconds = making_s + images * self.image_s + timing_s
        self.now += seconds
        common = {"attempt": attempt, "seconds": seconds, "making_seconds": making_s, "timing_seconds": timing_s}
        if candidate.precision in self.broken:
            return Trial(**common, error=f"no {candidate.precision.value} here")
        loss, ratio, kept = self.exactly(candidate)
        costs = {"size_bytes": int(1e6 * kept * self.sizes[candidate.precision.value]), "macs": int(1e9 * kept)}
        if attempt.rung == "glance":
            return Trial(**common, images=images, distance=loss**0.5, **costs)
        loss += self.noise if attempt.rung == "screen" else 0.0
        found = {"images": images, "miou": 0.7 - loss, "miou_delta": -loss, **costs}
        found |= {"miou_interval": (-loss - 0.002, -loss + 0.002), "agreement": 1 - 2 * loss}
        if attempt.timed:
            found |= {"latency_ms": self.fp32_ms * ratio, "latency_ratio": ratio}
            found["latency_interval"] = (ratio - 0.01, ratio + 0.01)
        return Trial(**common, **found)

    def exactly(self, candidate: Candidate) -> tuple[float, float, float]:
        """(mIoU lost, latency ratio, share of the cost) of a candidate."""
        kept, loss, rounding = 1.0, 0.0, 1.0
        for step in candidate.steps:
            if step.step == "prune":
                kept = step.params["keep_macs"]
            elif step.step == "qat":
                rounding = self.learned
            else:
                loss += self.pruned[kept] * (1.0 if step.params["steps"] <= 100 else 0.25)
        if candidate.precision is Precision.FP16:
            return loss, self.fp16_ratio * kept, kept
        saved = 0.0
        if candidate.precision.arithmetic == "int8":
            int8 = [name for name in self.harm if name not in candidate.float_nodes]
            loss += (
                rounding
                * self.calibrations[candidate.export.calibration.method]
                * sum(self.harm[name] for name in int8)
            )
            saved = sum(self.gain_ms[name] for name in int8)
            loss += self.narrow_harm if candidate.precision is Precision.W4A8 else 0.0
        return loss, (self.fp32_ms - saved) / self.fp32_ms * kept, kept


def best_subset(world: World, names: Iterable[str], allowed: float) -> tuple[float, frozenset[str]]:
    """The fastest set of float layers that keeps the promise, by trying all of them: (latency ratio, the set)."""
    names = list(names)
    best = (1.0, frozenset(names))
    for bits in range(2 ** len(names)):
        floats = frozenset(name for index, name in enumerate(names) if bits >> index & 1)
        candidate = Candidate(export=INT8).calibrated(float_nodes=tuple(name for name in names if name in floats))
        loss, ratio, _ = world.exactly(candidate)
        if loss <= allowed and ratio < best[0]:
            best = ratio, floats
    return best

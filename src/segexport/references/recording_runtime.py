"""Selects the runtime that records a reference on the requested device, and tests whether it may replace Paddle."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace

from segexport import preprocess
from segexport.artifact import ModelArtifact
from segexport.data.dataset import Dataset
from segexport.errors import DeviceMissingError, ModelOutputError
from segexport.files.store import Store
from segexport.measure import metrics
from segexport.measure.tiled_session import in_tiles, require_joinable
from segexport.pipeline.plan import PlanRunner, planned, steps_of
from segexport.pipeline.registry import runtime_for, target_named
from segexport.pipeline.step import StepContext
from segexport.progress import Progress, silent
from segexport.recipe.limits import limits_for
from segexport.runtimes.base import RunOptions, Session
from segexport.runtimes.watched import with_graph
from segexport.spec import Precision

STAND_IN = "onnx"
"""The export that records instead of a Paddle program on a GPU that Paddle cannot use but ONNX Runtime can."""
GUARDED_IMAGES = 4
"""Images on which a runtime that replaces Paddle on the GPU has to agree with Paddle on the CPU."""


@dataclass(frozen=True)
class Engine:
    """The program that records: the model, or an export on a device that the model's runtime does not support."""

    artifact: ModelArtifact
    options: RunOptions
    notes: tuple[str, ...] = ()

    def open(self, graph: str = "plain") -> Session:
        """`graph`: which of its programs Paddle runs (`runtimes.paddle`); masks come from the plain one."""
        options = with_graph(self.options, graph)
        manifest = self.artifact.manifest
        require_joinable(manifest)
        return in_tiles(runtime_for(manifest.format).open(self.artifact, options), manifest)


@contextmanager
def full_precision() -> Iterator[None]:
    """Sets environment variables for the workers. Without them, GPUs since Ampere round the inputs of fp32 products to
    10 bits (TF32), and cuDNN may select kernels that are not deterministic."""
    wanted = {"NVIDIA_TF32_OVERRIDE": "0", "FLAGS_cudnn_deterministic": "1"}
    before = {name: os.environ.get(name) for name in wanted}
    os.environ.update(wanted)
    try:
        yield
    finally:
        for name, value in before.items():
            os.environ.pop(name)
            if value is not None:
                os.environ[name] = value


def engine_for(
    source: ModelArtifact, options: RunOptions, data: Dataset, store: Store, progress: Progress = silent
) -> Engine:
    """The model in its runtime; on a GPU that this runtime cannot use, its fp32 ONNX export in ONNX Runtime.

    Raises:
        DeviceMissingError: No installed runtime can use the GPU.
    """
    if not options.device.startswith("gpu"):
        return Engine(source, options)
    reasons = []
    for format in dict.fromkeys((source.manifest.format, target_named(STAND_IN).format)):
        runtime = runtime_for(format)
        found = runtime.probe()
        if "gpu" not in found.devices:
            why = f"{runtime.name} {found.version} has {', '.join(found.devices)} only" if found.ok else found.reason
            reasons.append(why)
        elif format == source.manifest.format:
            return Engine(source, options)
        else:
            return onnx_stand_in(source, options, data, store, progress)
    raise DeviceMissingError(
        f"device {options.device!r}: no runtime here can use a GPU",
        cause="; ".join(reasons),
        hint="on a machine with an NVIDIA GPU, pip install paddlepaddle-gpu==2.6.2 in place of paddlepaddle (or "
        "onnxruntime-gpu in place of onnxruntime); or record with --device cpu: every report will state it",
    )


def onnx_stand_in(
    source: ModelArtifact, options: RunOptions, data: Dataset, store: Store, progress: Progress = silent
) -> Engine:
    """The fp32 ONNX export, after comparing it with Paddle on the CPU on some images.

    Otherwise a fault of the conversion would become the reference, and every export with the same fault would pass.

    Raises:
        InputError: It does not agree with Paddle.
    """
    builder = PlanRunner(store, StepContext(threads=options.threads, progress=progress))
    artifact = builder.build(
        "reference", source, planned(steps_of(target_named(STAND_IN).Recipe.model_validate({"to": STAND_IN})), source)
    )
    engine = Engine(artifact, options, ("the fp32 ONNX export stood in for Paddle, which cannot use the GPU here",))
    original = Engine(source, replace(options, device="cpu"))
    with engine.open() as found, original.open() as wanted:
        for sample in data.subset(GUARDED_IMAGES).read_for(source.manifest.preprocess):
            tensor, _ = preprocess.apply(source.manifest.preprocess, sample.image, input_spec=source.manifest.inputs[0])
            agreement = metrics.agreement(wanted.infer([tensor]).mask, found.infer([tensor]).mask)
            limit = limits_for(Precision.FP32).agreement_min or 0.0
            if agreement < limit:
                raise ModelOutputError(
                    f"{sample.name}: the ONNX export on {options.device} agrees with Paddle on "
                    f"{agreement:.2%} of the pixels; a reference needs {limit:.1%}",
                    cause="the conversion or the device changes what the model computes",
                    hint="record with --device cpu, and check the ONNX export against that",
                )
    return engine

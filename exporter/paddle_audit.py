"""Lists the operators that Paddle Inference runs after its graph passes."""

from __future__ import annotations

import tempfile
from pathlib import Path

from segexport.artifact import ModelArtifact
from segexport.exporter.program import read_graph
from segexport.measure.audit import MOVES, Audit, Ran, only_moves, precision_check
from segexport.pipeline.registry import runtime_for
from segexport.runtimes.base import RunOptions
from segexport.spec import Format


def audit_program(artifact: ModelArtifact, options: RunOptions) -> Audit:
    """Opens the program and reads the optimized program that the runtime saved.

    Raises:
        SegexportError: The runtime cannot open the program.
    """
    ran = _ran(artifact, options)
    source = "Paddle Inference's optimized program"
    return Audit(ran, (precision_check(artifact.manifest.target.precision, ran, source),))


def _ran(artifact: ModelArtifact, options: RunOptions) -> tuple[Ran, ...]:
    """Returns the operators of the program for `graph` plain, else of the optimized program."""
    with tempfile.TemporaryDirectory() as folder:
        extra = {**options.options, "optimized_program": folder}
        saving = RunOptions(options.device, options.threads, options.timeout_s, extra)
        with runtime_for(Format.PADDLE).open(artifact, saving) as session:
            provider = session.info.provider
        saved = Path(folder) / "_optimized.pdmodel"
        file = saved if saved.is_file() else artifact.file("model")  # without passes, the original program runs
        graph = read_graph(file)
    ran = []
    for op in graph.all_ops():
        own = bool(op.attr("use_mkldnn", False))
        dtype = str(op.attr("mkldnn_data_type", "float32") or "float32")
        precision = {"float32": "fp32", "int8": "int8", "bfloat16": "bf16"}.get(dtype, dtype)
        where = provider if provider != "oneDNN" or own else "plain"
        ran.append(Ran(op.type, MOVES if only_moves(op.type) else precision, where, (op.output_names() or [""])[0]))
    return tuple(ran)

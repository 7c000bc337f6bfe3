"""Reads intermediate tensors of a Paddle-Lite export by exporting truncated programs: a `.nb` shows only its outputs.

The program goes through the same rewrites and the same Opt as the export, compiled for this host, and ends at the
variable to read. A single layer becomes a program of its few operators.
"""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path

from segexport.diagnose.graph_probe import Diagnosed, LayerScript
from segexport.diagnose.match import Match
from segexport.diagnose.schema import Difference, QuantizedTensor
from segexport.errors import WorkerCrashed, WorkerError, WorkerTimeout
from segexport.exporter import rewrites, truncate
from segexport.exporter.program import Program
from segexport.exporter.to_onnx import WORKERS
from segexport.exporter.to_paddle_lite import rounded_to_half
from segexport.process.worker import Worker
from segexport.runtimes.lite import twin_of
from segexport.spec import Precision

_RUN = """    from paddlelite import lite
    config = lite.MobileConfig()
    config.set_model_from_file(str(here / "export.nb"))
    predictor = lite.create_paddle_predictor(config)
    arrays = [load(name) for name in export_feeds]
    for index, array in enumerate(arrays):
        predictor.get_input(index).from_numpy(array)
    predictor.run()
    return np.array(predictor.get_output(0).numpy())

"""


class LiteSide:
    """A Paddle-Lite export to compare with the reference's trace."""

    runner = LayerScript("Paddle-Lite", "paddlelite", _RUN, made="compiled again, for this host")

    def __init__(self, diagnosed: Diagnosed) -> None:
        artifact, trace = diagnosed.artifact, diagnosed.trace
        self.file = twin_of(artifact)
        self.precision = artifact.manifest.target.precision
        self._trace, self._tensors = trace, diagnosed.tensors
        self._timeout_s, self._threads = diagnosed.timeout_s, diagnosed.threads
        self._graph, _ = rewrites.rewrite_for("paddle-lite x86", diagnosed.source)
        self.notes: list[str] = ["a .nb cannot be looked into, so its layers were compiled again from the program"]
        if self.precision is Precision.FP16:
            self._graph.params = {name: rounded_to_half(value) for name, value in self._graph.params.items()}
            self.notes.append(
                "fp16 kernels exist on ARM only: the weights were rounded to fp16, the arithmetic is fp32"
            )
        written = {name for op in self._graph.compute_ops() for name in op.output_names()} | set(self._graph.feed_names)
        known = [name for name in trace.files if name in written and name in self._graph.vars]
        self.matches: dict[str, Match] = {name: Match(name, "name") for name in known}
        self._folder = tempfile.TemporaryDirectory()
        self._opt: Worker | None = None
        self._runtime: Worker | None = None
        self._count = 0

    def whole(self) -> dict[str, Difference]:
        """Compares the outputs of the unmodified export (the twin for this host); keys are the reference's names."""
        names = self._trace.program.fetch_names
        files = [self._trace.files[name] for name in names]
        return dict(zip(names, self._compare(str(self.file), [], files), strict=True))

    def accumulated(self, variables: Sequence[str]) -> dict[str, Difference]:
        """Compares tensors when both models run from the image; cuts the program at many variables at once."""
        found: dict[str, Difference] = {}
        for group in self._trace.groups(variables):
            found.update(self._halving(group, self._run_cut))
        return found

    def local(self, variables: Sequence[str]) -> dict[str, Difference]:
        """Compares each layer run alone on the reference's tensors; omits layers that Opt rejects alone."""
        found: dict[str, Difference] = {}
        for group in self._trace.groups(variables):
            found.update(self._halving(group, self._run_alone))
        return found

    def alone(self, variable: str) -> Difference | None:
        """Compares one variable of a program cut there, so that the fusions before it remain."""
        return self._halving([variable], self._run_cut).get(variable)

    graph = ""

    def nodes(self, variable: str) -> tuple[str, ...]:
        """Nothing: the file names no operators."""
        return ()

    def operators(self, variable: str) -> tuple[str, ...]:
        """Returns the compiled program's operators that compute a variable, before Opt fuses them."""
        part = truncate.segment(self._graph, variable, self.matches)
        return tuple(self._graph.ops[index].type for index in part.ops)

    def quantized(self, variable: str) -> QuantizedTensor | None:
        """Returns None: the twin never stores activations in 8 bits."""
        return None

    def save(self, variable: str, folder: Path) -> tuple[str, list[str]]:
        """Saves a layer as a separate model; returns its file name and the reference's names of its inputs."""
        graph, feeds, _ = truncate.isolate(self._graph, [self._segment(variable)], self._trace.shapes)
        self._compile(graph, folder / "export")
        return "export.nb", feeds

    def close(self) -> None:
        for worker in (self._opt, self._runtime):
            if worker is not None:
                worker.close()
        self._folder.cleanup()

    def _segment(self, variable: str) -> truncate.Segment:
        return truncate.segment(self._graph, variable, self.matches)

    def _run_cut(self, variables: list[str]) -> list[Difference]:
        model = self._compile(truncate.cut(self._graph, variables))
        return self._compare(model, [], [self._trace.files[name] for name in variables])

    def _run_alone(self, variables: list[str]) -> list[Difference]:
        segments = [self._segment(name) for name in variables]
        graph, feeds, targets = truncate.isolate(self._graph, segments, self._trace.shapes)
        feed_files = [self._trace.files[name] for name in feeds]
        return self._compare(self._compile(graph), feed_files, [self._trace.files[name] for name in targets])

    def _halving(self, variables: list[str], run) -> dict[str, Difference]:
        """Runs a group; if Opt or the runtime rejects it, runs each half."""
        try:
            return dict(zip(variables, run(variables), strict=True))
        except WorkerError as error:
            if len(variables) == 1:
                self.notes.append(f"{variables[0]} does not run alone: {error.what}")
                return {}
            half = len(variables) // 2
            return {**self._halving(variables[:half], run), **self._halving(variables[half:], run)}

    def _compile(self, graph: Program, stem: Path | None = None) -> str:
        self._count += 1
        folder = Path(self._folder.name) / str(self._count)
        folder.mkdir()
        model, params = graph.write(folder)
        arguments = {
            "model": str(model),
            "params": str(params),
            "places": "x86",
            "stem": str(stem or folder / "cut"),
            "fp16": False,
            "weight_int8": self.precision is Precision.W8,
        }
        if self._opt is None:
            self._opt = Worker(WORKERS / "lite_opt_worker.py", needs="paddlelite", name="Paddle-Lite Opt")
        try:
            self._opt.call("compile", arguments, timeout_s=self._timeout_s)
        except (WorkerCrashed, WorkerTimeout):
            self._opt.close()
            self._opt = None
            raise
        return arguments["stem"] + ".nb"

    def _compare(self, model: str, feeds: list[str], expected: list[str]) -> list[Difference]:
        if self._runtime is None:
            script = WORKERS / "lite_trace_worker.py"
            self._runtime = Worker(script, needs="paddlelite", threads=self._threads, name="Paddle-Lite")
        arguments = {"model": model, "feeds": feeds, "expected": expected}
        try:
            answer, _ = self._runtime.call("compare", arguments, list(self._tensors), timeout_s=self._timeout_s)
        except (WorkerCrashed, WorkerTimeout):
            self._runtime.close()
            self._runtime = None
            raise
        return [Difference(**found) for found in answer["differences"]]

"""Compares the intermediate tensors of an ONNX export with the reference's, for the whole model and per layer."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import ClassVar

import numpy as np

from segexport.artifact import ModelArtifact
from segexport.diagnose.graph_probe import Diagnosed, LayerScript
from segexport.diagnose.match import CONVERSIONS, Match, OnnxGraph, match
from segexport.diagnose.schema import Difference, QuantizedTensor
from segexport.errors import WorkerCrashed, WorkerError, WorkerTimeout
from segexport.exporter.to_onnx import ONNX_TOOLS, WORKERS
from segexport.process.worker import Worker

_RUN = """    import onnxruntime
    session = onnxruntime.InferenceSession(str(here / "export.onnx"), providers=["CPUExecutionProvider"])
    feed = {value.name: load(name) for value, name in zip(session.get_inputs(), export_feeds)}
    return session.run(None, feed)[0]

"""
_SAMPLE = 1 << 18  # values sampled per tensor to rate its 8-bit range


class OnnxSide:
    """An ONNX export to compare with the reference's trace.

    Raises:
        SegexportError: The file cannot be read.
    """

    runner = LayerScript("ONNX Runtime", "onnxruntime", _RUN)
    worker: ClassVar[str] = "onnx_trace_worker.py"
    needs: ClassVar[tuple[str, ...]] = ONNX_TOOLS
    saved: ClassVar[str] = "export.onnx"  # file name of a single layer saved as a model

    def __init__(self, diagnosed: Diagnosed) -> None:
        artifact, trace = diagnosed.artifact, diagnosed.trace
        self.file = artifact.file("model")
        self._trace, self._tensors = trace, diagnosed.tensors
        self._timeout_s, self._threads = diagnosed.timeout_s, diagnosed.threads
        self.notes: list[str] = []
        self._worker: Worker | None = None
        self._opened = self.opening(artifact)
        answer = self._call("read", self._opened)
        self._graph = OnnxGraph(answer["nodes"], answer["constants"], answer["inputs"])
        self.graph: str = answer.get("graph", "")
        self._names: dict[str, str] = answer.get("names", {})
        self._quantized = answer["quantized"]
        self.matches: dict[str, Match] = match(trace.program, trace.shapes, self._graph)
        # An export may output another variable than the program, e.g. scores instead of their argmax.
        given = zip(artifact.manifest.outputs, trace.program.fetch_names, strict=False)
        outputs = [spec.name if spec.name in trace.files else name for spec, name in given]
        self._outputs = dict(zip(answer["outputs"], outputs, strict=False))

    def opening(self, artifact: ModelArtifact) -> dict:
        """The arguments of the worker's command `read`."""
        return {"model": str(artifact.file("model"))}

    def whole(self) -> dict[str, Difference]:
        """Compares the outputs of the unmodified export; keys are the reference's output names."""
        files = {name: self._trace.files[of] for name, of in self._outputs.items() if of in self._trace.files}
        answer = self._call("whole", {"files": files}, self._tensors)
        return {self._outputs[name]: Difference(**found) for name, found in answer["differences"].items()}

    def accumulated(self, variables: Sequence[str]) -> dict[str, Difference]:
        """Compares tensors when both models run from the image."""
        try:
            return self._each(variables, lambda files: self._call("accumulated", {"files": files}, self._tensors))
        except WorkerError as error:
            self.notes.append(f"both models from the image on cannot be compared: {error.what}")
            return {}

    def local(self, variables: Sequence[str]) -> dict[str, Difference]:
        """Compares each layer run alone on the reference's tensors; omits layers that cannot run alone."""

        def run(files: dict[str, str]) -> dict:
            return self._call("local", {"targets": list(files), "stops": self._stops, "files": self._files()})

        return self._each(variables, lambda files: self._halving(files, run))

    def alone(self, variable: str) -> Difference | None:
        """Compares one tensor, added as the only extra output so that the fusions before it remain."""
        return self.accumulated([variable]).get(variable)

    def operators(self, variable: str) -> tuple[str, ...]:
        """Returns the export's operators that compute a variable, without pure conversions."""
        kinds = [node.kind for node in self._graph.between(self.matches[variable].tensor, self._stops)]
        return tuple(kind for kind in kinds if kind not in CONVERSIONS) or tuple(kinds)

    def nodes(self, variable: str) -> tuple[str, ...]:
        """Returns the names in the file of the operators that compute a variable; of ONNX only."""
        made = self._graph.between(self.matches[variable].tensor, self._stops)
        return tuple(name for node in made if (name := self._names.get(node.outputs[0])))

    def quantized(self, variable: str) -> QuantizedTensor | None:
        """Returns the 8-bit quantization of a variable's tensor."""
        told = self._quantized.get(self.matches[variable].tensor)
        if told is None:
            return None
        values = np.load(self._trace.files[variable], mmap_mode="r").reshape(-1)
        values = values[:: max(1, values.size // _SAMPLE) | 1].astype(np.float32)
        low, high = min(float(values.min()), 0.0), max(float(values.max()), 0.0)
        own = _rounding(values, told["low"], told["high"])
        best = _rounding(values, low, high)
        return QuantizedTensor(**told, rounding_ratio=own / best if best > 0 else None)

    def save(self, variable: str, folder: Path) -> tuple[str, list[str]]:
        """Saves a layer as a separate model; returns its file name and the reference's names of its inputs."""
        arguments = {
            "target": self.matches[variable].tensor,
            "stops": self._stops,
            "files": self._files(),
            "out": str(folder / self.saved),
        }
        answer = self._call("save", arguments)
        names = {found.tensor: name for name, found in self.matches.items()}
        return self.saved, [names[tensor] for tensor in answer["inputs"]]

    def close(self) -> None:
        if self._worker is not None:
            self._worker.close()

    @property
    def _stops(self) -> list[str]:
        return [found.tensor for found in self.matches.values()]

    def _files(self) -> dict[str, str]:
        return {found.tensor: self._trace.files[name] for name, found in self.matches.items()}

    def _each(self, variables: Sequence[str], run: Callable[[dict[str, str]], dict]) -> dict[str, Difference]:
        found: dict[str, Difference] = {}
        names = {self.matches[name].tensor: name for name in variables}
        for group in self._trace.groups(variables):
            files = {self.matches[name].tensor: self._trace.files[name] for name in group}
            found.update((names[tensor], Difference(**value)) for tensor, value in run(files)["differences"].items())
        return found

    def _halving(self, files: dict[str, str], run: Callable[[dict[str, str]], dict]) -> dict:
        """Runs a group; if it fails, runs each half, so that one bad layer does not lose the others."""
        try:
            return run(files)
        except WorkerError as error:
            if len(files) == 1:
                self.notes.append(f"{next(iter(files))} cannot run alone: {error.cause or error.what}")
                return {"differences": {}}
            items = list(files.items())
            half = len(items) // 2
            first, second = (self._halving(dict(part), run)["differences"] for part in (items[:half], items[half:]))
            return {"differences": {**first, **second}}

    def _call(self, command: str, arguments: dict, tensors: Sequence[np.ndarray] = ()) -> dict:
        """Calls the worker; restarts it and reloads the model if it died."""
        if self._worker is None:
            self._worker = Worker(WORKERS / self.worker, needs=self.needs, threads=self._threads, name="probe")
            if command != "read":
                self._worker.call("read", self._opened, timeout_s=self._timeout_s)
        try:
            return self._worker.call(command, arguments, list(tensors), timeout_s=self._timeout_s)[0]
        except (WorkerCrashed, WorkerTimeout):
            self._worker.close()
            self._worker = None
            raise


def _rounding(values: np.ndarray, low: float, high: float) -> float:
    """Root-mean-square error of rounding `values` to 255 steps from `low` to `high`."""
    step = (high - low) / 255.0
    if step <= 0:
        return 0.0
    held = np.rint((np.clip(values, low, high) - low) / step) * step + low
    return float(np.sqrt(np.mean((held - values) ** 2)))


def tensor_names(artifact: ModelArtifact) -> dict[str, list[str]]:
    """The names of the inputs and of the outputs, for runtimes whose files do not say which tensors these are."""
    ends = {"inputs": artifact.manifest.inputs, "outputs": artifact.manifest.outputs}
    return {end: [spec.name for spec in specs] for end, specs in ends.items()}

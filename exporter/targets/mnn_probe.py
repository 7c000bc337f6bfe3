"""Compares the intermediate tensors of an export to MNN, as for ONNX: the export keeps the ONNX tensor names."""

from __future__ import annotations

from segexport.artifact import ModelArtifact
from segexport.diagnose.graph_probe import LayerScript
from segexport.exporter.targets.onnx_probe import OnnxSide, tensor_names
from segexport.runtimes.mnn import hints_of

_RUN = """    import json
    import MNN.expr as expr
    import MNN.nn as nn
    names = json.loads((here / "export.json").read_text())
    manager = nn.create_runtime_manager(({"backend": "CPU", "numThread": 1, "precision": "high"},))
    for hint, value in names["hints"]:
        manager.set_hint(hint, value)
    file = str(here / "export.mnn")
    module = nn.load_module_from_file(file, names["inputs"], [names["output"]], runtime_manager=manager)
    given = [np.ascontiguousarray(load(name), np.float32) for name in export_feeds]
    found = module.forward([expr.const(array, list(array.shape), expr.NCHW, expr.float) for array in given])
    value = found[0] if isinstance(found, (list, tuple)) else found
    return np.array(expr.convert(value, expr.NCHW).read())

"""
_MADE = "the whole export, run from tensor to tensor as `export.json` says"


class MnnSide(OnnxSide):
    """An export to MNN, compared with the reference's trace; arguments as in `OnnxSide`."""

    runner = LayerScript("MNN", "MNN", _RUN, _MADE)
    worker, needs, saved = "mnn_trace_worker.py", ("MNN",), "export.json"

    def opening(self, artifact: ModelArtifact) -> dict:
        return {**super().opening(artifact), **tensor_names(artifact), "hints": hints_of(artifact)}

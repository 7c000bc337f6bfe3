"""Compares a LiteRT export's intermediate tensors, as for ONNX: the export keeps the ONNX tensor names."""

from __future__ import annotations

from segexport.diagnose.graph_probe import LayerScript
from segexport.exporter.targets.onnx_probe import OnnxSide

_RUN = """    from ai_edge_litert.interpreter import Interpreter
    interpreter = Interpreter(str(here / "export.tflite"))
    interpreter.allocate_tensors()
    for one, name in zip(interpreter.get_input_details(), export_feeds):
        interpreter.set_tensor(one["index"], load(name).reshape(one["shape"]).astype(one["dtype"]))
    interpreter.invoke()
    return interpreter.get_tensor(interpreter.get_output_details()[0]["index"])

"""


class LiteRtSide(OnnxSide):
    """A LiteRT export to compare with the reference's trace; arguments as in `OnnxSide`."""

    runner = LayerScript("LiteRT", "ai_edge_litert", _RUN)
    worker, needs, saved = "litert_trace_worker.py", ("ai_edge_litert",), "export.tflite"

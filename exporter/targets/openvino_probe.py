"""Compares an OpenVINO export's intermediate tensors, as for ONNX: the export keeps the ONNX tensor names."""

from __future__ import annotations

from segexport.diagnose.graph_probe import LayerScript
from segexport.exporter.targets.onnx_probe import OnnxSide
from segexport.exporter.to_openvino import OPENVINO_TOOLS

_RUN = """    sys.modules["openvino_telemetry"] = None  # it sends statistics as soon as openvino is imported
    import openvino
    core = openvino.Core()
    compiled = core.compile_model(str(here / "export.xml"), "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    return compiled([load(name) for name in export_feeds])[0]

"""


class OpenVinoSide(OnnxSide):
    """An OpenVINO export to compare with the reference's trace; arguments as in `OnnxSide`."""

    runner = LayerScript("OpenVINO", "openvino", _RUN)
    worker, needs, saved = "openvino_trace_worker.py", OPENVINO_TOOLS, "export.xml"

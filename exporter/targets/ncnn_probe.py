"""Compares the intermediate tensors of an export to ncnn, as for ONNX: the export keeps the ONNX tensor names."""

from __future__ import annotations

from segexport.artifact import ModelArtifact
from segexport.diagnose.graph_probe import LayerScript
from segexport.exporter.targets.onnx_probe import OnnxSide, tensor_names

_RUN = """    import json
    import ncnn
    names = json.loads((here / "export.json").read_text())
    net = ncnn.Net()
    net.opt.use_fp16_packed = net.opt.use_fp16_storage = net.opt.use_fp16_arithmetic = False
    net.load_param(str(here / "export.param"))
    net.load_model(str(here / "export.bin"))
    extractor = net.create_extractor()
    given = [ncnn.Mat(np.ascontiguousarray(load(name)[0], np.float32)).clone() for name in export_feeds]
    for name, mat in zip(names["inputs"], given):
        extractor.input(name, mat)
    return np.array(extractor.extract(names["output"])[1])

"""
_MADE = "the whole export, run from tensor to tensor as `export.json` says"


class NcnnSide(OnnxSide):
    """An export to ncnn, compared with the reference's trace; arguments as in `OnnxSide`."""

    runner = LayerScript("ncnn", "ncnn", _RUN, _MADE)
    worker, needs, saved = "ncnn_trace_worker.py", ("ncnn",), "export.json"

    def opening(self, artifact: ModelArtifact) -> dict:
        return {**super().opening(artifact), "params": str(artifact.file("params")), **tensor_names(artifact)}

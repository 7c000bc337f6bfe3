"""Names to classes: the steps that a recipe can name, the runtime of each format. Imported when first asked for."""

from __future__ import annotations

import difflib
import importlib
from typing import Any

from pydantic import ValidationError

from segexport.artifact import one_line
from segexport.errors import InputError
from segexport.pipeline.step import Step
from segexport.runtimes.base import Runtime
from segexport.spec import Format

STEPS = {
    "prune": "segexport.compress.prune_step:Prune",
    "finetune": "segexport.compress.finetune:Finetune",
    "calibrate": "segexport.exporter.calibrate:Calibrate",
    "qat": "segexport.compress.qat:Qat",
    "set_head": "segexport.exporter.set_head:SetHead",
    "to_onnx": "segexport.exporter.to_onnx:ToOnnx",
    "onnx_fp16": "segexport.exporter.onnx_half:HalfOnnx",
    "onnx_int8": "segexport.exporter.onnx_quantize:QuantizeOnnx",
    "to_paddle_lite": "segexport.exporter.to_paddle_lite:ToPaddleLite",
}
RUNTIMES = {
    Format.PADDLE: "segexport.runtimes.paddle:Paddle",
    Format.ONNX: "segexport.runtimes.ort:OnnxRuntime",
    Format.PADDLE_LITE: "segexport.runtimes.lite:PaddleLite",
}
PHONE = "segexport.runtimes.adb:Adb"


def make_step(kind: str, params: dict[str, Any]) -> Step:
    """The step of this kind with its parameters.

    Raises:
        InputError: No such step, or parameters that it does not take.
    """
    if kind not in STEPS:
        near = difflib.get_close_matches(kind, STEPS, n=1)
        raise InputError(
            f"there is no step {kind!r}",
            hint=f"did you mean {near[0]!r}?" if near else f"the steps are {', '.join(sorted(STEPS))}",
        )
    step_class = _load(STEPS[kind])
    try:
        return step_class(step_class.Params.model_validate(params))
    except ValidationError as error:
        raise InputError(f"step {kind!r} does not take these parameters", cause=one_line(error)) from None


def runtime_for(format: Format, device: str = "cpu") -> Runtime:
    """The runtime that runs this format: here, or on a phone for the device `adb` or `adb:SERIAL`."""
    kind, _, serial = device.partition(":")
    if kind == "adb":
        return _load(PHONE)(format, serial=serial)
    return _load(RUNTIMES[format])()


def _load(path: str) -> Any:
    module, _, name = path.partition(":")
    return getattr(importlib.import_module(module), name)

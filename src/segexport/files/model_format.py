"""The forms that a model's files have."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

if TYPE_CHECKING:
    from pydantic_core import core_schema


class Format(str):
    """The format of a model's files: `paddle`, or that of an installed target or runtime.

    Attributes:
        PADDLE: .pdmodel and .pdiparams, the legacy program that every exporter reads.
        ONNX: .onnx.
        PADDLE_LITE: .nb.
        MNN: .mnn.
        NCNN: .param with a .bin.
        LITERT: .tflite.
        OPENVINO: .xml with a .bin.
    """

    PADDLE: ClassVar[Format]
    ONNX: ClassVar[Format]
    PADDLE_LITE: ClassVar[Format]
    MNN: ClassVar[Format]
    NCNN: ClassVar[Format]
    LITERT: ClassVar[Format]
    OPENVINO: ClassVar[Format]

    @classmethod
    def __get_pydantic_core_schema__(cls, _source: Any, _handler: Any) -> core_schema.CoreSchema:
        from pydantic_core import core_schema

        return core_schema.no_info_after_validator_function(cls._known, core_schema.str_schema())

    @classmethod
    def _known(cls, value: str) -> Format:
        from pydantic_core import PydanticCustomError

        from segexport.pipeline.entry_points import formats, is_format

        if not is_format(value):
            *some, last = (repr(str(name)) for name in formats())
            raise PydanticCustomError("format", "Input should be {known}", {"known": f"{', '.join(some)} or {last}"})
        return cls(value)


Format.PADDLE, Format.ONNX, Format.PADDLE_LITE = Format("paddle"), Format("onnx"), Format("paddle-lite")
Format.MNN, Format.NCNN, Format.LITERT = Format("mnn"), Format("ncnn"), Format("litert")
Format.OPENVINO = Format("openvino")

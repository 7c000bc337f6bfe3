"""Builds a LiteRT file (.tflite) from tensors and operators, by the schema in the package ai-edge-litert."""

from __future__ import annotations

import json
from dataclasses import dataclass

import flatbuffers
import numpy as np
from ai_edge_litert import schema_py_generated as schema

IDENTIFIER, _SCHEMA_VERSION, _ALIGNMENT_BYTES = b"TFL3", 3, 16
# LiteRT computes few operators on 64-bit integers; sizes, positions and classes fit into 32 bits.
_TYPES = {
    "float32": "FLOAT32", "float64": "FLOAT32", "float16": "FLOAT16", "int64": "INT32", "int32": "INT32",
    "int8": "INT8", "uint8": "UINT8", "bool": "BOOL",
}  # fmt: skip
_STORED = {"float64": np.float32, "int64": np.int32}
_OPTIONS = {
    "ADD": "AddOptions", "ARG_MAX": "ArgMaxOptions", "ARG_MIN": "ArgMinOptions", "AVERAGE_POOL_2D": "Pool2DOptions",
    "BATCH_MATMUL": "BatchMatMulOptions", "CAST": "CastOptions", "CONCATENATION": "ConcatenationOptions",
    "CONV_2D": "Conv2DOptions", "CUMSUM": "CumsumOptions", "DEPTHWISE_CONV_2D": "DepthwiseConv2DOptions",
    "DIV": "DivOptions", "FULLY_CONNECTED": "FullyConnectedOptions", "GATHER": "GatherOptions",
    "GELU": "GeluOptions", "LEAKY_RELU": "LeakyReluOptions", "MAX_POOL_2D": "Pool2DOptions", "MEAN": "ReducerOptions",
    "MIRROR_PAD": "MirrorPadOptions", "MUL": "MulOptions", "REDUCE_MAX": "ReducerOptions",
    "ONE_HOT": "OneHotOptions", "REDUCE_MIN": "ReducerOptions", "REDUCE_PROD": "ReducerOptions",
    "RESHAPE": "ReshapeOptions",
    "RESIZE_BILINEAR": "ResizeBilinearOptions", "RESIZE_NEAREST_NEIGHBOR": "ResizeNearestNeighborOptions",
    "SOFTMAX": "SoftmaxOptions", "SPLIT": "SplitOptions", "SPLIT_V": "SplitVOptions",
    "STRIDED_SLICE": "StridedSliceOptions", "SUB": "SubOptions", "SUM": "ReducerOptions",
    "TOPK_V2": "TopKV2Options", "TRANSPOSE_CONV": "TransposeConvOptions",
}  # fmt: skip
ORDERS = "segexport.orders"
"""Metadata of a file: tensor -> its axes in stored order, by ONNX's numbers, if it is not the `usual` order."""
_VERSIONS = {"BROADCAST_TO": 2}  # operators without version 1


def usual(rank: int) -> tuple[int, ...]:
    """The usual order of stored axes; for four, [N, H, W, C]."""
    return (0, 2, 3, 1) if rank == 4 else tuple(range(rank))


@dataclass(frozen=True)
class TensorRounding:
    """The quantization of a tensor: real = (integer - zero) * scale.

    Attributes:
        scales: One scale, or one per index of `axis`.
    """

    scales: tuple[float, ...]
    zero: int = 0
    axis: int = 0


class _Buffer(schema.BufferT):
    """A buffer with aligned data, which any processor can read; the generated class aligns to one byte."""

    def Pack(self, builder):
        if self.data is None:
            return super().Pack(builder)
        builder.StartVector(1, len(self.data), _ALIGNMENT_BYTES)
        builder.head -= len(self.data)
        builder.Bytes[builder.head : builder.head + len(self.data)] = self.data
        data = builder.EndVector()
        schema.BufferStart(builder)
        schema.BufferAddData(builder, data)
        return schema.BufferEnd(builder)


class LiteRtFile:
    """Builds a model; tensors are identified by index."""

    def __init__(self) -> None:
        self._graph = schema.SubGraphT(tensors=[], operators=[], inputs=[], outputs=[], name="main")
        self._model = schema.ModelT(
            version=_SCHEMA_VERSION, description="segexport", buffers=[schema.BufferT()], operatorCodes=[]
        )
        self._codes: dict[str, int] = {}
        self._constants: dict[tuple, int] = {}
        self._names: dict[str, int] = {}
        self._orders: dict[str, tuple[int, ...]] = {}

    def tensor(
        self,
        name: str,
        shape: tuple[int, ...],
        dtype: str,
        rounding: TensorRounding | None = None,
        order: tuple[int, ...] | None = None,
    ) -> int:
        """Adds a tensor that an operator writes or that is an input; returns its index."""
        index = self._add(name, tuple(shape), _TYPES[dtype], rounding, 0)
        if order is not None and order != usual(len(order)):
            self._orders[self.name(index)] = order
        return index

    def constant(self, name: str, value: np.ndarray, rounding: TensorRounding | None = None) -> int:
        """Adds a constant, or returns an existing equal one."""
        value = np.ascontiguousarray(value, _STORED.get(str(value.dtype), value.dtype))
        key = (value.dtype.str, value.shape, value.tobytes(), rounding)
        if key not in self._constants:
            buffer = _Buffer()
            buffer.data = key[2]
            self._model.buffers.append(buffer)
            index = self._add(name, value.shape, _TYPES[str(value.dtype)], rounding, len(self._model.buffers) - 1)
            self._constants[key] = index
        return self._constants[key]

    def operator(self, kind: str, inputs: list[int], outputs: list[int], **options) -> None:
        """Adds an operator; `options` are the fields of its options in the schema. An input of -1 is absent."""
        if kind not in self._codes:
            number = getattr(schema.BuiltinOperator, kind)
            old = min(number, schema.BuiltinOperator.PLACEHOLDER_FOR_GREATER_OP_CODES)
            self._codes[kind] = len(self._codes)
            self._model.operatorCodes.append(
                schema.OperatorCodeT(old, version=_VERSIONS.get(kind, 1), builtinCode=number)
            )
        operator = schema.OperatorT(opcodeIndex=self._codes[kind], inputs=inputs, outputs=outputs)
        if kind in _OPTIONS:
            operator.builtinOptionsType = getattr(schema.BuiltinOptions, _OPTIONS[kind])
            operator.builtinOptions = getattr(schema, f"{_OPTIONS[kind]}T")(**options)
        self._graph.operators.append(operator)

    def name(self, tensor: int) -> str:
        return self._graph.tensors[tensor].name

    def shape(self, tensor: int) -> tuple[int, ...]:
        return tuple(self._graph.tensors[tensor].shape)

    def save(self, path: str, inputs: dict[str, int], outputs: dict[str, int]) -> None:
        """Writes the model; `inputs` and `outputs` are name -> tensor."""
        self._graph.inputs, self._graph.outputs = list(inputs.values()), list(outputs.values())
        ends = [
            [schema.TensorMapT(name=name, tensorIndex=index) for name, index in one.items()]
            for one in (inputs, outputs)
        ]
        self._model.signatureDefs = [
            schema.SignatureDefT(inputs=ends[0], outputs=ends[1], signatureKey="serving_default")
        ]
        self._model.subgraphs = [self._graph]
        orders = _Buffer()
        orders.data = json.dumps(self._orders).encode()
        self._model.buffers.append(orders)
        self._model.metadata = [schema.MetadataT(name=ORDERS, buffer=len(self._model.buffers) - 1)]
        builder = flatbuffers.Builder(1 << 20)
        builder.Finish(self._model.Pack(builder), IDENTIFIER)
        with open(path, "wb") as stream:
            stream.write(builder.Output())

    def _add(self, name: str, shape: tuple[int, ...], kind: str, rounding: TensorRounding | None, buffer: int) -> int:
        quantization = None
        if rounding is not None:
            zeros = [rounding.zero] * len(rounding.scales)
            quantization = schema.QuantizationParametersT(
                scale=list(rounding.scales), zeroPoint=zeros, quantizedDimension=rounding.axis
            )
        count = self._names[name] = self._names.get(name, 0) + 1
        tensor = schema.TensorT(
            shape=list(shape),
            type=getattr(schema.TensorType, kind),
            buffer=buffer,
            name=name if count == 1 else f"{name};{count}",
            quantization=quantization,
            hasRank=True,
        )
        self._graph.tensors.append(tensor)
        return len(self._graph.tensors) - 1

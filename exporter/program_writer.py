"""Writes `.pdmodel` and `.pdiparams` in canonical order, so that equal programs produce equal files."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Any

import numpy as np

from segexport.exporter import framework_proto as proto
from segexport.exporter.graph import Attr, Block, Op, Var
from segexport.exporter.program_graph import BUILD_ATTRIBUTES, ProgramGraph
from segexport.exporter.program_reader import param_names
from segexport.files.atomic import whole_file


def write(program: ProgramGraph, folder: Path, stem: str) -> tuple[Path, Path]:
    """See `Program.write`."""
    model, params = folder / f"{stem}.pdmodel", folder / f"{stem}.pdiparams"
    missing = [name for name in param_names(program) if name not in program.params]
    if missing:
        raise ValueError(f"{len(missing)} parameters have no value, {missing[0]!r} for one: was only the graph read?")
    declared = {name: var for block in program.blocks for name, var in block.vars.items()}
    with whole_file(model) as graph, whole_file(params) as values:
        graph.write_bytes(model_bytes(program))
        with values.open("wb") as stream:
            for name in param_names(program):
                stream.write(_tensor_header(declared[name]))
                stream.write(np.ascontiguousarray(program.params[name]).data)
    return model, params


def model_bytes(program: ProgramGraph) -> bytes:
    """Returns the `.pdmodel` bytes: variables, slots and attributes sorted by name, build attributes omitted."""
    message = proto.ProgramDesc()
    for block in program.blocks:
        _put_block(message.blocks.add(), block)
    message.version.version = program.version
    for name, version in sorted(program.op_versions.items()):
        pair = message.op_version_map.pair.add(op_name=name)
        pair.op_version.version = version
    return message.SerializeToString(deterministic=True)


def _tensor_header(var: Var) -> bytes:
    desc = proto.TensorDesc(data_type=proto.DTYPE_CODE[var.dtype], dims=var.dims).SerializeToString()
    return struct.pack("<IQIi", 0, 0, 0, len(desc)) + desc


def _put_block(message: Any, block: Block) -> None:
    message.idx, message.parent_idx, message.forward_block_idx = block.idx, block.parent_idx, block.forward_idx
    for _, var in sorted(block.vars.items()):
        _put_var(message.vars.add(), var)
    for op in block.ops:
        _put_op(message.ops.add(), op)


def _put_var(message: Any, var: Var) -> None:
    message.name = var.name
    message.type.type = proto.KIND[var.kind]
    field = {"LOD_TENSOR": "lod_tensor", "LOD_TENSOR_ARRAY": "tensor_array", "SELECTED_ROWS": "selected_rows"}.get(
        var.kind
    )
    if field and var.dtype:
        described = getattr(message.type, field)
        tensor = described if field == "selected_rows" else described.tensor
        tensor.data_type = proto.DTYPE_CODE[var.dtype]
        tensor.dims.extend(var.dims)
        if field != "selected_rows":
            described.lod_level = var.lod_level
    message.persistable = var.persistable
    message.need_check_feed = var.need_check_feed
    message.is_parameter = var.is_parameter
    message.stop_gradient = var.stop_gradient


def _put_op(message: Any, op: Op) -> None:
    message.type, message.is_target = op.type, op.is_target
    for slots, target in ((op.inputs, message.inputs), (op.outputs, message.outputs)):
        for slot, names in sorted(slots.items()):
            target.add(parameter=slot, arguments=names)
    for name, attr in sorted(op.attrs.items()):
        if name not in BUILD_ATTRIBUTES:
            _put_attr(message.attrs.add(name=name, type=proto.ATTR_TYPE[attr.type]), attr)


def _put_attr(message: Any, attr: Attr) -> None:
    if attr.type in proto.PLAIN_FIELD:
        setattr(message, proto.PLAIN_FIELD[attr.type], attr.value)
    elif attr.type in proto.PLAIN_LIST_FIELD:
        getattr(message, proto.PLAIN_LIST_FIELD[attr.type]).extend(attr.value)
    elif attr.type == "STRING":
        message.s = attr.value.encode()
    elif attr.type == "STRINGS":
        message.strings.extend(item.encode() for item in attr.value)
    elif attr.type == "SCALAR":
        _put_scalar(message.scalar, attr.value)
    else:
        for item in attr.value:
            _put_scalar(message.scalars.add(), item)


def _put_scalar(message: Any, value: bool | int | float | complex) -> None:
    if isinstance(value, bool):
        message.type, message.b = proto.SCALAR_TYPE["S_BOOLEAN"], value
    elif isinstance(value, int):
        message.type, message.i = proto.SCALAR_TYPE["S_LONG"], value
    elif isinstance(value, complex):
        message.type = proto.SCALAR_TYPE["S_COMPLEX128"]
        message.c.r, message.c.i = value.real, value.imag
    else:
        message.type, message.r = proto.SCALAR_TYPE["S_FLOAT64"], value

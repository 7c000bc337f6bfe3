"""Defines protobuf message classes for the legacy Paddle program format (`framework.proto`).

Paddle ships generated code, but importing it imports all of Paddle, and its field names changed between releases
(`lod_tensor` became `dense_tensor`). The field numbers never changed. The schema below is built at run time in a
private descriptor pool, so it works with any protobuf from 3.20 on and cannot collide with Paddle's copy.
"""

from __future__ import annotations

from typing import Any

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

_PACKAGE = "segexport.paddle"

# Omits reserved numbers and messages that no inference program contains (OpProto); protobuf keeps unknown fields.
_ENUMS: dict[str, dict[str, int]] = {
    "AttrType": {
        "INT": 0,
        "FLOAT": 1,
        "STRING": 2,
        "INTS": 3,
        "FLOATS": 4,
        "STRINGS": 5,
        "BOOLEAN": 6,
        "BOOLEANS": 7,
        "BLOCK": 8,
        "LONG": 9,
        "BLOCKS": 10,
        "LONGS": 11,
        "FLOAT64S": 12,
        "VAR": 13,
        "VARS": 14,
        "FLOAT64": 15,
        "SCALAR": 16,
        "SCALARS": 17,
    },
    "Kind": {
        "BOOL": 0,
        "INT16": 1,
        "INT32": 2,
        "INT64": 3,
        "FP16": 4,
        "FP32": 5,
        "FP64": 6,
        "LOD_TENSOR": 7,
        "SELECTED_ROWS": 8,
        "FEED_MINIBATCH": 9,
        "FETCH_LIST": 10,
        "STEP_SCOPES": 11,
        "LOD_RANK_TABLE": 12,
        "LOD_TENSOR_ARRAY": 13,
        "PLACE_LIST": 14,
        "READER": 15,
        "RAW": 17,
        "TUPLE": 18,
        "SIZE_T": 19,
        "UINT8": 20,
        "INT8": 21,
        "BF16": 22,
        "COMPLEX64": 23,
        "COMPLEX128": 24,
        "STRING_": 25,
        "STRINGS_": 26,
        "VOCAB": 27,
        "FEED_LIST": 28,
        "PSTRING": 29,
        "SPARSE_COO": 30,
        "SPARSE_CSR": 31,
    },
    "ScalarType": {"S_BOOLEAN": 1, "S_LONG": 2, "S_FLOAT64": 3, "S_COMPLEX128": 4},
}

# message -> "field number label type"; label: ! required, ? optional, * repeated
_MESSAGES: dict[str, str] = {
    "Version": "version 1 ? int64",
    "Complex": "r 1 ! double; i 2 ! double",
    "Scalar": "type 1 ! ScalarType; b 2 ? bool; i 3 ? int64; r 4 ? double; c 5 ? Complex",
    "OpVar": "parameter 1 ! string; arguments 2 * string",
    "OpAttr": (
        "name 1 ! string; type 2 ! AttrType; i 3 ? int32; f 4 ? float; s 5 ? bytes; ints 6 * int32; floats 7 * float;"
        "strings 8 * bytes; b 10 ? bool; bools 11 * bool; block_idx 12 ? int32; l 13 ? int64; blocks_idx 14 * int32;"
        "longs 15 * int64; float64s 16 * double; var_name 17 ? string; vars_name 18 * string; float64 19 ? double;"
        "scalar 20 ? Scalar; scalars 21 * Scalar"
    ),
    "OpDesc": "inputs 1 * OpVar; outputs 2 * OpVar; type 3 ! string; attrs 4 * OpAttr; is_target 5 ? bool",
    "TensorDesc": "data_type 1 ! Kind; dims 2 * int64",
    "LoDTensorDesc": "tensor 1 ! TensorDesc; lod_level 2 ? int32",
    "VarType": (
        "type 1 ! Kind; selected_rows 2 ? TensorDesc; lod_tensor 3 ? LoDTensorDesc; tensor_array 4 ? LoDTensorDesc"
    ),
    "VarDesc": (
        "name 1 ! string; type 2 ! VarType; persistable 3 ? bool; need_check_feed 4 ? bool; is_parameter 5 ? bool;"
        "stop_gradient 6 ? bool"
    ),
    "BlockDesc": "idx 1 ! int32; parent_idx 2 ! int32; vars 3 * VarDesc; ops 4 * OpDesc; forward_block_idx 5 ? int32",
    "OpVersion": "version 1 ! int32",
    "OpVersionPair": "op_name 1 ! string; op_version 2 ! OpVersion",
    "OpVersionMap": "pair 1 * OpVersionPair",
    "ProgramDesc": "blocks 1 * BlockDesc; version 4 ? Version; op_version_map 5 ? OpVersionMap",
}
_Field = descriptor_pb2.FieldDescriptorProto
_LABELS = {"!": _Field.LABEL_REQUIRED, "?": _Field.LABEL_OPTIONAL, "*": _Field.LABEL_REPEATED}


def _file() -> descriptor_pb2.FileDescriptorProto:
    file = descriptor_pb2.FileDescriptorProto(name="segexport/framework.proto", package=_PACKAGE, syntax="proto2")
    for name, members in _ENUMS.items():
        enum = file.enum_type.add(name=name)
        for member, number in members.items():
            enum.value.add(name=member if name == "Kind" else f"{name}_{member}", number=number)
    for name, fields in _MESSAGES.items():
        message = file.message_type.add(name=name)
        for declaration in fields.split(";"):
            field, number, label, kind = declaration.split()
            added = message.field.add(name=field, number=int(number), label=_LABELS[label])
            if kind in _MESSAGES or kind in _ENUMS:
                added.type = _Field.TYPE_MESSAGE if kind in _MESSAGES else _Field.TYPE_ENUM
                added.type_name = f".{_PACKAGE}.{kind}"
            else:
                added.type = getattr(_Field, f"TYPE_{kind.upper()}")
    return file


def _classes() -> dict[str, Any]:
    pool = descriptor_pool.DescriptorPool()
    pool.Add(_file()) if not hasattr(pool, "AddSerializedFile") else pool.AddSerializedFile(_file().SerializeToString())
    found = {name: pool.FindMessageTypeByName(f"{_PACKAGE}.{name}") for name in _MESSAGES}
    if hasattr(message_factory, "GetMessageClass"):  # protobuf >= 4.22
        return {name: message_factory.GetMessageClass(descriptor) for name, descriptor in found.items()}
    factory: Any = message_factory.MessageFactory(pool)
    return {name: factory.GetPrototype(descriptor) for name, descriptor in found.items()}


_BUILT = _classes()
ProgramDesc = _BUILT["ProgramDesc"]
TensorDesc = _BUILT["TensorDesc"]
VarType = _BUILT["VarType"]
Scalar = _BUILT["Scalar"]

ATTR_TYPE = _ENUMS["AttrType"]
ATTR_NAME = {number: name for name, number in ATTR_TYPE.items()}
KIND = _ENUMS["Kind"]
SCALAR_TYPE = _ENUMS["ScalarType"]

# Paddle's element types -> numpy names. bfloat16 has no numpy type: its bits are stored as uint16.
DTYPE_NAME: dict[int, str] = {
    KIND["BOOL"]: "bool",
    KIND["INT16"]: "int16",
    KIND["INT32"]: "int32",
    KIND["INT64"]: "int64",
    KIND["FP16"]: "float16",
    KIND["FP32"]: "float32",
    KIND["FP64"]: "float64",
    KIND["UINT8"]: "uint8",
    KIND["INT8"]: "int8",
    KIND["BF16"]: "bfloat16",
    KIND["COMPLEX64"]: "complex64",
    KIND["COMPLEX128"]: "complex128",
}
DTYPE_CODE = {name: code for code, name in DTYPE_NAME.items()}

# Attribute type -> the field that contains its value, for the types that need no conversion.
PLAIN_FIELD = {
    "INT": "i",
    "FLOAT": "f",
    "BOOLEAN": "b",
    "BLOCK": "block_idx",
    "LONG": "l",
    "VAR": "var_name",
    "FLOAT64": "float64",
}
PLAIN_LIST_FIELD = {
    "INTS": "ints",
    "FLOATS": "floats",
    "BOOLEANS": "bools",
    "BLOCKS": "blocks_idx",
    "LONGS": "longs",
    "FLOAT64S": "float64s",
    "VARS": "vars_name",
}

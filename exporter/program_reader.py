"""Reads `.pdmodel` and `.pdiparams`; the error for an invalid file says what kind of file it is instead."""

from __future__ import annotations

import math
import struct
from contextlib import suppress
from itertools import islice
from pathlib import Path
from typing import Any, BinaryIO, TypeVar

import numpy as np
from google.protobuf.message import DecodeError

from segexport.errors import InputError, TooLargeError, UnreadableError, cannot_read
from segexport.exporter import framework_proto as proto
from segexport.exporter.graph import Attr, Block, Op, Var
from segexport.exporter.program_graph import ProgramGraph
from segexport.exporter.program_verify import verify
from segexport.files.foreign import guarded
from segexport.files.wire_format import fields

Graph = TypeVar("Graph", bound=ProgramGraph)
MAX_MODEL_BYTES = 1 << 27  # 10,000 operators take a few MB in the file and twenty times as much in memory
MAX_BLOCKS = 10_000  # two for each branch, one for each loop
_LISTED_BYTES = 1 << 20  # for a larger program, protobuf would list every missing field
MAX_RANK = 16
MAX_SIZE = 2**31 - 1
_NO_PARAMS_KINDS = frozenset({"FEED_MINIBATCH", "FETCH_LIST", "READER", "RAW", "FEED_LIST"})
_KIND_NAME = {number: name for name, number in proto.KIND.items()}
_HOW_TO_EXPORT = (
    "export it with PaddleSeg: `python tools/export.py --config CONFIG --model_path CHECKPOINT --save_dir DIR`"
)


@guarded("a Paddle program")
def read_program(model: Path, params: Path, kind: type[Graph]) -> Graph:
    """See `program.read`."""
    program = _decode(_model_bytes(model), model, kind)
    program.params = read_params(params, program)
    verify(program, str(model))
    return program


@guarded("a Paddle program")
def read_graph(model: Path, kind: type[Graph]) -> Graph:
    """See `program.read_graph`."""
    program = _decode(_model_bytes(model), model, kind)
    verify(program, str(model))
    return program


# -- the graph -------------------------------------------------------------------------------------------------


def _model_bytes(path: Path) -> bytes:
    size = _size(path, "model")
    with _open(path) as stream:
        head = stream.read(64)
        _refuse_other_kinds(path, head, "model")
        if size > MAX_MODEL_BYTES:
            raise TooLargeError(
                f"{path}: {size} bytes are too many for a program's graph",
                cause=f"a .pdmodel holds the graph alone and stays below {MAX_MODEL_BYTES} bytes",
                hint="give the .pdmodel first and the .pdiparams second",
            )
        stream.seek(0)
        return stream.read(size)


def _decode(data: bytes, path: Path, kind: type[Graph]) -> Graph:
    message = proto.ProgramDesc()
    try:
        _require_few_blocks(data)
        message.ParseFromString(data)
        if not message.IsInitialized():
            missing = (
                message.FindInitializationErrors()[:3] if len(data) <= _LISTED_BYTES else ["too many to be listed"]
            )
            raise ValueError(f"required fields are missing: {', '.join(missing)}")
        if not message.blocks:
            raise ValueError("it has no block")
        program = kind(
            [_block(block) for block in message.blocks],
            {},
            version=message.version.version if message.HasField("version") else 0,
            op_versions={_text(pair.op_name): pair.op_version.version for pair in message.op_version_map.pair},
        )
    except (DecodeError, ValueError, RecursionError, OverflowError) as error:  # UnicodeDecodeError is a ValueError
        raise UnreadableError(
            f"{path}: not a Paddle program, or a damaged one ({len(data)} bytes)",
            cause=_first_line(error),
            hint="copy the file again, or export the model again",
        ) from error
    program.strip_build_paths()
    return program


def _require_few_blocks(data: bytes) -> None:
    """Raises ValueError before protobuf creates an object per block: an empty block takes two bytes in the file."""
    count = 0
    with suppress(ValueError, IndexError):  # protobuf reports invalid messages
        count = sum(1 for _ in islice(fields(data, 0, len(data)), MAX_BLOCKS + 1))
    if count > MAX_BLOCKS:
        raise ValueError(f"it has more than {MAX_BLOCKS} blocks")


def _block(message: Any) -> Block:
    block = Block(
        message.idx, message.parent_idx, message.forward_block_idx if message.HasField("forward_block_idx") else -1
    )
    for var in message.vars:
        if _text(var.name) in block.vars:
            raise ValueError(f"variable {var.name!r} is declared twice in block {message.idx}")
        block.vars[var.name] = _var(var)
    block.ops = [_op(op) for op in message.ops]
    return block


def _var(message: Any) -> Var:
    kind = _KIND_NAME[message.type.type]
    field = {"LOD_TENSOR": "lod_tensor", "LOD_TENSOR_ARRAY": "tensor_array", "SELECTED_ROWS": "selected_rows"}.get(kind)
    dtype, dims, lod_level = "", (), 0
    if field and message.type.HasField(field):
        described = getattr(message.type, field)
        tensor = described if field == "selected_rows" else described.tensor
        lod_level = 0 if field == "selected_rows" else described.lod_level
        dtype, dims = proto.DTYPE_NAME.get(tensor.data_type, ""), tuple(tensor.dims)
    least = -1 if message.persistable else -MAX_SIZE
    if len(dims) > MAX_RANK or any(not least <= size <= MAX_SIZE for size in dims):
        raise ValueError(f"variable {message.name!r} has impossible sizes {list(dims)[:8]}")
    dims = tuple(max(size, -1) for size in dims)  # Paddle also multiplies dynamic sizes: -1 * 24 channels
    return Var(
        message.name,
        kind,
        dtype,
        dims,
        lod_level,
        message.persistable,
        message.is_parameter,
        message.stop_gradient,
        message.need_check_feed,
    )


def _op(message: Any) -> Op:
    return Op(
        _text(message.type),
        {_text(slot.parameter): [_text(name) for name in slot.arguments] for slot in message.inputs},
        {_text(slot.parameter): [_text(name) for name in slot.arguments] for slot in message.outputs},
        {_text(attr.name): _attr(attr) for attr in message.attrs if attr.name != "op_callstack"},
        message.is_target,
    )


def _text(value: str | bytes) -> str:
    """Returns a string of the message; protobuf returns invalid UTF-8 as bytes."""
    return value if isinstance(value, str) else value.decode("utf-8")


def _attr(message: Any) -> Attr:
    kind = proto.ATTR_NAME[message.type]
    if kind == "VAR":
        return Attr(kind, _text(message.var_name))
    if kind == "VARS":
        return Attr(kind, [_text(name) for name in message.vars_name])
    if kind in proto.PLAIN_FIELD:
        return Attr(kind, getattr(message, proto.PLAIN_FIELD[kind]))
    if kind in proto.PLAIN_LIST_FIELD:
        return Attr(kind, list(getattr(message, proto.PLAIN_LIST_FIELD[kind])))
    if kind == "STRING":
        return Attr(kind, message.s.decode("utf-8"))
    if kind == "STRINGS":
        return Attr(kind, [item.decode("utf-8", "replace") for item in message.strings])
    if kind == "SCALAR":
        return Attr(kind, _scalar(message.scalar))
    return Attr(kind, [_scalar(item) for item in message.scalars])


def _scalar(message: Any) -> bool | int | float | complex:
    names = {number: name for name, number in proto.SCALAR_TYPE.items()}
    kind = names[message.type]
    if kind == "S_COMPLEX128":
        return complex(message.c.r, message.c.i)
    return {"S_BOOLEAN": message.b, "S_LONG": message.i, "S_FLOAT64": message.r}[kind]


# -- the parameters --------------------------------------------------------------------------------------------


def param_names(program: ProgramGraph) -> list[str]:
    """Returns the names of the parameters in the `.pdiparams` file, in file order."""
    return sorted(
        name
        for block in program.blocks
        for name, var in block.vars.items()
        if var.persistable and var.kind not in _NO_PARAMS_KINDS
    )


@guarded("parameters of a Paddle program")
def read_params(path: Path, program: ProgramGraph) -> dict[str, np.ndarray]:
    """Reads the values of the parameters that `program` declares; see `program.read`."""
    names = param_names(program)
    if not names and not path.exists():
        return {}
    size = _size(path, "parameters", may_be_empty=not names)
    declared = {name: var for block in program.blocks for name, var in block.vars.items() if var.persistable}
    # PaddleSlim declares weights and scales as before quantization: the file is right.
    quantized = {name for op in program.all_ops() if "quantize" in op.type for name in op.input_names()}
    found: dict[str, np.ndarray] = {}
    with _open(path) as stream:
        head = stream.read(64)
        if names:
            _refuse_other_kinds(path, head, "parameters")
        stream.seek(0)
        for index, name in enumerate(names):
            where = f"{path}: parameter {index + 1} of {len(names)} ({name})"
            found[name] = _read_tensor(stream, size, declared[name], name in quantized, where)
        rest = size - stream.tell()
    if rest:
        raise _mismatch(
            f"{path}: {rest} bytes are left after the {len(names)} parameters of the program",
            "the file holds more parameters than the program names, or has been appended to",
        )
    return found


def _read_tensor(stream: BinaryIO, size: int, var: Var, is_quantized: bool, where: str) -> np.ndarray:
    def take(count: int) -> bytes:
        at = stream.tell()
        if count > size - at:
            raise _mismatch(
                f"{where} ends early: {count} bytes wanted at offset {at}, the file has {size}",
                "the file is truncated, or belongs to another program",
            )
        return stream.read(count)

    def number(code: str) -> int:
        return struct.unpack(code, take(struct.calcsize(code)))[0]

    version, levels = number("<I"), number("<Q")
    if version != 0 or levels > 8:
        raise _mismatch(f"{where} has no tensor header", f"version {version}, {levels} levels of detail")
    for _ in range(levels):
        take(number("<Q"))
    version, header_size = number("<I"), number("<i")
    if version != 0 or not 0 < header_size <= 4096:
        raise _mismatch(f"{where} has no tensor header", f"version {version}, a description of {header_size} bytes")
    desc = proto.TensorDesc()
    try:
        desc.ParseFromString(take(header_size))
        dtype, dims = proto.DTYPE_NAME[desc.data_type], tuple(desc.dims)
    except (DecodeError, KeyError) as error:
        raise _mismatch(f"{where} has a damaged description", _first_line(error)) from error
    if len(dims) > MAX_RANK or any(not 0 <= dim <= MAX_SIZE for dim in dims):
        raise _mismatch(f"{where} has impossible sizes {list(dims)[:8]}", "the file is damaged")
    if is_quantized and math.prod(dims) == math.prod(var.dims) and dtype in (var.dtype, "int8"):
        var.dims, var.dtype = dims, dtype
    if (dims, dtype) != (var.dims, var.dtype):
        raise _mismatch(
            f"{where} is {dtype}{list(dims)}, the program declares {var.dtype}{list(var.dims)}",
            "the parameters belong to another program, or one of the two files is damaged",
        )
    storage = np.dtype("uint16" if dtype == "bfloat16" else dtype)
    data = take(math.prod(dims) * storage.itemsize)  # checks the file's size before allocating
    return np.frombuffer(data, storage).reshape(dims)


def _mismatch(what: str, cause: str) -> InputError:
    return UnreadableError(what, cause=cause, hint="give the .pdmodel and .pdiparams that one export wrote")


# -- files that are something else -----------------------------------------------------------------------------


def _size(path: Path, role: str, may_be_empty: bool = False) -> int:
    try:
        status = path.stat()
    except OSError as error:
        raise UnreadableError(
            f"{path}: no {role} file there",
            cause=error.strerror or str(error),
            hint="an export is a pair of files: NAME.pdmodel and NAME.pdiparams",
        ) from error
    if not path.is_file():
        raise UnreadableError(f"{path}: not a regular file", cause=f"the {role} are read from one file")
    if status.st_size == 0 and not may_be_empty:
        raise UnreadableError(f"{path}: empty", cause="0 bytes", hint="copy the file again, or export the model again")
    return status.st_size


def _open(path: Path) -> BinaryIO:
    try:
        return path.open("rb")
    except OSError as error:
        raise cannot_read(path, error) from error


def _refuse_other_kinds(path: Path, head: bytes, role: str) -> None:
    """Raises if the first bytes or the suffix show a kind of file that users pass by mistake."""
    is_pickle = head[:1] == b"\x80" and head[1:2] in b"\x02\x03\x04\x05"
    if is_pickle or path.suffix in (".pdparams", ".pdopt"):
        raise UnreadableError(
            f"{path}: this is a training checkpoint, not an export",
            cause="it is a pickle of weights without a graph; pickles are never loaded here",
            hint=f"export it with PaddleSeg's export.py first; {_HOW_TO_EXPORT}",
        )
    if head[:4] == b"PK\x03\x04" or path.suffix in (".pt", ".pth"):
        raise UnreadableError(
            f"{path}: this is a zip archive (a PyTorch checkpoint, for one), not an export of Paddle",
            hint=f"for a model of PaddleSeg, {_HOW_TO_EXPORT}",
        )
    if head.startswith(b"version https://git-lfs"):
        raise UnreadableError(f"{path}: a git-lfs pointer, not the file itself", hint="fetch it with `git lfs pull`")
    if head.lstrip()[:1] == b"{" or path.suffix == ".json":
        raise UnreadableError(
            f"{path}: this is a Paddle 3 program (.json), read by another part of segexport",
            cause="Paddle 3 writes its graph as JSON by default",
            hint="give the .json as the model, or export with FLAGS_enable_pir_api=0 to get a .pdmodel",
        )
    # A parameter file starts with a tensor's version (four zero bytes), a program with its first block's tag (0x0a).
    if role == "model" and head[:4] == b"\0\0\0\0":
        raise UnreadableError(
            f"{path}: these are parameters, not a program",
            cause="the two files are swapped, or the .pdiparams was given twice",
            hint="give the .pdmodel first and the .pdiparams second",
        )
    if role == "parameters" and head[:4] != b"\0\0\0\0":
        swapped = head[:1] == b"\x0a"
        raise UnreadableError(
            f"{path}: {'this is a program, not its parameters' if swapped else 'not a file of parameters'}",
            cause="the two files are swapped, or the .pdmodel was given twice"
            if swapped
            else f"it starts with {head[:8]!r}",
            hint="give the .pdmodel first and the .pdiparams second",
        )


def _first_line(error: BaseException) -> str:
    text = str(error).strip() or type(error).__name__
    return text.splitlines()[0][:300]

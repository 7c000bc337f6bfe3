"""Programs are read, checked and written without Paddle; every fault of a file is named."""

from __future__ import annotations

import os
import pickle
import random
import struct
import time
from pathlib import Path

import numpy as np
import pytest
from graphs import Graph

from segexport.errors import InputError, SegexportError, StorageError
from segexport.exporter import program as programs
from segexport.exporter.framework_proto import ProgramDesc, TensorDesc
from segexport.exporter.inspect import inspect
from segexport.exporter.program import Attr, Op, Program, attr_type, read_graph
from segexport.exporter.rewrites import rewrite_for
from segexport.exporter.shapes import fix_input_shape, infer_shapes, settled


def small() -> Program:
    graph = Graph()
    image = graph.feed(1, 3, 4, 4)
    filters = graph.noise(2, 3, 1, 1)
    typed = {"strides": ("INTS", [1, 1]), "paddings": ("INTS", [0, 0]), "dilations": ("INTS", [1, 1])}
    dims = (1, 2, 4, 4)
    out = graph.op("conv2d", {"Input": image, "Filter": filters}, dims, slot="Output", typed=typed, groups=1)
    return graph.program(out)


@pytest.fixture
def files(tmp_path: Path) -> tuple[Path, Path]:
    return small().write(tmp_path / "export")


# -- round trip ------------------------------------------------------------------------------------------------


def test_what_is_written_is_read_again(files: tuple[Path, Path], tmp_path: Path) -> None:
    source, again = small(), programs.read(*files)
    assert again.to_bytes() == source.to_bytes()
    assert [list(again.params), *(value.tolist() for value in again.params.values())] == [
        list(source.params),
        *(value.tolist() for value in source.params.values()),
    ]
    model, params = again.write(tmp_path / "second")
    assert (model.read_bytes(), params.read_bytes()) == (files[0].read_bytes(), files[1].read_bytes())


def test_every_type_of_attribute_survives(tmp_path: Path) -> None:
    program = small()
    values = {
        "INT": -3, "FLOAT": 0.5, "STRING": "größe", "INTS": [1, -2], "FLOATS": [0.25, 2.0], "STRINGS": ["a", ""],
        "BOOLEAN": True, "BOOLEANS": [True, False], "LONG": 2**40, "LONGS": [2**40, -1], "FLOAT64S": [0.1],
        "FLOAT64": 0.1, "SCALAR": 7, "SCALARS": [True, 2**40, 0.1, 1 + 2j],
    }  # fmt: skip
    op = next(program.compute_ops())
    op.attrs.update({kind.lower(): Attr(kind, value) for kind, value in values.items()})
    again = next(programs.read(*program.write(tmp_path)).compute_ops())
    assert {kind: again.attrs[kind.lower()] for kind in values} == {k: Attr(k, v) for k, v in values.items()}


def test_attribute_types_are_chosen_by_value() -> None:
    cases = {"INT": 3, "LONG": 2**31, "BOOLEAN": True, "FLOAT": 1.0, "STRING": "", "INTS": [], "LONGS": [1, 2**40]}
    assert {kind: attr_type(value) for kind, value in cases.items()} == {kind: kind for kind in cases}


def test_build_paths_are_stripped(tmp_path: Path) -> None:
    program = small()
    for op in program.ops:
        op.attrs["op_callstack"] = Attr("STRINGS", ["File /home/someone/train.py, line 3"])
    model, _ = program.write(tmp_path)
    assert b"/home" not in model.read_bytes()


def test_scalars_and_orders_do_not_change_the_bytes() -> None:
    program = small()
    shuffled = program.copy()
    shuffled.blocks[0].vars = dict(reversed(program.vars.items()))
    for op in shuffled.ops:
        op.attrs, op.inputs = dict(reversed(op.attrs.items())), dict(reversed(op.inputs.items()))
    assert shuffled.to_bytes() == program.to_bytes()


@pytest.mark.shared
def test_real_files_come_back_byte_for_byte(shared_dir: Path, tmp_path: Path) -> None:
    models = sorted((shared_dir / "models").rglob("*.pdmodel"))
    assert len(models) >= 5
    for model in models:
        params = model.with_suffix(".pdiparams")
        program = programs.read(model, params)
        _, written = program.write(tmp_path)
        assert written.read_bytes() == params.read_bytes(), model


@pytest.mark.shared
def test_paddle_reads_what_is_written(shared_dir: Path, tools) -> None:
    folder = shared_dir / "models" / "camvid_small"
    program = programs.read(folder / "model.pdmodel", folder / "model.pdiparams")
    (spec,) = program.inputs()
    assert (spec.layout, spec.semantics, spec.dtype) == ("NCHW", "image", "float32")
    (logits,) = tools.paddle(program, [np.zeros(spec.shape, np.float32)])
    assert (logits.shape, np.isfinite(logits).all()) == (program.outputs()[0].shape, True)


# -- faults of the files ---------------------------------------------------------------------------------------


def refuse(model: Path, params: Path, message: str) -> str:
    with pytest.raises(InputError, match=message) as caught:
        programs.read(model, params)
    return str(caught.value)


def test_missing_and_empty_files(files: tuple[Path, Path], tmp_path: Path) -> None:
    model, params = files
    refuse(tmp_path / "no.pdmodel", params, "no.pdmodel: no model file there")
    refuse(model, tmp_path / "no.pdiparams", "no.pdiparams: no parameters file there")
    refuse(tmp_path, params, "not a regular file")
    empty = tmp_path / "empty"
    empty.touch()
    refuse(empty, params, "empty: empty")
    refuse(model, empty, "empty: empty")
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)  # reading it would hang
    refuse(pipe, params, "it is a named pipe")


def test_swapped_files(files: tuple[Path, Path]) -> None:
    model, params = files
    assert "swapped" in refuse(params, model, "these are parameters, not a program")
    refuse(model, model, "this is a program, not its parameters")


@pytest.mark.parametrize("role", ["model", "params"])
def test_a_training_checkpoint_is_never_unpickled(files: tuple[Path, Path], tmp_path: Path, role: str) -> None:
    class Trap:
        def __reduce__(self):
            return os.mkdir, (str(tmp_path / "unpickled"),)

    checkpoint = tmp_path / "model.pdparams"
    checkpoint.write_bytes(pickle.dumps({"w": Trap()}))
    renamed = tmp_path / "renamed.pdmodel"
    renamed.write_bytes(checkpoint.read_bytes())
    for path in (checkpoint, renamed):
        pair = (path, files[1]) if role == "model" else (files[0], path)
        assert "export.py" in refuse(*pair, "this is a training checkpoint, not an export")
    assert not (tmp_path / "unpickled").exists()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b'{"base_code": {"magic": "pir"}}', "Paddle 3 program"),
        (b"version https://git-lfs.github.com/spec/v1\n", "git-lfs pointer"),
        (b"PK\x03\x04rest", "zip archive"),
        (b"<html>404</html>", "not a Paddle program"),
        (b"\x0a\xff\xff\xff\xff\x0f", "not a Paddle program"),
        (b"\x08\x07", "not a Paddle program"),
    ],
)
def test_files_of_another_kind(files: tuple[Path, Path], tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "other.pdmodel"
    path.write_bytes(content)
    refuse(path, files[1], message)


def test_every_truncation_is_seen(files: tuple[Path, Path], tmp_path: Path) -> None:
    model, params = files
    short = tmp_path / "short.pdiparams"
    data = params.read_bytes()
    for size in range(1, len(data)):
        short.write_bytes(data[:size])
        refuse(model, short, "ends early|not a file of parameters|no tensor header")
    short.write_bytes(data + b"\0")
    refuse(model, short, "1 bytes are left after the 2 parameters")


def test_parameters_of_another_program(files: tuple[Path, Path], tmp_path: Path) -> None:
    other = small()
    other.set_param("weight_0", np.zeros((2, 3, 3, 3), np.float32))
    _, params = other.write(tmp_path / "other")
    message = refuse(files[0], params, r"parameter 2 of 2 \(weight_0\) is float32\[2, 3, 3, 3\], the program declares")
    assert "another program" in message


def test_a_hostile_size_allocates_nothing(files: tuple[Path, Path], tmp_path: Path) -> None:
    desc = TensorDesc(data_type=5, dims=[2**31 - 1, 2**31 - 1]).SerializeToString()
    hostile = tmp_path / "hostile.pdiparams"
    hostile.write_bytes(struct.pack("<IQIi", 0, 0, 0, len(desc)) + desc)
    message = ProgramDesc.FromString(files[0].read_bytes())
    var = next(var for var in message.blocks[0].vars if var.name == "weight")
    var.type.lod_tensor.tensor.dims[:] = [2**31 - 1, 2**31 - 1]
    model = tmp_path / "hostile.pdmodel"
    model.write_bytes(message.SerializeToString())
    refuse(model, hostile, "ends early: 18446744056529682436 bytes wanted")
    var.type.lod_tensor.tensor.dims[:] = [2**50]
    model.write_bytes(message.SerializeToString())
    refuse(model, hostile, "not a Paddle program")


@pytest.mark.parametrize("block", [b"\x0a\x00", b"\x0a\x04\x08\x01\x10\x00"], ids=["empty", "numbered"])
def test_a_hostile_number_of_blocks_makes_no_objects(files: tuple[Path, Path], block: bytes) -> None:
    """Two bytes of the file would each become a hundred in memory."""
    with files[0].open("ab") as stream:
        stream.write(block * 1_000_000)
    start = time.process_time()
    refuse(*files, "it has more than 10000 blocks")
    assert time.process_time() - start < 2


@pytest.mark.parametrize("side", [65_537, 10**6, 2**31 - 1])
def test_a_hostile_window_is_not_written_out(side: int) -> None:
    """An adaptive pool becomes a matrix of as many rows as it has bins."""
    graph = Graph()
    image = graph.feed(1, 3, 4, 4)
    attrs = {"pooling_type": "avg", "adaptive": True, "global_pooling": False, "exclusive": True, "ceil_mode": False}
    typed = {name: ("INTS", value) for name, value in (("ksize", [side, 2]), ("strides", [1, 1]), ("paddings", [0, 0]))}
    pooled = graph.op("pool2d", {"X": image}, (1, 3, 2, 2), typed=typed, **attrs)
    with pytest.raises(InputError, match=f"pool2d.* has a window of {side} pixels; the limit is 65536"):
        graph.program(pooled)


def test_many_missing_fields_are_not_listed(files: tuple[Path, Path]) -> None:
    content = b"\x08\x00\x10\x00" + b"\x22\x00" * 1_000_000  # a block of a million operators without a type
    length = bytearray()
    value = len(content)
    while value:
        length.append((value & 127) | (128 if value > 127 else 0))
        value >>= 7
    files[0].write_bytes(b"\x0a" + bytes(length) + content)
    refuse(*files, "required fields are missing: too many to be listed")


def test_a_name_that_is_no_text(files: tuple[Path, Path]) -> None:
    model, params = files
    model.write_bytes(model.read_bytes().replace(b"conv2d", b"conv\xf7d"))
    assert "utf-8" in refuse(model, params, "not a Paddle program")


def test_a_program_that_names_what_is_not_there(tmp_path: Path) -> None:
    program = small()
    op = list(program.compute_ops())[-1]
    op.inputs["Input"] = ["nowhere"]
    with pytest.raises(InputError, match=r"operator 2 \(conv2d\) reads 'nowhere', which no variable is called"):
        program.verify()
    program = small()
    program.ops[1], program.ops[2] = program.ops[2], program.ops[1]
    with pytest.raises(InputError, match="before any operator has written it"):
        program.verify()
    program = small()
    program.ops = [op for op in program.ops if op.type != "fetch"]
    with pytest.raises(InputError, match="no fetch operator"):
        program.verify()


def test_a_full_or_closed_folder(files: tuple[Path, Path], tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(StorageError, match="cannot be written"):
        small().write(tmp_path / "file" / "below")


# -- mutations -------------------------------------------------------------------------------------------------


@pytest.mark.shared
@pytest.mark.parametrize("count", [150, pytest.param(1000, marks=pytest.mark.slow)])
def test_mutations_never_crash(shared_dir: Path, tmp_path: Path, count: int) -> None:
    """Each mutated graph is refused with a clear error, or is read, rewritten and described."""
    chooser = random.Random(11)
    names = ["pp_liteseg_t", "segformer_b0", "maskformer_tiny", "enet", "pspnet_r50", "unet", "maskrcnn_r50_fpn_320"]
    originals = [(shared_dir / "zoo" / f"{name}.pdmodel").read_bytes() for name in names]
    path, messages, slowest = tmp_path / "mutated.pdmodel", [], 0.0
    for _ in range(count):
        data = bytearray(chooser.choice(originals))
        for _ in range(chooser.choice((1, 1, 2, 8))):
            at = chooser.randrange(len(data))
            match chooser.randrange(4):
                case 0:
                    data[at] ^= 1 << chooser.randrange(8)
                case 1:
                    data[at] = chooser.randrange(256)
                case 2:
                    del data[at : at + chooser.choice((1, 8, 1000))]
                case 3:
                    data[at:at] = bytes(chooser.randrange(256) for _ in range(chooser.choice((1, 8))))
        path.write_bytes(data)
        start = time.process_time()
        try:
            program = read_graph(path)
            inspect(program)
            rewrite_for(chooser.choice(("onnx", "paddle-lite arm", "paddle-lite x86")), program)
            infer_shapes(program.copy())
        except SegexportError as error:
            messages.append(str(error))
        slowest = max(slowest, time.process_time() - start)
    assert count / 10 < len(messages) < count
    assert all("cause: " in message for message in messages), [m for m in messages if "cause: " not in m][:3]
    assert slowest < 10


# -- dynamic sizes ------------------------------------------------------------------------------------------------


@pytest.mark.shared
def test_inferred_sizes_are_those_that_paddle_recorded(shared_dir: Path) -> None:
    """Every graph of the zoo: forget all sizes but the inputs', infer them, and compare with the recorded ones."""
    for path in sorted((shared_dir / "zoo").glob("*.pdmodel")):
        recorded = read_graph(path)
        if len(recorded.feed_names) > 1:  # detections: their sizes depend on values
            continue
        program = recorded.copy()
        persistable = {name for name, var in program.vars.items() if var.persistable}
        constant = persistable | _feedless(program) | set(program.feed_names)
        for name, var in program.vars.items():
            if var.is_tensor and name not in constant:
                var.dims = (-1,) * len(var.dims)
        infer_shapes(program)
        wrong = {
            name for name, var in recorded.vars.items() if "xshape" not in name and var.dims != program.shape(name)
        }
        side_outputs = {
            name
            for op in recorded.ops
            for slot in ("SavedMean", "SavedVariance", "Mean", "Variance", "XShape", "ReserveSpace")
            for name in op.outputs.get(slot, [])
        }
        assert not wrong - side_outputs, path.name


def _feedless(program: Program) -> set[str]:
    live: set[str] = set()
    for op in program.ops:
        if op.type == "feed" or live.intersection(op.input_names()):
            live.update(op.output_names())
    return set(program.vars) - live


@pytest.mark.shared
def test_free_sizes_are_fixed_and_give_the_same_masks(shared_dir: Path, tools) -> None:
    folder = shared_dir / "models" / "espnet_cityscapes"
    free = programs.read(folder / "export_argmax/model.pdmodel", folder / "export_argmax/model.pdiparams")
    assert free.inputs()[0].shape == (-1, 3, -1, -1)
    fixed = fix_input_shape(free, {free.feed_names[0]: (1, 3, 64, 128)})
    assert fixed.outputs()[0].shape == (1, 64, 128)
    assert not [name for name, var in fixed.vars.items() if -1 in var.dims]
    rewritten, notes = rewrite_for("onnx", fixed)
    assert not any(op.type == "shape" or "VAR" in {a.type for a in op.attrs.values()} for op in rewritten.ops), notes
    feed = [np.random.default_rng(0).normal(size=(1, 3, 64, 128)).astype(np.float32)]
    (reference,) = tools.paddle(free, feed)
    for found in (*tools.paddle(rewritten, feed), *tools.onnx(rewritten, feed)):
        assert (found == reference).mean() >= 0.9999
    with pytest.raises(SegexportError, match=r"concat.*cannot be joined"):
        fix_input_shape(free, {free.feed_names[0]: (1, 3, 250, 250)})


def test_sizes_of_a_resize_follow_from_factors_that_a_tensor_gives() -> None:
    """Each factor is a float32, as is the product: 10 * 0.7 is 7, not 6.99."""
    for factors, sizes in (([0.5, 2.0], (5, 40)), ([0.7], (7, 14))):
        graph = Graph()
        both = graph.op(
            "assign_value", {}, (len(factors),), typed={"fp32_values": ("FLOATS", factors)}, dtype="float32"
        )
        graph.last().attrs |= {"shape": Attr("INTS", [len(factors)]), "dtype": Attr("INT", 5)}
        attrs = {"interp_method": "bilinear", "align_corners": False, "align_mode": 0, "data_layout": "NCHW"}
        attrs |= {"out_d": -1, "out_h": -1, "out_w": -1, "typed": {"scale": ("FLOATS", [])}}
        image = graph.feed(1, 3, 10, 20)
        out = graph.op("bilinear_interp_v2", {"X": image, "Scale": both}, (1, 3, -1, -1), **attrs)
        assert settled(graph.program(out)).outputs()[0].shape == (1, 3, *sizes)


def test_sizes_that_are_fixed_already_stay() -> None:
    with pytest.raises(InputError, match=r"fixed to \[1, 3, 4, 4\], not \[1, 3, 8, 8\]"):
        fix_input_shape(small(), {"input": (1, 3, 8, 8)})
    with pytest.raises(InputError, match="no input 'image'"):
        fix_input_shape(small(), {"image": (1, 3, 4, 4)})
    with pytest.raises(InputError, match="cannot have the shape"):
        fix_input_shape(small(), {"input": (1, 3, 4, 10**9)})


def test_operators_are_inserted_renamed_and_pruned() -> None:
    program = small()
    (name,) = program.fetch_names
    out = program.add_var("relu", program.shape(name))
    fetch = program.ops[-1]
    program.insert_before(fetch, Op("relu", {"X": [name]}, {"Out": [out]}))
    fetch.rename(name, out)
    program.verify()
    assert program.fetch_names == [out]
    fetch.rename(out, name)
    program.prune()
    assert [op.type for op in program.compute_ops()] == ["elementwise_add", "conv2d"]
    assert out not in program.vars

"""Builds small static programs in Paddle and runs them operator by operator. Command: build.

Paddle itself infers shapes and writes the default attributes, so a program here equals one in a model's export.
"""

from __future__ import annotations

import zlib  # noqa: F401 - before paddle: its bundled copy makes PNG decoding fail in the same process

import numpy as np
import paddle
from paddle import static
from paddle.base.framework import OpProtoHolder
from worker_host import WorkerFailure

paddle.enable_static()
executor = static.Executor(paddle.CPUPlace())


def build(arguments, arrays):
    """Builds a program of a few operators and runs it once.

    Args (of `arguments`):
        file: Path of the `.pdmodel` to write.
        prefix: Prefix of all variable names.
        keeps_extra: Whether to keep attributes that newer Paddle versions omit.
        ops: Each {"type", "inputs": {slot: [reference]}, "outputs": {slot: count}, "attrs"}. A reference is
            {"array": index in `arrays`, "dtype", "held", "free": [axis]} or {"op": index, "slot", "item"}. Outputs
            that are not named are there nevertheless; the named ones of the last operator leave the program, or its
            first one.

    Returns:
        {"parameters": [[name, index in `arrays`]]}, and what is fed, then what comes out.
    """
    program, scope = static.Program(), static.Scope()
    graph = _Graph(program, arguments["prefix"], arrays)
    with static.program_guard(program, static.Program()), static.scope_guard(scope):
        try:
            for op in arguments["ops"]:
                graph.add(op)
            if not graph.feeds:  # an inference program takes something
                graph.feed_unused()
        except Exception as error:
            raise WorkerFailure("Paddle does not take it", cause=_last_line(error)) from error
        wanted = arguments["ops"][-1]["outputs"] or list(graph.results[-1])[:1]
        fetched = [var for slot in wanted for var in graph.results[-1][slot]]
        for name, index in graph.parameters:
            scope.var(name).get_tensor().set(arrays[index], paddle.CPUPlace())
        exported = program.clone(for_test=True)
        exported.desc.flush()
        exported.desc._set_version()
        exported = exported._remove_training_info(clip_extra=not arguments["keeps_extra"])
        arrays = [*arrays, *graph.more]
        feed = {name: arrays[index] for name, index in graph.feeds}
        names = [var.name for var in fetched]
        try:
            outputs = [np.asarray(output) for output in executor.run(exported, feed, names)]
        except Exception as error:
            raise WorkerFailure("Paddle cannot run it", cause=_last_line(error)) from error
        static.io.prepend_feed_ops(exported, list(feed))
        static.io.append_fetch_ops(exported, names)
        data = exported.desc.serialize_to_string()
    with open(arguments["file"], "wb") as stream:
        stream.write(data)
    return {"parameters": graph.parameters}, [*feed.values(), *outputs]


_SAME = {"batch_norm": {"MeanOut": "Mean", "VarianceOut": "Variance"}}
"""Outputs that are inputs: a batch normalization updates its statistics in training."""


class _Graph:
    """Appends operators to a program's main block."""

    def __init__(self, program, prefix: str, arrays) -> None:
        self._block, self._prefix, self._arrays = program.global_block(), prefix, arrays
        self._known: dict[int, object] = {}
        self.parameters: list[tuple[str, int]] = []
        self.feeds: list[tuple[str, int]] = []
        self.results: list[dict[str, list]] = []
        self.more: list[np.ndarray] = []

    def add(self, op: dict) -> None:
        inputs = {slot: [self._variable(item) for item in items] for slot, items in op["inputs"].items()}
        described = OpProtoHolder.instance().get_op_proto(op["type"]).outputs
        counts = {out.name: op["outputs"].get(out.name, 1) for out in described if not out.dispensable} | op["outputs"]
        stem, dtype = f"{self._prefix}.{len(self.results)}", _main_type(inputs)  # some operators infer no type
        outputs = {
            slot: [self._block.create_var(name=f"{stem}.{slot}.{i}", dtype=dtype) for i in range(count)]
            for slot, count in counts.items()
        }
        for out, given in _SAME.get(op["type"], {}).items():
            outputs[out] = inputs[given]
        self._block.append_op(type=op["type"], inputs=inputs, outputs=outputs, attrs=op["attrs"])
        self.results.append(outputs)

    def _variable(self, item: dict):
        if "op" in item:
            return self.results[item["op"]][item["slot"]][item["item"]]
        if item["array"] not in self._known:
            self._known[item["array"]] = self._held(item) if item["held"] else self._fed(item)
        return self._known[item["array"]]

    def feed_unused(self) -> None:
        name = f"{self._prefix}.unused"
        static.data(name, [1], "float32")
        self.feeds.append((name, len(self._arrays)))
        self.more.append(np.ones(1, np.float32))

    def _held(self, item: dict):
        name, array = f"{self._prefix}.param{item['array']}", self._arrays[item["array"]]
        self.parameters.append((name, item["array"]))
        return self._block.create_parameter(name=name, shape=list(array.shape), dtype=item["dtype"])

    def _fed(self, item: dict):
        """Adds a float32 input, cast to the operator's type."""
        name, array = f"{self._prefix}.input{item['array']}", self._arrays[item["array"]]
        self.feeds.append((name, item["array"]))
        shape = [-1 if axis in item["free"] else size for axis, size in enumerate(array.shape)]
        fed = static.data(name, shape, "float32")
        return fed if item["dtype"] == "float32" else paddle.cast(fed, item["dtype"])


def _main_type(inputs: dict):
    """The element type of an operator's main input."""
    first = next((inputs[slot] for slot in ("X", "Input", "Logits", "W") if inputs.get(slot)), None)
    return first[0].dtype if first else "float32"


def _last_line(error: Exception) -> str:
    """The last part of Paddle's long message, which states the error."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip() and "[operator <" not in line]
    telling = [line for line in lines if "Error:" in line] or lines
    return (telling[-1] if telling else type(error).__name__)[:300]


COMMANDS = {"build": build}

"""Small programs, written by hand for tests."""

from __future__ import annotations

from typing import Any

import numpy as np

from segexport.exporter.program import Attr, Block, Op, Program, Var


class Graph:
    """Builds a program operator by operator; `program()` ends it."""

    def __init__(self) -> None:
        ends = (("feed", "FEED_MINIBATCH"), ("fetch", "FETCH_LIST"))
        self._program = Program([Block(vars={name: Var(name, kind, persistable=True) for name, kind in ends})], {})
        self._random = np.random.default_rng(3)

    def fed(self, *dims: int, dtype: str = "float32") -> str:
        """An input that nothing reads yet."""
        name = self._program.add_var("input", dims, dtype)
        column = Attr("INT", len(self._program.feed_names))
        self._program.ops.append(Op("feed", {"X": ["feed"]}, {"Out": [name]}, {"col": column}))
        return name

    def feed(self, *dims: int, dtype: str = "float32") -> str:
        name = self.fed(*dims, dtype=dtype)
        # Paddle loads no program without parameters, so every input meets one.
        return self.op("elementwise_add", {"X": name, "Y": self.param([0], dtype)}, dims, dtype=dtype, axis=-1)

    def param(self, value: Any, dtype: str = "float32") -> str:
        return self._program.add_param("weight", np.asarray(value, dtype))

    def noise(self, *dims: int) -> str:
        return self.param(self._random.normal(size=dims))

    def op(
        self,
        type: str,
        inputs: dict[str, str | list[str]],
        dims: tuple[int, ...] | dict[str, tuple[int, ...]],
        *,
        slot: str = "Out",
        dtype: str = "float32",
        typed: dict[str, tuple[str, Any]] | None = None,
        **attrs: Any,
    ) -> str:
        """Adds an operator and returns its first output. `dims`: of the output in `slot`, or by slot."""
        sizes = dims if isinstance(dims, dict) else {slot: dims}
        outputs = {name: [self._program.add_var("value", size, dtype)] for name, size in sizes.items()}
        op = Op(type, {name: [v] if isinstance(v, str) else list(v) for name, v in inputs.items()}, outputs)
        for name, value in attrs.items():
            op.set_attr(name, value)
        for name, (kind, value) in (typed or {}).items():
            op.set_attr(name, value, kind)
        self._program.ops.append(op)
        return outputs[next(iter(sizes))][0]

    def shape(self, name: str) -> tuple[int, ...]:
        return self._program.shape(name)

    def twin(self, name: str) -> str:
        """Another variable of the same sizes and element type, for an operator's further outputs."""
        return self._program.add_var("value", self._program.shape(name), self._program.dtype(name))

    def last(self) -> Op:
        return self._program.ops[-1]

    def program(self, *outputs: str) -> Program:
        for column, name in enumerate(outputs):
            self._program.ops.append(Op("fetch", {"X": [name]}, {"Out": ["fetch"]}, {"col": Attr("INT", column)}))
        self._program.verify("the test's program")
        return self._program

"""An exported Paddle inference program, read, checked, changed and written in pure Python.

The graph becomes plain objects (`Program`, `Block`, `Op`, `Var`) that rewrites change freely; the wire format is met
only in `framework_proto` and at the two ends, `program_reader` and `program_writer`.
"""

from __future__ import annotations

from pathlib import Path

from segexport.exporter import program_reader, program_verify, program_writer
from segexport.exporter.graph import Attr, Block, Op, Var, attr_type
from segexport.exporter.output_semantics import output_specs
from segexport.exporter.program_graph import BUILD_ATTRIBUTES, ProgramGraph
from segexport.spec import TensorSpec

__all__ = ["BUILD_ATTRIBUTES", "Attr", "Block", "Op", "Program", "Var", "attr_type", "read", "read_graph"]


class Program(ProgramGraph):
    """A program and its parameters, with its files and the meaning of its outputs."""

    def verify(self, source: str = "program") -> None:
        """Checks that the program can run: what it names exists, and is written before it is read.

        Args:
            source: What error messages call the program (its path).

        Raises:
            InputError: The first fault, with the operator's number and type.
        """
        program_verify.verify(self, source)

    def outputs(self) -> list[TensorSpec]:
        """The outputs in fetch order, with layout and semantics as the graph shows them (see `output_semantics`)."""
        return output_specs(self)

    def write(self, folder: Path, stem: str = "model") -> tuple[Path, Path]:
        """Writes `stem.pdmodel` and `stem.pdiparams`; equal programs give equal bytes.

        Returns:
            The two paths.

        Raises:
            StorageError: The folder cannot be written or is full; nothing half-written stays.
        """
        return program_writer.write(self, Path(folder), stem)

    def to_bytes(self) -> bytes:
        """The `.pdmodel` file's bytes, in canonical order and without build paths."""
        return program_writer.model_bytes(self)


def read(model: Path, params: Path) -> Program:
    """Reads an exported inference program and its parameters, and verifies both.

    Args:
        model: The `.pdmodel` file.
        params: The `.pdiparams` file.

    Raises:
        InputError: A file is missing, empty, damaged, swapped, or of another kind; see the cause.
    """
    return program_reader.read_program(Path(model), Path(params), Program)


def read_graph(model: Path) -> Program:
    """Reads the graph alone, without its parameters' values (`params` stays empty)."""
    return program_reader.read_graph(Path(model), Program)

"""Reads, verifies, modifies and writes exported Paddle inference programs in pure Python.

The graph consists of plain objects (`Program`, `Block`, `Op`, `Var`) that rewrites modify; only `framework_proto`,
`program_reader` and `program_writer` handle the file format.
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
    """A program with its parameters, file input and output, and output semantics."""

    def verify(self, source: str = "program") -> None:
        """Checks that the program can run: every named variable exists and is written before it is read.

        Args:
            source: The program's name in error messages (its path).

        Raises:
            InputError: The first fault, with the operator's number and type.
        """
        program_verify.verify(self, source)

    def outputs(self) -> list[TensorSpec]:
        """Returns the outputs in fetch order with layout and semantics from the graph (see `output_semantics`)."""
        return output_specs(self)

    def write(self, folder: Path, stem: str = "model") -> tuple[Path, Path]:
        """Writes `stem.pdmodel` and `stem.pdiparams`; equal programs produce equal bytes.

        Returns:
            The two paths.

        Raises:
            StorageError: The folder is not writable or full; no partial file remains.
        """
        return program_writer.write(self, Path(folder), stem)

    def to_bytes(self) -> bytes:
        """Returns the bytes of the `.pdmodel` file, in canonical order and without build paths."""
        return program_writer.model_bytes(self)


def read(model: Path, params: Path) -> Program:
    """Reads an exported inference program and its parameters, and verifies both.

    Args:
        model: The `.pdmodel` file.
        params: The `.pdiparams` file.

    Raises:
        InputError: A file is missing, empty, damaged, swapped or of another kind; see the cause.
    """
    return program_reader.read_program(Path(model), Path(params), Program)


def read_graph(model: Path) -> Program:
    """Reads only the graph, without parameter values (`params` stays empty)."""
    return program_reader.read_graph(Path(model), Program)

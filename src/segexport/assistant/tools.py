"""Commands as tools: their arguments as a JSON schema, and a call of a tool as a command line within one folder."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from segexport.cli.command import Command
from segexport.cli.schema import schema_of
from segexport.errors import OptionError, OutsideError

# Tool -> the parameters of its command that it takes. Left out: what reaches beyond the folder (URLs, cameras, devices,
# a checkout of PaddleSeg), and what an assistant rarely needs.
TOOLS: dict[str, tuple[str, ...]] = {
    "inspect": ("model", "input_size"),
    "export": (
        *("model", "to", "purpose", "data", "precision", "head", "calibration", "calibration_method"),
        *("input_size", "labels", "preprocess", "mask_output", "output"),
    ),
    "check": (
        *("exports", "reference", "data", "golden", "split", "limit", "label_map", "runtime", "threads", "latency"),
        *("latency_seconds", "baseline", "tolerance", "output"),
    ),
    "bench": ("exports", "threads", "latency_seconds", "runtime", "all_runtimes"),
    "diagnose": ("export", "reference", "image", "output"),
    "predict": ("model", "inputs", "runtime", "threads", "kind", "target_size", "output"),
    "doctor": (),
    "report": ("file",),
}
_ALSO_PATHS = {("predict", "inputs")}  # the command takes URLs and cameras too, the tool does not
_WRITES = {"export"}


@dataclass(frozen=True)
class CommandTool:
    """A command as a tool.

    Attributes:
        parameters: The parameters of the command that the tool takes.
    """

    name: str
    command: Command
    parameters: tuple[click.Parameter, ...]

    @property
    def description(self) -> str:
        """What the command's `--help` says."""
        return " ".join((self.command.help or "").split())

    @property
    def writes(self) -> bool:
        """Whether it always writes files."""
        return self.name in _WRITES

    @property
    def input_schema(self) -> dict[str, Any]:
        """The JSON schema of the arguments."""
        return {
            "type": "object",
            "properties": {one.name: _schema(self.name, one) for one in self.parameters},
            "required": [one.name for one in self.parameters if one.required],
            "additionalProperties": False,
        }

    @property
    def output_schema(self) -> dict[str, Any]:
        """The JSON schema of the result, which is what the command prints with `--format json`."""
        whole = schema_of(self.name, self.command)
        return {"type": "object", "anyOf": whole["anyOf"], "$defs": whole["$defs"]}

    def command_line(self, arguments: Mapping[str, Any], root: Path) -> list[str]:
        """The command's arguments, options first; a value never becomes an option.

        Raises:
            OptionError: An argument is unknown, or missing.
            OutsideError: A path lies outside `root`, also by a link.
        """
        known = {str(one.name): one for one in self.parameters}
        if unknown := sorted(set(arguments) - set(known)):
            raise OptionError(f"{self.name}: unknown argument {unknown[0]!r}", hint=f"it takes {', '.join(known)}")
        if lacking := [name for name, one in known.items() if one.required and arguments.get(name) in (None, [], "")]:
            raise OptionError(f"{self.name}: the argument {lacking[0]!r} is missing")
        options, positional = ["--format=json"], []
        for name, one in known.items():
            value = arguments.get(name)
            if value is None:
                continue
            values = value if isinstance(value, list) else [value]
            if is_path(self.name, one):
                for each in values:
                    require_inside(str(each), root)
            if isinstance(one, click.Argument):
                positional += map(str, values)
            elif getattr(one, "is_flag", False):
                options += [_long(one.opts)] if value is True else one.secondary_opts[:1]
            else:
                options += [f"{_long(one.opts)}={each}" for each in values]
        return [self.name, *options, "--", *positional]


def tools_of(cli: click.Group) -> dict[str, CommandTool]:
    """The tools, by name."""
    found = {}
    for name, wanted in TOOLS.items():
        command = cli.commands[name]
        assert isinstance(command, Command), name
        own = {one.name: one for one in command.params}
        found[name] = CommandTool(name, command, tuple(own[each] for each in wanted))
    return found


def is_path(tool: str, parameter: click.Parameter) -> bool:
    """Whether the values of a parameter are paths, which are kept within the folder."""
    return isinstance(parameter.type, click.Path) or (tool, parameter.name) in _ALSO_PATHS


def require_inside(path: str, root: Path) -> None:
    """Raises OutsideError for a path, relative to `root`, that leads out of it; links are followed.

    A URL and a camera lead out too.
    """
    if "://" in path or path.startswith("camera:"):
        raise OutsideError(f"{path}: no file", cause="this server reads files in its folder only")
    try:
        real = (root / path).resolve()
    except (OSError, RuntimeError, ValueError) as error:
        raise OutsideError(f"{path}: this path cannot be followed", cause=str(error)) from error
    if real != root and root not in real.parents:
        raise OutsideError(
            f"{path}: outside of the folder that this server may use",
            cause=f"it is {root}",
            hint="copy the files into it, or start `segexport mcp --root` with another folder",
        )


def _long(names: list[str]) -> str:
    """The long name of an option, which takes its value after `=`."""
    return next(name for name in names if name.startswith("--"))


def _schema(tool: str, parameter: click.Parameter) -> dict[str, Any]:
    """The JSON schema of one argument."""
    kind = parameter.type
    one: dict[str, Any] = {"type": "string"}
    if isinstance(kind, click.Choice):
        one = {"type": "string", "enum": list(kind.choices)}
    elif isinstance(kind, click.types.IntParamType):
        one = {"type": "integer"}
    elif isinstance(kind, click.types.FloatParamType):
        one = {"type": "number"}
    elif getattr(parameter, "is_flag", False):
        one = {"type": "boolean"}
    for bound, key in (("min", "minimum"), ("max", "maximum")):
        if (value := getattr(kind, bound, None)) is not None:
            one[key] = value
    if getattr(parameter, "multiple", False) or parameter.nargs == -1:
        one = {"type": "array", "items": one}
    text = getattr(parameter, "help", None) or ("Path." if is_path(tool, parameter) else "")
    if is_path(tool, parameter):
        text += " Relative to the server's folder."
    return {**one, "description": text.strip()} if text else one

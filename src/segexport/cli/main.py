"""The command line. Each command reads its options, calls the library and shows the result."""

from __future__ import annotations

import contextlib
import os
import sys
from typing import TYPE_CHECKING

import click

from segexport import __version__
from segexport.cli.android import android
from segexport.cli.check import check, merge, report
from segexport.cli.ci import ci
from segexport.cli.command import COLOR, FORMAT, JSON, QUIET, Group, asks_for_json, global_options
from segexport.cli.compress import compress
from segexport.cli.convert import demo, export, import_, run
from segexport.cli.data import data
from segexport.cli.environment import cache, doctor
from segexport.cli.examine import bench, diagnose, inspect
from segexport.cli.mcp import mcp
from segexport.cli.model import evaluate, pipeline, predict
from segexport.cli.recipe import recipe
from segexport.cli.recommend import recommend
from segexport.cli.records import attest, sbom, verify
from segexport.cli.reference import golden, reference
from segexport.cli.schema import schema
from segexport.cli.serve import serve
from segexport.cli.toolchain import toolchain
from segexport.cli.train import finetune, train

if TYPE_CHECKING:
    from segexport.errors import SegexportError
    from segexport.ui.console import Color, Console

SECTIONS = {
    "Convert": (import_, export, run, demo, compress, finetune, train, recommend),
    "Check": (check, merge, diagnose, bench, inspect, report, evaluate, ci),
    "Use": (predict, pipeline, serve, mcp, android),
    "Records": (attest, verify, sbom),
    "Data and references": (data, reference, golden, recipe),
    "Environment": (doctor, toolchain, cache, schema),
}


@click.group(
    cls=Group,
    sections={title: [str(command.name) for command in commands] for title, commands in SECTIONS.items()},
    params=global_options(),
    examples=[
        "segexport demo",
        "segexport export inference_model/ --to onnx -o out/onnx-fp32",
        "segexport check out/onnx-fp32 --reference inference_model/ --data data/",
    ],
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
)
@click.version_option(__version__, prog_name="segexport")
@click.pass_context
def cli(context: click.Context) -> None:
    """Compress, export and check PaddlePaddle segmentation models.

    Exit codes: 0 everything passed; 1 a gate failed or could not be decided; 2 an error occurred; 130 interrupted.
    """
    meta = context.meta  # shared with the contexts of the commands, whose options may follow
    context.obj = lambda: _console(meta.get(COLOR, "auto"), meta.get(QUIET, False), meta.get(FORMAT, ""))


for _commands in SECTIONS.values():
    for _command in _commands:
        cli.add_command(_command)


def main() -> None:
    """Entry point: prints errors in up to three lines and sets the exit code. 1 is reserved for failed gates.

    With `--format json`, an error is a JSON document on stdout too.
    """
    from segexport.errors import CommandLineError, InternalError, SegexportError, StoppedError

    _open_closed_streams()
    try:
        sys.exit(cli(standalone_mode=False))
    except click.ClickException as error:
        error.show()
        command = error.ctx.command_path if isinstance(error, click.UsageError) and error.ctx else "segexport"
        _answer(CommandLineError(error.format_message(), hint=f"{command} --help"))
        sys.exit(error.exit_code)
    except (click.Abort, KeyboardInterrupt):
        _answer(StoppedError("interrupted", hint="the same command goes on after the last step that was finished"))
        raise KeyboardInterrupt from None  # `__main__` says what that means
    except SegexportError as error:
        told = error
    except OSError as error:  # an inaccessible path, a full disk
        told = _told(error)
    except Exception:
        import traceback

        traceback.print_exc()
        told = InternalError("this is a bug in segexport, please report it with the above")
    _console("auto", False, "").error(told)
    _answer(told)
    sys.exit(2)


def _answer(error: SegexportError) -> None:
    """Prints the error as JSON, if that is asked for. Where stdout cannot be written, it was said on stderr."""
    if asks_for_json(sys.argv[1:]):
        from segexport.errors import StorageError
        from segexport.ui.error_document import ErrorDocument

        with contextlib.suppress(StorageError):
            _console("auto", False, JSON).result(ErrorDocument.of(error))


def _open_closed_streams() -> None:
    """Redirects closed standard streams (`2>&-`) to the null device: Python sets them to None, and the next opened file
    would get their descriptor, so that messages of libraries would be written into it."""
    while (descriptor := os.open(os.devnull, os.O_RDWR)) <= 2:
        os.set_inheritable(descriptor, True)
    os.close(descriptor)
    for name in ("stdin", "stdout", "stderr"):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, "r" if name == "stdin" else "w"))  # noqa: SIM115 - until the end


def _told(error: OSError) -> SegexportError:
    from segexport.errors import SegexportError, StorageError
    from segexport.files.disk import require_temporary_room

    if error.filename is None:
        try:
            require_temporary_room(error)
        except SegexportError as full:
            return full
    return StorageError(f"{error.filename}: {error.strerror}" if error.filename else str(error))


def _console(color: Color, quiet: bool, form: str) -> Console:
    from segexport.cli.store_warnings import show_store_warnings
    from segexport.ui.console import Console

    console = Console(color, quiet=quiet, form=form)
    show_store_warnings(console)
    return console

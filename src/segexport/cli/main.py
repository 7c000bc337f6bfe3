"""The command line. Each command reads its options, calls the library, and shows what came back."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from segexport import __version__
from segexport.cli.android import android
from segexport.cli.compress import compress
from segexport.cli.data import data
from segexport.cli.model import evaluate, pipeline, predict
from segexport.cli.options import FILE as _FILE
from segexport.cli.options import FORMS as _FORMS
from segexport.cli.options import Target, chosen
from segexport.cli.options import against_baseline as _against_baseline
from segexport.cli.options import grouping as _grouping
from segexport.cli.options import import_options as _import_options
from segexport.cli.options import importing as _importing
from segexport.cli.reference import golden, reference
from segexport.cli.serve import serve
from segexport.cli.toolchain import toolchain
from segexport.cli.train import finetune

if TYPE_CHECKING:
    from segexport.report.schema import Report
    from segexport.ui.console import Color, Console


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(__version__, prog_name="segexport")
@click.option("--color", type=click.Choice(["auto", "always", "never"]), default="auto", show_default=True)
@click.option("-q", "--quiet", is_flag=True, help="Only warnings and errors.")
@click.pass_context
def cli(context: click.Context, color: Color, quiet: bool) -> None:
    """From a trained PaddlePaddle segmentation model to a phone, with proof that nothing was lost.

    Exit codes: 0 everything passed; 1 a gate failed or could not be decided; 2 segexport could not do its job.
    """
    context.obj = lambda: _console(color, quiet)


@cli.command()
@click.argument("recipe", type=_FILE)
@click.option("-o", "--output", type=_FILE, help="Folder for exports and reports.  [default: out/<recipe's name>]")
@click.option("--without", metavar="STEP", multiple=True, help="Leave a step of the recipe out; may be repeated.")
@click.pass_obj
def run(console: Any, recipe: Path, output: Path | None, without: tuple[str, ...]) -> None:
    """Make, export and check everything that RECIPE names."""
    from segexport.commands.run import run

    say = console()
    folder = output or Path("out") / recipe.stem
    _finish(say, run(recipe, folder, without=without, feedback=say), folder)


@cli.command("import")
@click.argument("model", type=_FILE)
@click.option("-o", "--output", type=_FILE, required=True, help="Folder of the new artifact.")
@_importing
@click.pass_obj
def import_(console: Any, model: Path, output: Path, **options: Any) -> None:
    """Turn a PaddleSeg or PaddleX export into an artifact that says all about itself."""
    from segexport.commands.import_ import import_to

    say, artifact = console(), import_to(model, output, _import_options(options))
    say.warn_of(artifact)
    say.say(f"{output}: {artifact.manifest.name}, {artifact.manifest.num_classes} classes")


@cli.command()
@click.argument("model", type=_FILE)
@click.option("--to", "to", type=Target(), required=True)
@click.option("--precision", default="fp32", show_default=True, help="fp32, fp16, int8 or w8: what the target has.")
@click.option(
    "--head",
    type=click.Choice(["keep", "logits", "softmax", "argmax", "argmax_small"]),
    default="keep",
    show_default=True,
    help="What leaves the network. argmax_small: the mask before the last upsampling.",
)
@click.option("--mask-dtype", type=click.Choice(["int32", "uint8"]), default="int32", show_default=True)
@click.option("--calibration", type=_FILE, help="Images for int8: a data folder with train.txt, or a folder of images.")
@click.option(
    "--calibration-method",
    type=click.Choice(["minmax", "percentile", "mse", "entropy"]),
    default="mse",
    show_default=True,
)
@click.option("--calibration-images", type=click.IntRange(1), default=32, show_default=True)
@click.option("--opset", type=int, help="ONNX opset.  [default: the newest that works]")
@click.option("--option", metavar="NAME=VALUE", multiple=True, help="An option of the target's own, as in a recipe.")
@_importing
@click.option("-o", "--output", type=_FILE, required=True, help="Folder of the export.")
@click.pass_obj
def export(console: Any, model: Path, output: Path, **options: Any) -> None:
    """Export MODEL to a target: ONNX, Paddle-Lite, or what else is installed."""
    from segexport.commands.export import ExportOptions, export

    say = console()
    artifact = export(model, output, _import_options(options), chosen(ExportOptions, options), feedback=say)
    say.say(f"{output}: {artifact.manifest.format}, {artifact.size_bytes:,} bytes")


@cli.command()
@click.argument("exports", type=_FILE, nargs=-1, required=True)
@click.option("--reference", type=_FILE, help="The model that the exports were made from, or a recording of it.")
@click.option("--data", type=_FILE, help="Images: a PaddleSeg data folder, or a folder of images.")
@click.option("--golden", type=_FILE, help="A golden pack, in place of --reference and --data.")
@click.option("--split", default="val", show_default=True)
@_grouping
@click.option("--label-map", type=_FILE, help="YAML: class of the model -> class of the data.")
@click.option("--limit", type=click.IntRange(1), help="At most so many images, spread over the split.")
@click.option("--device", default="cpu", show_default=True, help="Where the exports run: cpu, gpu:N, adb[:SERIAL].")
@click.option("--adb", "device", flag_value="adb", help="On the connected phone: the same as --device adb.")
@click.option("--runtime", metavar="NAME", multiple=True, help="Run exports in this one, as `doctor` names it.")
@click.option("--reference-device", default="cpu", show_default=True)
@click.option("--threads", type=click.IntRange(1, 256), default=1, show_default=True)
@click.option(
    "--latency",
    type=click.Choice(["off", "warn", "gate"]),
    help="Slow exports are not timed, are told, or fail.  [default: warn; gate where --tolerance names latency]",
)
@click.option(
    "--latency-seconds",
    type=float,
    default=10.0,
    show_default=True,
    help="Timed runs of all exports together; opening each up to 8 times comes on top. 0 leaves timing out.",
)
@click.option("--device-result", type=_FILE, multiple=True, help="result.json of a phone: one more row.")
@click.option("--shard", metavar="I/N", help="Measure the I-th of N shares of the images only; -o is the part's file.")
@_against_baseline
@click.option("--format", "form", type=_FORMS, default="table", show_default=True, help="What goes to stdout.")
@click.option("-o", "--output", type=_FILE, help="Folder for report.json, .md, .html and junit.xml.")
@click.pass_obj
def check(console: Any, exports: tuple[Path, ...], form: str, output: Path | None, **options: Any) -> None:
    """Compare EXPORTS with the model that they were made from, on real images."""
    from segexport.commands.check import CheckOptions, check, check_shard

    say = console()
    asked = chosen(CheckOptions, options)
    if asked.shard is not None:
        say.say(check_shard(exports, output, asked, feedback=say))
    else:
        _finish(say, check(exports, output, asked, feedback=say), output, form)


@cli.command()
@click.argument("parts", type=_FILE, nargs=-1, required=True)
@_against_baseline
@click.option("--format", "form", type=_FORMS, default="table", show_default=True, help="What goes to stdout.")
@click.option("-o", "--output", type=_FILE, required=True, help="Folder for report.json, .md, .html and junit.xml.")
@click.pass_obj
def merge(console: Any, parts: tuple[Path, ...], form: str, output: Path, **options: Any) -> None:
    """Put the PARTS of a sharded check together; the report is that of one run without times."""
    from segexport.commands.check import BaselineOptions, merge

    _finish(console(), merge(parts, output, chosen(BaselineOptions, options)), output, form)


@cli.command()
@click.argument("export", type=_FILE)
@click.option("--reference", type=_FILE, required=True, help="The model that the export was made from.")
@click.option("--image", type=_FILE, required=True, help="An image on which the two differ.")
@click.option("--threads", type=click.IntRange(1, 256), default=1, show_default=True)
@click.option("--format", "form", type=click.Choice(["table", "json", "html"]), default="table", show_default=True)
@click.option("-o", "--output", type=_FILE, help="Folder for the report and a minimal model that shows the fault.")
@click.pass_obj
def diagnose(console: Any, export: Path, output: Path | None, form: str, **options: Any) -> None:
    """Find the first operator of EXPORT that gives another result than the model that it was made from."""
    from segexport.commands.diagnose import diagnose
    from segexport.diagnose.report import render

    say = console()
    found = diagnose(export, output, **options, feedback=say)
    say.data(render(found, form, width=say.stdout_width, color=say.stdout_color))
    sys.exit(1 if found.findings else 0)


@cli.command()
@click.argument("exports", type=_FILE, nargs=-1, required=True)
@click.option("--threads", type=click.IntRange(1, 256), multiple=True, default=(1,), help="Give it again for a sweep.")
@click.option("--device", default="cpu", show_default=True)
@click.option(
    "--seconds",
    type=click.FloatRange(0, 3600),
    default=10.0,
    show_default=True,
    help="Timed runs of all exports together; opening each up to 8 times comes on top.",
)
@click.option("--format", "form", type=click.Choice(["table", "json"]), default="table", show_default=True)
@click.pass_obj
def bench(
    console: Any, exports: tuple[Path, ...], threads: tuple[int, ...], device: str, seconds: float, form: str
) -> None:
    """Time EXPORTS in turn; ratios are to the first one."""
    from segexport.commands.bench import bench, render

    say = console()
    rows = bench(list(exports), threads=threads, device=device, seconds=seconds, progress=say.progress)
    say.data(render(rows, form, color=say.stdout_color, width=say.stdout_width))


@cli.command()
@click.argument("path", type=_FILE)
@click.option("--input-size", metavar="WxH", help="Size for free input sides; costs depend on it.")
@click.option("--format", "form", type=click.Choice(["table", "json"]), default="table", show_default=True)
@click.pass_obj
def inspect(console: Any, path: Path, input_size: str | None, form: str) -> None:
    """Say what a model holds, and what each target will make of it, before any conversion."""
    from segexport.commands.inspect import inspect

    say = console()
    options = _import_options({"input_size": input_size})
    say.data(inspect(path, options, form, color=say.stdout_color, width=say.stdout_width))


@cli.command()
@click.argument("file", type=_FILE)
@click.option("--format", "form", type=_FORMS, default="table", show_default=True)
@click.pass_obj
def report(console: Any, file: Path, form: str) -> None:
    """Show a report.json in another form."""
    from segexport import report as reports

    _show(console(), reports.read(file), form, file if file.is_dir() else file.parent)


@cli.command()
@click.option("--format", "form", type=click.Choice(["table", "json"]), default="table", show_default=True)
@click.pass_obj
def doctor(console: Any, form: str) -> None:
    """Try the runtimes and converters of this machine, and say how to get the rest.

    Exit code 2: nothing here exports a model, or nothing runs one.
    """
    from segexport.commands.doctor import examine, obstacle, render

    say = console()
    findings = examine(say.progress)
    say.data(render(findings, form, color=say.stdout_color, width=say.stdout_width))
    if (error := obstacle(findings)) is not None:
        say.error(error)
        sys.exit(2)


for _command in (compress, data, evaluate, finetune, pipeline, predict, serve):
    cli.add_command(_command)
cli.add_command(reference)
cli.add_command(golden)
cli.add_command(toolchain)


@cli.group()
def cache() -> None:
    """Outputs that are kept, so that nothing is made twice."""


@cache.command("ls")
@click.pass_obj
def cache_ls(console: Any) -> None:
    """List what is kept."""
    from segexport.files.store import Store

    entries = list(Store().entries())
    for entry in entries:
        console().data(f"{entry.key[:16]}  {entry.size_bytes:>12,} bytes")
    console().say(f"{len(entries)} outputs, {sum(entry.size_bytes for entry in entries):,} bytes")


@cache.command("gc")
@click.option("--older-than-days", type=float, default=30.0, show_default=True, help="Unused for so long; 0: all.")
@click.pass_obj
def cache_gc(console: Any, older_than_days: float) -> None:
    """Remove what nobody used for a while."""
    from segexport.files.store import Store

    removed, freed = Store().collect(older_than_days=older_than_days)
    console().say(f"{removed} outputs removed, {freed:,} bytes freed")


@cli.group()
def recipe() -> None:
    """Recipes: what is to be made, in a file."""


@recipe.command("validate")
@click.argument("file", type=_FILE)
@click.pass_obj
def recipe_validate(console: Any, file: Path) -> None:
    """Check a recipe; every fault is told at once, with its line."""
    from segexport.commands.validate_recipe import validate_recipe

    names = validate_recipe(file)
    console().say(f"{file}: a valid recipe with {len(names)} exports: {', '.join(names)}")


@recipe.command("schema")
@click.pass_obj
def recipe_schema(console: Any) -> None:
    """Print the JSON schema of recipes."""
    import json

    from segexport.recipe.schema import Recipe

    console().data(json.dumps(Recipe.model_json_schema(), indent=2))


@cli.command()
@click.option("-o", "--output", type=_FILE, default=Path("out/demo"), show_default=True)
@click.pass_obj
def demo(console: Any, output: Path) -> None:
    """Quantize, export and check a small built-in model on built-in images, offline."""
    from segexport.commands.run import DEMO_RECIPE, run

    say = console()
    _finish(say, run(DEMO_RECIPE, output, feedback=say), output)


cli.add_command(android)


def main() -> None:
    """Entry point: turns errors into their three lines and the right exit code. 1 is kept for failed gates."""
    from segexport.errors import SegexportError

    try:
        sys.exit(cli(standalone_mode=False))
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except click.Abort:
        sys.exit(130)  # what a shell says after Ctrl-C
    except SegexportError as error:
        _console("auto", False).error(error)
    except OSError as error:  # a path that cannot be looked at, a disk that is full
        what = f"{error.filename}: {error.strerror}" if error.filename else str(error)
        _console("auto", False).error(SegexportError(what))
    except Exception:
        import traceback

        traceback.print_exc()
        _console("auto", False).error(SegexportError("this is a bug in segexport, please report it with the above"))
    sys.exit(2)


def _console(color: Color, quiet: bool) -> Console:
    from segexport.ui.console import Console

    return Console(color, quiet=quiet)


def _finish(say: Console, result: Report, folder: Path | None, form: str = "table") -> None:
    """Shows a report and leaves with its exit code."""
    from segexport.verdict import exit_code

    _show(say, result, form, folder)
    if folder is not None:
        say.say(f"report: {folder / 'report.html'}")
    sys.exit(exit_code(result.verdict))


def _show(say: Console, result: Report, form: str, folder: Path | None) -> None:
    """A table fits the terminal and may be coloured; every other form is the same everywhere."""
    from segexport.report import render, terminal

    if form == "table":
        say.data(terminal.render(result, folder, width=say.stdout_width, color=say.stdout_color))
    else:
        say.data(render(result, form, folder))

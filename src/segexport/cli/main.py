"""The command line. Each command reads its options, calls the library and shows the result."""

from __future__ import annotations

import functools
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from segexport import __version__
from segexport.cli.android import android
from segexport.cli.command import COLOR, QUIET, Group, global_options
from segexport.cli.compress import compress
from segexport.cli.data import data
from segexport.cli.model import evaluate, pipeline, predict
from segexport.cli.options import FILE as _FILE
from segexport.cli.options import FORMS as _FORMS
from segexport.cli.options import LABEL_MAP as _LABEL_MAP
from segexport.cli.options import LABELS as _LABELS
from segexport.cli.options import LIMIT as _LIMIT
from segexport.cli.options import PREPROCESS as _PREPROCESS
from segexport.cli.options import SPLIT as _SPLIT
from segexport.cli.options import TABLE_OR_JSON as _TABLE_OR_JSON
from segexport.cli.options import THREADS as _THREADS
from segexport.cli.options import TargetName, chosen
from segexport.cli.options import against_baseline as _against_baseline
from segexport.cli.options import format_option as _format
from segexport.cli.options import grouping as _grouping
from segexport.cli.options import import_options as _import_options
from segexport.cli.options import importing as _importing
from segexport.cli.options import tiling as _tiling
from segexport.cli.reference import golden, reference
from segexport.cli.serve import serve
from segexport.cli.toolchain import toolchain
from segexport.cli.train import finetune, train

if TYPE_CHECKING:
    from segexport.errors import SegexportError
    from segexport.report.schema import Report
    from segexport.report.wording import Places
    from segexport.ui.console import Color, Console


_HEAD = click.option(
    "--head",
    type=click.Choice(["keep", "logits", "softmax", "argmax", "argmax_small"]),
    default="keep",
    show_default=True,
    help="Output of the network; argmax_small: the mask before the last upsampling.",
)
SECTIONS = {
    "Convert": ("import", "export", "run", "demo", "compress", "finetune", "train"),
    "Check": ("check", "merge", "diagnose", "bench", "inspect", "report", "evaluate"),
    "Use": ("predict", "pipeline", "serve", "android"),
    "Data and references": ("data", "reference", "golden", "recipe"),
    "Environment": ("doctor", "toolchain", "cache"),
}


@click.group(
    cls=Group,
    sections=SECTIONS,
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
    context.obj = lambda: _console(meta.get(COLOR, "auto"), meta.get(QUIET, False))


@cli.command(examples=["segexport run recipe.yaml", "segexport run recipe.yaml --without prune -o out/plain"])
@click.argument("recipe", type=_FILE)
@click.option("-o", "--output", type=_FILE, help="Folder for exports and reports.  [default: out/<name of the recipe>]")
@click.option("--without", metavar="STEP", multiple=True, help="Skip this step of the recipe. Repeatable.")
@click.pass_obj
def run(console: Any, recipe: Path, output: Path | None, without: tuple[str, ...]) -> None:
    """Run RECIPE: compress, export and check a model."""
    from segexport.commands.run import places_of, run

    say = console()
    folder = output or Path("out") / recipe.stem
    result = run(recipe, folder, without=without, feedback=say)
    _finish(say, result, folder, places=lambda: places_of(recipe, folder, result))


@cli.command(
    "import",
    examples=[
        "segexport import inference_model/ -o out/model",
        "segexport import inference_model/ --input-size 512x512 --labels labels.txt -o out/model",
        "segexport import best_model/model.pdparams --config pp_liteseg.yml -o out/model",
    ],
)
@click.argument("model", type=_FILE)
@_HEAD
@_importing
@click.option("-o", "--output", type=_FILE, required=True, help="Folder of the new artifact.")
@click.pass_obj
def import_(console: Any, model: Path, output: Path, head: Any, **options: Any) -> None:
    """Import a PaddleSeg or PaddleX export, or a PaddleSeg checkpoint with its --config.

    The result is a self-describing artifact: a folder with the model and a manifest.
    """
    from segexport.commands.import_ import import_to

    say, artifact = console(), import_to(model, output, _import_options(options), head)
    say.warn_of(artifact)
    say.say(f"{output}: {artifact.manifest.name}, {artifact.manifest.num_classes} classes")


@cli.command(
    examples=[
        "segexport export inference_model/ --to onnx -o out/onnx-fp32",
        "segexport export inference_model/ --to onnx --precision int8 --calibration data/ -o out/onnx-int8",
        "segexport export inference_model/ --for android --data photos/ -o out/android",
    ],
)
@click.argument("model", type=_FILE)
@click.option("--to", "to", type=TargetName(), help="Export target.")
@click.option(
    "--for",
    "purpose",
    type=click.Choice(["android", "server"]),
    help="Make and check the exports that fit this purpose, and recommend one; replaces --to.",
)
@click.option("--data", type=_FILE, help="For --for: a folder of photos, or a data folder with labels.")
@_LIMIT
@_SPLIT
@click.option("--device", default="cpu", help="For --for: device for the exports: cpu or adb[:SERIAL].  [default: cpu]")
@click.option(
    "--latency-seconds",
    type=click.FloatRange(0),
    default=10.0,
    show_default=True,
    help="For --for: time for the timed runs of all exports together.",
)
@click.option(
    "--precision",
    default="fp32",
    show_default=True,
    help="fp32, fp16, bf16, int8, w8 or w4a8, if the target supports it.",
)
@_HEAD
@click.option(
    "--mask-dtype",
    type=click.Choice(["int32", "uint8"]),
    default="int32",
    show_default=True,
    help="Data type of the mask.",
)
@click.option(
    "--calibration",
    type=_FILE,
    help="Calibration images for int8: a data folder with train.txt, or a folder of images.",
)
@click.option(
    "--calibration-method",
    type=click.Choice(["minmax", "percentile", "mse", "entropy"]),
    default="mse",
    show_default=True,
    help="Choice of the int8 ranges.",
)
@click.option(
    "--calibration-images",
    type=click.IntRange(1),
    default=32,
    show_default=True,
    help="Number of calibration images.",
)
@click.option("--opset", type=int, help="ONNX opset.  [default: the newest supported]")
@click.option("--option", metavar="NAME=VALUE", multiple=True, help="Option of the target, as in a recipe. Repeatable.")
@_importing
@click.option("-o", "--output", type=_FILE, required=True, help="Folder of the export.")
@click.pass_obj
def export(console: Any, model: Path, output: Path, to: str | None, purpose: str | None, **options: Any) -> None:
    """Export MODEL to ONNX, Paddle-Lite or another installed target, or to what fits a purpose.

    With --for, exit code 1: no export passed.
    """
    from segexport.commands.export import ExportOptions, export

    say = console()
    if (to is None) == (purpose is None):
        raise click.UsageError("give either --to TARGET, or --for PURPOSE --data DIR")
    if purpose is not None:
        _recommend(say, model, output, purpose, options)
        return
    if options["data"] is not None:
        raise click.UsageError("--data goes with --for; images for int8 are --calibration")
    options["to"] = to
    artifact = export(model, output, _import_options(options), chosen(ExportOptions, options), feedback=say)
    say.say(f"{output}: {artifact.manifest.format}, {artifact.size_bytes:,} bytes")


def _recommend(say: Any, model: Path, output: Path, purpose: str, options: dict[str, Any]) -> None:
    """`export --for`."""
    from segexport.commands.recommend import RecommendOptions, recommend
    from segexport.report import terminal

    unused = {
        "precision": "fp32",
        "head": "keep",
        "mask_dtype": "int32",
        "calibration": None,
        "opset": None,
        "option": (),
    }
    given = [f"--{name.replace('_', '-')}" for name, default in unused.items() if options[name] != default]
    if given:
        raise click.UsageError(f"{given[0]} goes with --to; --for chooses it")
    if options["data"] is None:
        raise click.UsageError("--for needs images: --data DIR")
    asked = chosen(RecommendOptions, {**options, "purpose": purpose})
    found = recommend(model, output, _import_options(options), asked, feedback=say)
    say.data(terminal.render(found.report, width=say.stdout_width, color=say.stdout_color))
    say.data(found.why)
    for step in found.next_steps:
        say.data(f"next: {step}")
    say.say(f"report: {output / 'report.html'}")
    sys.exit(0 if found.recommended else 1)


@cli.command(
    examples=[
        "segexport check out/onnx-fp32 out/onnx-int8 --reference inference_model/ --data data/ -o out/report",
        "segexport check out/onnx-int8 --golden golden.zip",
        "segexport check out/onnx-int8 --reference model.ref --data data/ --device adb",
    ],
)
@click.argument("exports", type=_FILE, nargs=-1, required=True)
@click.option("--reference", type=_FILE, help="Original model of the exports, or a recorded reference.")
@click.option("--data", type=_FILE, help="Images: a PaddleSeg data folder, or a folder of images.")
@click.option("--golden", type=_FILE, help="Golden pack, instead of --reference and --data.")
@_SPLIT
@_grouping
@_LABEL_MAP
@_PREPROCESS
@_LABELS
@_LIMIT
@click.option("--device", default="cpu", show_default=True, help="Device for the exports: cpu, gpu:N, adb[:SERIAL].")
@click.option("--adb", "device", flag_value="adb", help="Use the connected phone, like --device adb.")
@click.option(
    "--runtime",
    metavar="NAME",
    multiple=True,
    help="Runtime for the exports, as listed by `doctor`. Repeatable: a row for each.",
)
@click.option("--reference-device", default="cpu", show_default=True, help="Device for the original: cpu or gpu:N.")
@_THREADS
@click.option(
    "--latency",
    type=click.Choice(["off", "warn", "gate"]),
    help="Skip timing, warn about slow exports, or fail them.  [default: warn; gate if --tolerance sets latency]",
)
@click.option(
    "--latency-seconds",
    type=float,
    default=10.0,
    show_default=True,
    help="Longest duration of all timed runs together, in seconds, without loading the models; 0: no timing.",
)
@click.option("--count", is_flag=True, help="Count the instructions of one inference of ONNX exports, as bench does.")
@click.option(
    "--device-result", type=_FILE, multiple=True, help="result.json of a phone, to add to the report. Repeatable."
)
@_tiling
@click.option("--shard", metavar="I/N", help="Measure only part I of N of the images and write it to the file -o.")
@_against_baseline
@_format(_FORMS)
@click.option("-o", "--output", type=_FILE, help="Folder for report.json, .md, .html and junit.xml.")
@click.pass_obj
def check(console: Any, exports: tuple[Path, ...], form: str, output: Path | None, **options: Any) -> None:
    """Compare EXPORTS with their original model on real images."""
    from segexport.commands.check import CheckOptions, check, check_shard, places_of
    from segexport.exporter.import_options import tiles_from_strings

    say = console()
    tiles = tiles_from_strings(*(options[f"tile_{name}"] for name in ("size", "overlap", "blend")))
    asked = chosen(CheckOptions, {**options, "tiles": tiles})
    if asked.shard is not None:
        say.say(check_shard(exports, output, asked, feedback=say))
    else:
        places = functools.partial(places_of, exports, asked)
        _finish(say, check(exports, output, asked, feedback=say), output, form, places=places)


@cli.command(examples=["segexport merge part1.shard part2.shard -o out/report"])
@click.argument("parts", type=_FILE, nargs=-1, required=True)
@_against_baseline
@_format(_FORMS)
@click.option("-o", "--output", type=_FILE, required=True, help="Folder for report.json, .md, .html and junit.xml.")
@click.pass_obj
def merge(console: Any, parts: tuple[Path, ...], form: str, output: Path, **options: Any) -> None:
    """Merge the PARTS of a sharded check into one report.

    The report equals that of one run without times.
    """
    from segexport.commands.check import BaselineOptions, merge

    _finish(console(), merge(parts, output, chosen(BaselineOptions, options)), output, form)


@cli.command(
    examples=["segexport diagnose out/onnx-int8 --reference inference_model/ --image photo.jpg -o out/diagnosis"],
)
@click.argument("export", type=_FILE)
@click.option("--reference", type=_FILE, required=True, help="Original model of the export.")
@click.option("--image", type=_FILE, required=True, help="Image on which the two models differ.")
@_THREADS
@_format(click.Choice(["table", "json", "html"]))
@click.option("-o", "--output", type=_FILE, help="Folder for the report and a minimal model with the fault.")
@click.pass_obj
def diagnose(console: Any, export: Path, output: Path | None, form: str, **options: Any) -> None:
    """Find the first operator that differs from the original model.

    Exit code 1: an operator differs.
    """
    from segexport.commands.diagnose import diagnose
    from segexport.diagnose.report import render

    say = console()
    found = diagnose(export, output, **options, feedback=say)
    say.data(render(found, form, width=say.stdout_width, color=say.stdout_color))
    sys.exit(1 if found.findings else 0)


@cli.command(
    examples=[
        "segexport bench out/onnx-fp32 out/onnx-int8",
        "segexport bench out/onnx-int8 --threads 1 --threads 2 --threads 4",
        "segexport bench out/exports --count",
    ],
    # `--seconds`: the name in version 0.1
    context_settings={"token_normalize_func": lambda name: "latency-seconds" if name == "seconds" else name},
)
@click.argument("exports", type=_FILE, nargs=-1, required=True)
@click.option(
    "--threads",
    type=click.IntRange(1, 256),
    multiple=True,
    default=(1,),
    show_default=True,
    help="CPU threads of one inference. Repeatable.",
)
@click.option("--device", default="cpu", show_default=True, help="Device for the exports: cpu, gpu:N, adb[:SERIAL].")
@click.option(
    "--latency-seconds",
    type=click.FloatRange(0, 3600),
    default=10.0,
    show_default=True,
    help="Duration of all timed runs together, in seconds, without loading the models.",
)
@click.option("--runtime", metavar="NAME", multiple=True, help="Runtime for the exports. Repeatable: a row for each.")
@click.option("--all-runtimes", is_flag=True, help="Run each export in every installed runtime of its format.")
@click.option(
    "--count",
    is_flag=True,
    help="Count instructions of one inference instead of taking times: in ONNX Runtime for arm64 under QEMU, on one "
    "thread, and by the kernel's counter. Repeats on any machine; it is no speed.",
)
@_format(_TABLE_OR_JSON)
@click.pass_obj
def bench(console: Any, exports: tuple[Path, ...], form: str, count: bool, **options: Any) -> None:
    """Measure the latency of EXPORTS, relative to the first one.

    A folder of exports means all exports in it.
    """
    from segexport.commands import bench_count
    from segexport.commands.bench import bench, render

    say = console()
    if count:
        bench_count.require_usual(**options)
        counted = bench_count.bench_count(list(exports), feedback=say)
        say.data(bench_count.render(counted, form, color=say.stdout_color, width=say.stdout_width))
        return
    rows = bench(list(exports), **options, feedback=say)
    say.data(render(rows, form, color=say.stdout_color, width=say.stdout_width))


@cli.command(examples=["segexport inspect inference_model/", "segexport inspect out/onnx-int8 --format json"])
@click.argument("path", type=_FILE)
@click.option("--input-size", metavar="WxH", help="Size for a dynamic input, in pixels; the costs depend on it.")
@_format(_TABLE_OR_JSON)
@click.pass_obj
def inspect(console: Any, path: Path, input_size: str | None, form: str) -> None:
    """Show structure, cost and target support of a model."""
    from segexport.commands.inspect import inspect

    say = console()
    options = _import_options({"input_size": input_size})
    say.data(inspect(path, options).render(form, color=say.stdout_color, width=say.stdout_width))


@cli.command(examples=["segexport report out/report/report.json --format markdown"])
@click.argument("file", type=_FILE)
@_format(_FORMS)
@click.pass_obj
def report(console: Any, file: Path, form: str) -> None:
    """Show a report.json in another format."""
    from segexport import report as reports

    _show(console(), reports.read(file), form, file if file.is_dir() else file.parent)


@cli.command(examples=["segexport doctor"])
@_format(_TABLE_OR_JSON)
@click.pass_obj
def doctor(console: Any, form: str) -> None:
    """Check installed runtimes and converters.

    Exit code 2: no export target or no runtime works.
    """
    from segexport.commands.doctor import examine, obstacle, render

    say = console()
    findings = examine(say.progress)
    say.data(render(findings, form, color=say.stdout_color, width=say.stdout_width))
    if (error := obstacle(findings)) is not None:
        say.error(error)
        sys.exit(2)


for _command in (compress, data, evaluate, finetune, pipeline, predict, serve, train):
    cli.add_command(_command)
cli.add_command(reference)
cli.add_command(golden)
cli.add_command(toolchain)


@cli.group(examples=["segexport cache ls", "segexport cache gc --older-than-days 7"])
def cache() -> None:
    """Build cache: list and remove outputs of earlier runs."""


@cache.command("ls", examples=["segexport cache ls"])
@click.pass_obj
def cache_ls(console: Any) -> None:
    """List the cached outputs."""
    from segexport.files.store import Store

    entries = list(Store().entries())
    for entry in entries:
        console().data(f"{entry.key[:16]}  {entry.size_bytes:>12,} bytes")
    console().say(f"{len(entries)} outputs, {sum(entry.size_bytes for entry in entries):,} bytes")


@cache.command("gc", examples=["segexport cache gc", "segexport cache gc --older-than-days 0"])
@click.option(
    "--older-than-days", type=float, default=30.0, show_default=True, help="Minimum time unused, in days; 0: all."
)
@click.pass_obj
def cache_gc(console: Any, older_than_days: float) -> None:
    """Remove outputs that have not been used for a while."""
    from segexport.files.store import Store

    removed, freed = Store().collect(older_than_days=older_than_days)
    console().say(f"{removed} outputs removed, {freed:,} bytes freed")


@cli.group(examples=["segexport recipe init inference_model/ --data data/", "segexport recipe validate recipe.yaml"])
def recipe() -> None:
    """Write and validate recipes, and print their JSON schema."""


@recipe.command("init", examples=["segexport recipe init inference_model/ --data data/ -o recipe.yaml"])
@click.argument("model", type=_FILE)
@click.option("--data", type=_FILE, required=True, help="Images: a PaddleSeg data folder, or a folder of images.")
@click.option("-o", "--output", type=_FILE, default=Path("recipe.yaml"), show_default=True, help="File of the recipe.")
@click.pass_obj
def recipe_init(console: Any, model: Path, data: Path, output: Path) -> None:
    """Write a recipe for MODEL: ONNX in fp32 and int8, checked on the images."""
    from segexport.commands.init_recipe import init_recipe

    names = init_recipe(model, data, output)
    console().say(f"{output}: exports {', '.join(names)}; segexport run {output}")


@recipe.command("validate", examples=["segexport recipe validate recipe.yaml"])
@click.argument("file", type=_FILE)
@click.pass_obj
def recipe_validate(console: Any, file: Path) -> None:
    """Validate a recipe and list all faults with their lines."""
    from segexport.commands.validate_recipe import validate_recipe

    names = validate_recipe(file)
    console().say(f"{file}: a valid recipe with {len(names)} exports: {', '.join(names)}")


@recipe.command("schema", examples=["segexport recipe schema > recipe.schema.json"])
@click.pass_obj
def recipe_schema(console: Any) -> None:
    """Print the JSON schema of recipes."""
    import json

    from segexport.recipe.schema import Recipe

    console().data(json.dumps(Recipe.model_json_schema(), indent=2))


@cli.command(examples=["segexport demo", "segexport demo -o /tmp/demo"])
@click.option(
    "-o",
    "--output",
    type=_FILE,
    default=Path("out/demo"),
    show_default=True,
    help="Folder for exports and reports.",
)
@click.pass_obj
def demo(console: Any, output: Path) -> None:
    """Quantize, export and check a small built-in model, offline."""
    from segexport.commands.run import DEMO_RECIPE, run

    say = console()
    _finish(say, run(DEMO_RECIPE, output, feedback=say), output)


cli.add_command(android)


def main() -> None:
    """Entry point: prints errors in up to three lines and sets the exit code. 1 is reserved for failed gates."""
    from segexport.errors import SegexportError

    _open_closed_streams()
    try:
        sys.exit(cli(standalone_mode=False))
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except click.Abort:
        raise KeyboardInterrupt from None  # `__main__` says what that means
    except SegexportError as error:
        _console("auto", False).error(error)
    except OSError as error:  # an inaccessible path, a full disk
        _console("auto", False).error(_told(error))
    except Exception:
        import traceback

        traceback.print_exc()
        _console("auto", False).error(SegexportError("this is a bug in segexport, please report it with the above"))
    sys.exit(2)


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
    from segexport.errors import SegexportError
    from segexport.files.disk import require_temporary_room

    if error.filename is None:
        try:
            require_temporary_room(error)
        except SegexportError as full:
            return full
    return SegexportError(f"{error.filename}: {error.strerror}" if error.filename else str(error))


def _console(color: Color, quiet: bool) -> Console:
    from segexport.ui.console import Console

    return Console(color, quiet=quiet)


def _finish(
    say: Console,
    result: Report,
    folder: Path | None,
    form: str = "table",
    *,
    places: Callable[[], Places] | None = None,
) -> None:
    """Shows a report and exits with its exit code.

    Args:
        places: Returns the paths of models and images, for a command that can be pasted.
    """
    from segexport.report.wording import Places, where_to_look
    from segexport.verdict import exit_code

    _show(say, result, form, folder)
    if form == "table" and (told := where_to_look(result, places() if places is not None else Places())):
        say.say(told)  # one line, for any width of the table
    if folder is not None:
        say.say(f"report: {folder / 'report.html'}")
    sys.exit(exit_code(result.verdict))


def _show(say: Console, result: Report, form: str, folder: Path | None) -> None:
    """Prints a report; a table fits the terminal and may be coloured, other formats do not depend on it."""
    from segexport.report import render, terminal

    if form == "table":
        say.data(terminal.render(result, folder, width=say.stdout_width, color=say.stdout_color))
    else:
        say.data(render(result, form, folder))

"""`segexport diagnose`, `bench` and `inspect`: what a model is, costs, and where it differs."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import click

from segexport.cli.command import Command, format_option
from segexport.cli.options import FILE, TABLE_OR_JSON, THREADS, checkpoint, import_options, sized_checkpoint


@click.command(
    cls=Command,
    examples=["segexport diagnose out/onnx-int8 --reference inference_model/ --image photo.jpg -o out/diagnosis"],
    results=["diagnose.schema:Diagnosis"],
)
@click.argument("export", type=FILE)
@click.option("--reference", type=FILE, required=True, help="Original model of the export.")
@sized_checkpoint("--reference")
@click.option("--image", type=FILE, required=True, help="Image on which the two models differ.")
@THREADS
@format_option("table", "json", "html")
@click.option("-o", "--output", type=FILE, help="Folder for the report and a minimal model with the fault.")
@click.pass_obj
def diagnose(
    console: Any,
    export: Path,
    output: Path | None,
    form: str,
    reference: Path,
    image: Path,
    threads: int,
    **importing: Any,
) -> None:
    """Find the first operator that differs from the original model.

    Exit code 1: an operator differs.
    """
    from segexport.commands.diagnose import diagnose
    from segexport.diagnose.report import render

    say = console()
    given = {"reference": reference, "image": image, "importing": import_options(importing)}
    found = diagnose(export, output, **given, threads=threads, feedback=say)
    say.data(render(found, form, width=say.stdout_width, color=say.stdout_color))
    sys.exit(1 if found.findings else 0)


@click.command(
    cls=Command,
    examples=[
        "segexport bench out/onnx-fp32 out/onnx-int8",
        "segexport bench out/onnx-int8 --threads 1 --threads 2 --threads 4",
        "segexport bench out/exports --count",
    ],
    results=["commands.bench:BenchDocument", "commands.bench_count:CountDocument"],
    # `--seconds`: the name in version 0.1
    context_settings={"token_normalize_func": lambda name: "latency-seconds" if name == "seconds" else name},
)
@click.argument("exports", type=FILE, nargs=-1, required=True)
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
@format_option(*TABLE_OR_JSON)
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


@click.command(
    cls=Command,
    examples=[
        "segexport inspect inference_model/",
        "segexport inspect out/onnx-int8 --format json",
        "segexport inspect best_model/model.pdparams --config pp_liteseg.yml",
    ],
    results=["commands.documents:ProgramDocument", "commands.documents:ArtifactDocument"],
)
@click.argument("model", type=FILE)
@checkpoint("MODEL")
@click.option("--input-size", metavar="WxH", help="Size for a dynamic input, in pixels; the costs depend on it.")
@format_option(*TABLE_OR_JSON)
@click.pass_obj
def inspect(console: Any, model: Path, form: str, **options: Any) -> None:
    """Show structure, cost and target support of MODEL."""
    from segexport.commands.inspect import inspect

    say = console()
    say.data(inspect(model, import_options(options)).render(form, color=say.stdout_color, width=say.stdout_width))

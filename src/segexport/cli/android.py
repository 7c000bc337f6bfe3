"""`segexport android`: add exports to the app, build the app and the library, and examine an app."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import click

from segexport.cli.command import Group, format_option

_FILE = click.Path(path_type=Path)
ASSETS = Path("android_demo/app/src/main/assets/model")


class _ExportsByDefault(Group):
    """`segexport android EXPORT...` is `segexport android assets EXPORT...`."""

    def resolve_command(self, ctx: click.Context, args: list[str]) -> Any:
        if args and args[0] not in self.commands and not args[0].startswith("-"):
            args = ["assets", *args]
        return super().resolve_command(ctx, args)


@click.group(
    cls=_ExportsByDefault,
    examples=[
        "segexport android out/model-int8",
        "segexport android build --flavour ort -o out/segexport.apk",
        "segexport android lint out/segexport.apk",
    ],
)
def android() -> None:
    """Add exports to the Android app, build it and its library, and examine an app.

    `segexport android EXPORT...` is short for `segexport android assets EXPORT...`.
    """


@android.command(
    examples=["segexport android assets out/model-int8 --sample photo.jpg"],
    results=["commands.documents:FoldersDocument"],
)
@click.argument("exports", type=_FILE, nargs=-1, required=True)
@click.option("-o", "--output", type=_FILE, default=ASSETS, show_default=True, help="Model folder of the app.")
@click.option("--sample", type=_FILE, help="Image for the self-test of the app.  [default: the sample in the export]")
@click.pass_obj
def assets(console: Any, exports: tuple[Path, ...], output: Path, sample: Path | None) -> None:
    """Write the models, labels, palettes and test samples of EXPORTS into the app."""
    from segexport.android.assets import write_assets
    from segexport.artifact import read_artifact
    from segexport.commands.documents import FoldersDocument

    say = console()
    folders = write_assets([read_artifact(path) for path in exports], output, sample=sample)
    for folder in folders:
        say.say(str(folder))
    say.result(FoldersDocument(folders=tuple(map(str, folders))))


@android.command(
    examples=["segexport android build --flavour ort -o out/segexport.apk"],
    results=["commands.documents:FileDocument"],
)
@click.option("--demo", type=_FILE, default=Path("android_demo"), show_default=True, help="Source folder of the app.")
@click.option(
    "--flavour",
    type=click.Choice(["ort", "lite", "litert", "mnn", "ncnn", "full"]),
    default="ort",
    show_default=True,
    help="Runtimes in the APK: ONNX Runtime, Paddle-Lite, LiteRT, MNN, ncnn, or all.",
)
@click.option("--shrink", is_flag=True, help="Remove and rename classes by R8, as for a store.")
@click.option("-o", "--output", type=_FILE, default=Path("out/segexport.apk"), show_default=True, help="APK file.")
@click.pass_obj
def build(console: Any, demo: Path, flavour: Any, shrink: bool, output: Path) -> None:
    """Build a signed APK for arm64-v8a with the models of the app."""
    from segexport.android.build import build_apk
    from segexport.commands.documents import FileDocument

    say = console()
    size = build_apk(demo, output, flavour=flavour, shrink=shrink)
    say.say(f"{output}: {size:,} bytes, signed")
    say.result(FileDocument(path=str(output), size_bytes=size, summary=f"a signed APK, flavour {flavour}"))


@android.command(examples=["segexport android aar -o out/maven"], results=["commands.documents:FilesDocument"])
@click.option("--demo", type=_FILE, default=Path("android_demo"), show_default=True, help="Source folder of the app.")
@click.option(
    "-o", "--output", type=_FILE, default=Path("out/maven"), show_default=True, help="Folder, a Maven repository."
)
@click.pass_obj
def aar(console: Any, demo: Path, output: Path) -> None:
    """Build the library as AARs, which an app of yours depends on: core, and a module for each runtime."""
    from segexport.android.build import build_aars
    from segexport.commands.documents import FileDocument, FilesDocument

    say = console()
    found = FilesDocument(files=tuple(FileDocument.of(file) for file in build_aars(demo, output)))
    for file in found.files:
        say.say(f"{file.path}: {file.size_bytes:,} bytes")
    say.result(found)


@android.command(
    examples=["segexport android lint out/segexport.apk", "segexport android lint app/src/main"],
    results=["android.lint_report:LintDocument"],
)
@click.argument("path", type=_FILE)
@click.option(
    "--library-build",
    type=click.Choice(["fp16"]),
    multiple=True,
    help="What the Paddle-Lite library of the app was built with: fp16: --with_arm82_fp16=ON.",
)
@format_option("table", "json", "junit")
@click.pass_obj
def lint(console: Any, path: Path, library_build: tuple[str, ...], form: Any) -> None:
    """Examine PATH (an APK, an AAR or a folder) for what fails in a store or on a phone.

    Pages of 16 KB, ABIs, digests of the models, runtime libraries and their versions, kernels of .nb files, int64
    masks, permissions, size. Exit code 1: a check failed.
    """
    from segexport.android.lint import lint
    from segexport.android.lint_report import render
    from segexport.verdict import exit_code

    say = console()
    found = lint(path, builds=library_build)
    say.data(render(found, form, color=say.stdout_color, width=say.stdout_width))
    sys.exit(exit_code(found.verdict))

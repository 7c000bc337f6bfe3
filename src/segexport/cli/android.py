"""`segexport android`: exports into the app, and the app into an APK."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

_FILE = click.Path(path_type=Path)
ASSETS = Path("android_demo/app/src/main/assets/model")


class _ExportsByDefault(click.Group):
    """`segexport android EXPORT...` is `segexport android assets EXPORT...`."""

    def resolve_command(self, ctx: click.Context, args: list[str]) -> Any:
        if args and args[0] not in self.commands and not args[0].startswith("-"):
            args = ["assets", *args]
        return super().resolve_command(ctx, args)


@click.group(cls=_ExportsByDefault)
def android() -> None:
    """Put exports into the Android app, and build it.

    `segexport android EXPORT...` writes the app's assets; `segexport android build` makes a signed APK.
    """


@android.command()
@click.argument("exports", type=_FILE, nargs=-1, required=True)
@click.option("-o", "--output", type=_FILE, default=ASSETS, show_default=True, help="The app's folder of models.")
@click.option("--sample", type=_FILE, help="Image for the app's self-test.")
@click.pass_obj
def assets(console: Any, exports: tuple[Path, ...], output: Path, sample: Path | None) -> None:
    """Write model, manifest, labels, palette and golden sample of EXPORTS."""
    from segexport.android.assets import write_assets
    from segexport.artifact import read_artifact

    folders = write_assets([read_artifact(path) for path in exports], output, sample=sample)
    for folder in folders:
        console().say(str(folder))


@android.command()
@click.option("--demo", type=_FILE, default=Path("android_demo"), show_default=True, help="The app's sources.")
@click.option("--flavour", type=click.Choice(["ort", "lite", "full"]), default="ort", show_default=True)
@click.option("-o", "--output", type=_FILE, default=Path("out/segexport.apk"), show_default=True)
@click.pass_obj
def build(console: Any, demo: Path, flavour: Any, output: Path) -> None:
    """Build a signed APK for arm64-v8a with the models in the app's assets."""
    from segexport.android.build import build_apk

    size = build_apk(demo, output, flavour=flavour)
    console().say(f"{output}: {size:,} bytes, signed")

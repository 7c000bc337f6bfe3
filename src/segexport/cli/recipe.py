"""`segexport recipe`: write and validate recipes, and print their JSON schema."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from segexport.cli.command import Group
from segexport.cli.options import FILE


@click.group(
    cls=Group, examples=["segexport recipe init inference_model/ --data data/", "segexport recipe validate recipe.yaml"]
)
def recipe() -> None:
    """Write and validate recipes, and print their JSON schema."""


@recipe.command(
    "init",
    examples=[
        "segexport recipe init inference_model/ --data data/ -o recipe.yaml",
        "segexport recipe init inference_model/ --data photos/ --to all",
    ],
    results=["commands.documents:RecipeDocument"],
)
@click.argument("model", type=FILE)
@click.option("--data", type=FILE, required=True, help="Images: a PaddleSeg data folder, or a folder of images.")
@click.option(
    "--to",
    metavar="TARGET|all",
    multiple=True,
    help="Export target, in fp32; all: every installed one. Repeatable.  [default: onnx in fp32 and int8]",
)
@click.option("-o", "--output", type=FILE, default=Path("recipe.yaml"), show_default=True, help="File of the recipe.")
@click.pass_obj
def recipe_init(console: Any, model: Path, data: Path, to: tuple[str, ...], output: Path) -> None:
    """Write a recipe for MODEL: its exports, checked on the images."""
    from segexport.commands.documents import RecipeDocument
    from segexport.commands.init_recipe import init_recipe

    say, names = console(), init_recipe(model, data, output, to)
    say.say(f"{output}: exports {', '.join(names)}; segexport run {output}")
    say.result(RecipeDocument(path=str(output), exports=tuple(names)))


@recipe.command(
    "validate",
    examples=["segexport recipe validate recipe.yaml"],
    results=["commands.documents:RecipeDocument"],
)
@click.argument("file", type=FILE)
@click.pass_obj
def recipe_validate(console: Any, file: Path) -> None:
    """Validate a recipe and list all faults with their lines."""
    from segexport.commands.documents import RecipeDocument
    from segexport.commands.validate_recipe import validate_recipe

    say, names = console(), validate_recipe(file)
    say.say(f"{file}: a valid recipe with {len(names)} exports: {', '.join(names)}")
    say.result(RecipeDocument(path=str(file), exports=tuple(names)))


@recipe.command(
    "schema",
    examples=["segexport recipe schema > recipe.schema.json"],
    results=["commands.documents:AnyDocument"],
)
@click.pass_obj
def recipe_schema(console: Any) -> None:
    """Print the JSON schema of recipes."""
    import json

    from segexport.recipe.schema import Recipe

    console().data(json.dumps(Recipe.model_json_schema(), indent=2))

"""Local paths of a report's subjects; reports contain no paths, so that they are the same on every machine."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from segexport.artifact import MANIFEST_NAME


@dataclass(frozen=True)
class Places:
    """Where a report's subjects are.

    Attributes:
        exports: Name of an export -> its folder or file.
        reference: The original model; None if it is not on this machine.
        config: Configuration of a reference that is a training checkpoint.
        data: The base folder of image names.
        recipe: The file that describes the exports, for findings of exports without a place of their own.
    """

    exports: Mapping[str, Path] = field(default_factory=dict)
    reference: Path | None = None
    data: Path | None = None
    config: Path | None = None
    recipe: Path | None = None

    def file_of(self, export: str) -> str:
        """The file that a finding about an export is attached to, relative to this folder; empty if there is none.

        It is the manifest of an export's folder: the file that changes with every byte of the model.
        """
        path = self.exports.get(export, self.recipe)
        if path is None:
            return ""
        file = path / MANIFEST_NAME if path.is_dir() else path
        here = Path.cwd()
        return (file.relative_to(here) if file.is_relative_to(here) else file).as_posix()


def places_at(paths: Sequence[Path]) -> Places:
    """Places of exports by their folders' names; the last YAML file is the recipe."""
    recipes = [path for path in paths if path.suffix in (".yaml", ".yml")]
    exports = {path.resolve().stem: path for path in paths if path not in recipes}
    return Places(exports, recipe=recipes[-1] if recipes else None)

"""Output folders: written atomically; other files are never replaced."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from segexport.artifact import MANIFEST_NAME, ModelArtifact, read_artifact, write_artifact
from segexport.errors import ExistsError
from segexport.files.atomic import whole_folder

# Files of a finished run; a folder with only these may be replaced by the next run.
_OURS = frozenset({"report.json", "report.md", "report.html", "junit.xml", "images", "exports", "recipe.yaml"})
_OURS |= {"search.json", "search.html", "journal.jsonl", "model_explorer"}
_OURS |= {"report.sarif", "code-quality.json", "badge.svg", "badge.json"}  # docs/ci.md adds them


@contextmanager
def new_folder(path: Path, *, replace: bool = False) -> Iterator[Path]:
    """An empty temporary folder that becomes `path` if the block ends without an error.

    Args:
        replace: Whether the result of an earlier run may be replaced; other files never are.

    Raises:
        InputError: `path` exists and must not be replaced.
        StorageError: The disk is full, or the parent folder cannot be written.
    """
    require_free(path, replace=replace)
    with whole_folder(path) as work:
        yield work
        require_free(path, replace=replace)  # it took a while


def require_free(path: Path, *, replace: bool = False) -> None:
    """Raises InputError if `path` contains files that must not be replaced."""
    if not path.exists():
        return
    if not path.is_dir():
        raise ExistsError(f"{path}: exists and is a file", hint="choose another folder with -o")
    names = {child.name for child in path.iterdir()}
    if not names or (replace and "report.json" in names and names <= _OURS):
        return
    what = "an artifact" if MANIFEST_NAME in names else "files that segexport did not write" if replace else "files"
    raise ExistsError(
        f"{path}: the output folder exists and is not empty",
        cause=f"it contains {what}: {', '.join(sorted(names)[:5])}",
        hint="choose another folder with -o, or remove it",
    )


def copy_tree(source: Path, target: Path) -> None:
    """Copies a folder's files, without the times and modes of the originals."""
    for file in sorted(source.rglob("*")):
        place = target / file.relative_to(source)
        if file.is_dir():
            place.mkdir(parents=True, exist_ok=True)
        else:
            place.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(file, place)


def place_artifact(artifact: ModelArtifact, output: Path) -> ModelArtifact:
    """Copies an artifact into the user's folder, with the manifest that it has now."""
    with new_folder(output) as folder:
        copy_tree(artifact.path, folder)
        if read_artifact(folder, verify=False).manifest != artifact.manifest:  # its tiles were stated
            write_artifact(folder, artifact.manifest)
    return read_artifact(output)

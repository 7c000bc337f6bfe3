"""Renders the report of a check in all its forms. `report.json` is canonical; all other forms derive from it."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path

from segexport.errors import OptionError, cannot_read
from segexport.files.atomic import write_file
from segexport.files.foreign import guarded
from segexport.report.places import Places
from segexport.report.schema import Report

# form -> (module with `render(report, folder) -> str`, file name in `write`)
_FORMS = {
    "json": ("canonical", "report.json"),
    "table": ("terminal", None),
    "markdown": ("markdown", "report.md"),
    "html": ("html", "report.html"),
    "junit": ("junit", "junit.xml"),
    "annotations": ("annotations", None),
    "sarif": ("sarif", None),
    "code-quality": ("code_quality", None),
    "badge": ("badge", None),
    "shields": ("shields", None),
}
_PLACED = ("annotations", "sarif", "code-quality")  # their `render` also takes the places of findings

FORMS = tuple(_FORMS)
REPORT_NAME = "report.json"


def render(report: Report, form: str, folder: Path | None = None, places: Places | None = None) -> str:
    """Renders the report as text.

    Args:
        report: The report.
        form: One of `FORMS`.
        folder: Folder of the report, for its pictures; None omits them.
        places: Paths of the exports, for the forms that attach findings to files.

    Raises:
        InputError: The form is unknown.
    """
    if form not in _FORMS:
        raise OptionError(f"{form!r}: not a form of the report", hint=f"it is one of {', '.join(FORMS)}")
    module = import_module(f"segexport.report.{_FORMS[form][0]}")
    if form in _PLACED:
        return module.render(report, places or Places())
    return module.render(report, folder)


def write(report: Report, folder: Path) -> dict[str, Path]:
    """Writes every file form into `folder`, each atomically; returns form -> path.

    Raises:
        StorageError: A file cannot be written.
    """
    files = {form: folder / name for form, (_, name) in _FORMS.items() if name is not None}
    for form, path in files.items():
        write_file(path, render(report, form, folder))
    return files


@guarded("a report")
def read(path: Path) -> Report:
    """Reads a `report.json`, or the one in the folder `path`.

    Raises:
        InputError: The file is missing, not a report, or has another schema version.
    """
    from segexport.report.canonical import parse

    file = path / REPORT_NAME if path.is_dir() else path
    try:
        return parse(file.read_bytes(), str(file))
    except OSError as error:
        raise cannot_read(
            file, error, hint="`segexport check` and `segexport run` write one into the folder that -o names"
        ) from error

"""Writes and reads `report.json`: stable key order, floats that round-trip exactly, never NaN."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError

from segexport.errors import UnreadableError, VersionError, one_line
from segexport.files.json_reader import parse_json
from segexport.files.json_writer import plain
from segexport.report.schema import REPORT_SCHEMA_VERSION, Report


def render(report: Report, folder: Path | None = None) -> str:
    """Renders the report as JSON: fields in schema order, free-form mappings sorted, no NaN and no infinity.

    A non-finite number becomes null, which readers interpret as "not measured".

    Raises:
        pydantic.ValidationError: A required number is not finite; a check must not write that report.
    """
    content = _plain(report)
    Report.model_validate(content)
    return json.dumps(content, indent=2, ensure_ascii=False, allow_nan=False) + "\n"


def parse(data: bytes, name: str) -> Report:
    """Parses the output of `render`.

    Args:
        data: The bytes of the file.
        name: The file's name in errors.

    Raises:
        InputError: The data is not JSON (truncated, NaN, not UTF-8), has another schema version, or is not a report.
    """
    hint = "write it again with `segexport check` or `segexport run`"
    try:
        raw = parse_json(data)
    except ValueError as error:
        raise UnreadableError(f"{name}: not a report", cause=f"not JSON: {error}", hint=hint) from error
    version = raw.get("schema_version") if isinstance(raw, dict) else None
    if not isinstance(raw, dict) or "schema_version" not in raw:
        raise UnreadableError(f"{name}: not a report", cause="there is no schema_version in it", hint=hint)
    if version != REPORT_SCHEMA_VERSION or isinstance(version, bool):
        raise VersionError(
            f"{name}: schema_version is {version!r}, this segexport reads {REPORT_SCHEMA_VERSION}",
            cause="another version of segexport wrote it",
            hint=f"read it with that version, or {hint}",
        )
    try:
        return Report.model_validate(raw)
    except ValidationError as error:
        raise UnreadableError(f"{name}: not a valid report", cause=one_line(error), hint=hint) from error


def _plain(value: Any) -> Any:
    if isinstance(value, BaseModel):
        return {field: _plain(getattr(value, field)) for field in type(value).model_fields}
    if isinstance(value, dict):
        return {str(key): _plain(value[key]) for key in sorted(value, key=str)}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    return plain(value)

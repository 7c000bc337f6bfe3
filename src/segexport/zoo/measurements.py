"""Reads measured rows: one for each network, target and precision.

`measured.json` beside this file is what a release ships; `benchmarks/trained_zoo.py publish` writes it. The results of
`benchmarks/truth_table.py` can be read too.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import Field, ValidationError

from segexport.errors import MissingInputError, UnreadableError, one_line
from segexport.files.foreign import guarded
from segexport.files.json_reader import parse_json
from segexport.pipeline.entry_points import names
from segexport.spec import Frozen

SHIPPED = Path(__file__).with_name("measured.json")
_HINT = "measure some: benchmarks/trained_zoo.py of a clone trains networks and measures them; then --table FILE"
_MAX_BYTES = 16 << 20


class Row(Frozen):
    """One export of one network.

    Attributes:
        export: Its name: target and precision.
        runtime: Name and version of the runtime that ran it.
        verdict: That of the check against the network in Paddle.
        miou: On the validation images.
        miou_delta: The same minus the network's in Paddle.
        agreement: Fraction of the pixels whose class is the network's in Paddle.
        ms: Time of one image without disturbances, in milliseconds; None: not timed.
    """

    network: str
    export: str
    target: str
    precision: str
    runtime: str = ""
    verdict: str
    miou: float | None = None
    miou_delta: float | None = None
    agreement: float | None = None
    size_bytes: int | None = None
    ms: float | None = None
    time_ratio: float | None = None


class ZooTable(Frozen):
    """ZooTable rows, and where they come from.

    Attributes:
        data: The images of training and validation.
        image_size: (width, height) of the networks' input.
        processor, threads: The device of all times.
        versions: Package -> version.
        commit: Commit of segexport.
        train: Network -> arguments of `segexport train`.
    """

    data: str = ""
    image_size: tuple[int, int] | None = None
    processor: str = ""
    threads: int = 1
    versions: dict[str, str] = Field(default_factory=dict)
    commit: str = ""
    train: dict[str, tuple[str, ...]] = Field(default_factory=dict)
    rows: tuple[Row, ...] = ()


def measurements(table: Path | None = None) -> ZooTable:
    """The rows of a file; None: those that this version ships.

    Raises:
        MissingInputError: The file does not exist, or has no rows.
        UnreadableError: The file is neither `measured.json` nor the results of `truth_table.py`.
    """
    if table is None:
        found = ZooTable.model_validate_json(SHIPPED.read_bytes()) if SHIPPED.is_file() else ZooTable()
        if not found.rows:
            raise MissingInputError("no trained network was measured for this version", hint=_HINT)
        return found
    found = _read(table)
    if not found.rows:
        raise MissingInputError(f"{table}: no row was measured", hint=_HINT)
    return found


@guarded("a table of measured networks")
def _read(path: Path) -> ZooTable:
    if not path.is_file():
        raise MissingInputError(f"{path}: no such file")
    if path.stat().st_size > _MAX_BYTES:
        raise UnreadableError(f"{path}: more than {_MAX_BYTES >> 20} MiB", cause="a row is a few numbers")
    content = parse_json(path.read_bytes())
    try:
        if isinstance(content.get("results"), dict):
            return of_results(content["results"], content.get("stamp") or {})
        return ZooTable.model_validate(content)
    except ValidationError as error:
        raise UnreadableError(f"{path}: not a table of measured networks", cause=one_line(error)) from None


def of_results(results: Mapping[str, Any], stamp: Mapping[str, Any], **more: Any) -> ZooTable:
    """The rows of `truth_table.py`: `NETWORK EXPORT` -> figures.

    Args:
        stamp: Command, commit and machine of the results.
        more: Other fields of `ZooTable`.
    """
    machine = stamp.get("machine") or {}
    return ZooTable.model_validate(
        {
            "processor": machine.get("processor", ""),
            "versions": machine.get("packages", {}),
            "commit": stamp.get("commit", ""),
            "rows": [_row(key, figures) for key, figures in results.items()],
            **more,
        }
    )


def _row(key: str, figures: Any) -> dict[str, Any]:
    network, _, export = key.partition(" ")
    target = max((name for name in names("target") if export.startswith(f"{name}-")), key=len, default="")
    precision = export.removeprefix(f"{target}-").partition("-")[0]
    taken = {name: value for name, value in dict(figures).items() if name in Row.model_fields}
    return {**taken, "network": network, "export": export, "target": target, "precision": precision}


def as_json(measured: ZooTable) -> str:
    """The content of `measured.json`: one row per line, so that a change of one is one line."""
    head = measured.model_dump(mode="json", exclude={"rows"})
    rows: Sequence[str] = [json.dumps(row.model_dump(mode="json", exclude_none=True)) for row in measured.rows]
    body = ",\n  ".join(rows)
    return json.dumps(head, indent=1).removesuffix("\n}") + f',\n "rows": [\n  {body}\n ]\n}}\n'

"""Writes docs/schemas: the JSON schema of what each command prints with `--format json`."""

from __future__ import annotations

import json
import sys
from pathlib import Path

from segexport.cli.main import cli
from segexport.cli.schema import commands, schema_of

FOLDER = Path(__file__).with_name("schemas")


def files() -> dict[str, str]:
    """Name of each file -> its text."""
    found = sorted(commands(cli))
    return {
        f"{name.replace(' ', '-')}.json": json.dumps(schema_of(name, command), indent=1, ensure_ascii=False) + "\n"
        for name, command in found
    }


if __name__ == "__main__":
    FOLDER.mkdir(exist_ok=True)
    made = files()
    for path in FOLDER.iterdir():
        if path.name not in made:
            path.unlink()
    for name, text in made.items():
        (FOLDER / name).write_text(text, encoding="utf-8")
    print(f"{FOLDER}: {len(made)} schemas", file=sys.stderr)

"""Writes docs/paddlex-migration.md from docs/paddlex-migration.yaml."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import yaml

HERE = Path(__file__).parent
STATUSES = ("same", "renamed", "not applicable", "not yet")


def text() -> str:
    """The page."""
    sections = yaml.safe_load((HERE / "paddlex-migration.yaml").read_text(encoding="utf-8"))["sections"]
    counts = Counter(row[1] for section in sections for row in section["rows"])
    lines = [
        "# Migrating from PaddleX and PaddleSeg",
        "",
        "The tables list every call and parameter in the segmentation documentation of PaddleX and PaddleSeg, with its",
        "equivalent here. Each *same* or *renamed* row names the test that verifies it.",
        "",
        "Made by `python docs/make_paddlex_migration.py` from `docs/paddlex-migration.yaml`: "
        + ", ".join(f"{counts[status]} {status}" for status in STATUSES)
        + ".",
    ]
    for section in sections:
        lines += ["", f"## {section['title']}", "", "| call | status | equivalent | test |", "|---|---|---|---|"]
        for there, status, here, test in section["rows"]:
            lines.append(f"| {there} | {status} | {here} | {f'`{test}`' if test else ''} |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    (HERE / "paddlex-migration.md").write_text(text(), encoding="utf-8")

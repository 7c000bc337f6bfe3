"""`segexport export --for`, as a user runs it."""

from __future__ import annotations

import json

import pytest


def test_a_server_gets_what_passed_and_the_next_command(workplace):
    done = workplace.segexport(
        "export", "model", "--for", "server", "--data", "data", "--split", "all", "--latency-seconds", "1", "-o", "out",
        timeout=300,
    )  # fmt: skip
    assert done.code == 0, done.stderr
    found = json.loads((workplace.root / "out" / "recommendation.json").read_text())
    best = found["recommended"]
    assert best in {one["name"] for one in found["candidates"] if one["verdict"] == "PASS"}
    assert f"{best} is recommended for a server." in done.stdout
    assert f"next: segexport serve out/exports/{best}" in done.stdout
    assert (workplace.root / "out" / "exports" / best / "manifest.json").is_file()
    again = workplace.segexport("run", "out/recipe.yaml", "-o", "again", timeout=300)
    assert again.code == 0, again.stderr


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (["--for", "server", "--to", "onnx"], "give either --to TARGET, or --for PURPOSE --data DIR"),
        ([], "give either --to TARGET, or --for PURPOSE --data DIR"),
        (["--for", "server"], "--for needs images: --data DIR"),
        (["--for", "server", "--data", "data", "--precision", "int8"], "--precision goes with --to"),
        (["--to", "onnx", "--data", "data"], "--data goes with --for"),
    ],
)
def test_options_that_do_not_go_together(workplace, given, message):
    done = workplace.segexport("export", "model", *given, "-o", "out")
    assert done.code == 2
    assert message in done.stderr
    assert not (workplace.root / "out").exists()

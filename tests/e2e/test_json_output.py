"""Every command has `--format json`: its real output fits its published schema, and errors are JSON too.

A new command needs `results=` (see `segexport.cli.command.Command`), a run in `FAST` or `SLOW`, and its schema under
docs/schemas (`python docs/make_schemas.py`).
"""

from __future__ import annotations

import json
import runpy
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import click
import pytest
from installed import require
from workplace import Workplace, make_workplace

from segexport.__main__ import main
from segexport.cli.main import cli
from segexport.cli.schema import schema_of
from segexport.errors import all_kinds

REPOSITORY = Path(__file__).resolve().parents[2]
SCHEMAS = REPOSITORY / "docs" / "schemas"
CHECK = ("--reference", "model", "--data", "data", "--limit", "2", "--latency-seconds", "0")

# Command -> (arguments, exit codes of this run), in an order in which each finds what it needs.
FAST: dict[str, tuple[str, tuple[int, ...]]] = {
    "import": ("model -o imported", (0,)),
    "export": ("model --to onnx -o onnx", (0,)),
    "inspect": ("model", (0,)),
    "check": ("onnx {check} -o report", (0, 1)),
    "report": ("report", (0,)),
    "merge": ("part.shard -o merged", (0, 1)),
    "diagnose": ("onnx --reference model --image {image}", (0,)),
    "bench": ("onnx --latency-seconds 0.1", (0,)),
    "evaluate": ("onnx --data data", (0,)),
    "predict": ("onnx {image} -o pictures", (0,)),
    "pipeline": ("--get-config semantic_segmentation", (0,)),
    "android assets": ("onnx -o assets", (0,)),
    "android lint": ("assets", (0, 1)),
    "data check": ("data --split val", (0,)),
    "data convert": ("labelme -o converted", (0,)),
    "data split": ("converted", (0,)),
    "reference record": ("model --data data --split all --latency-seconds 0 -o model.ref", (0,)),
    "reference show": ("model.ref", (0,)),
    "golden make": ("model --data data --images 2 -o golden.zip", (0,)),
    "recipe init": ("model --data data -o recipe.yaml", (0,)),
    "recipe validate": ("recipe.yaml", (0,)),
    "recipe schema": ("", (0,)),
    "ci comment": ("report", (2,)),  # no service here; with one: tests of the command
    "ci keep": ("report --name nets/main", (2,)),  # no store
    "ci baseline": ("-o baseline.json", (2,)),
    "recommend": ("--table measured.json", (0,)),
    "attest": ("onnx --key release.key --new-key", (0,)),
    "verify": ("onnx --key release.key.pub", (0,)),
    "sbom": ("onnx -o bom.json", (0,)),
    "toolchain list": ("", (0,)),
    "toolchain remove": ("--outdated", (0,)),
    "cache ls": ("", (0,)),
    "cache gc": ("", (0,)),
    "schema": ("", (0,)),
}
SLOW: dict[str, tuple[str, tuple[int, ...]]] = {
    "run": ("short.yaml -o ran", (0, 1)),
    "demo": ("-o demo", (0, 1)),
    "compress": (
        "model --data data --split all --verdict-split all --screen-images 4 --no-train --objective size "
        "--budget-minutes 0.5 -o compressed",
        (0, 1),
    ),
    "finetune": ("model --data data --steps 2 -o tuned", (0,)),
    "train": ("FastSCNN --data data --image-size 64x64 --steps 2 -o trained", (0, 2)),
    "doctor": ("", (0, 2)),
    "toolchain install": ("onnx", (0, 2)),
    "android build": ("--demo nowhere", (2,)),
    "android aar": ("--demo nowhere", (2,)),
}
OTHERWISE = {"serve"}  # has a test of its own
WITHOUT = {"mcp"}  # speaks a protocol on stdout


def commands(command: click.Command = cli, name: str = "") -> Iterator[tuple[str, click.Command]]:
    if isinstance(command, click.Group):
        for own, inner in command.commands.items():
            yield from commands(inner, f"{name} {own}".strip())
    else:
        yield name, command


COMMANDS = {name: command for name, command in commands() if name not in WITHOUT}


@pytest.fixture
def place(tmp_path: Path, shared_cache: Path, monkeypatch: pytest.MonkeyPatch) -> Workplace:
    place = make_workplace(tmp_path / "work", shared_cache)
    monkeypatch.chdir(place.root)
    monkeypatch.setenv("SEGEXPORT_CACHE", str(shared_cache))
    monkeypatch.setenv("SEGEXPORT_TOOLCHAINS", str(tmp_path / "toolchains"))
    for variable in ("GITHUB_ACTIONS", "GITLAB_CI"):
        monkeypatch.delenv(variable, raising=False)
    return place


@pytest.fixture
def run(monkeypatch, capfd):
    """Runs a command in this process and returns (exit code, stdout, stderr)."""

    def go(*arguments: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["segexport", *arguments])
        with pytest.raises(SystemExit) as ended:
            main()
        out, err = capfd.readouterr()
        return int(ended.value.code or 0), out, err

    return go


def faults(name: str, content: object) -> list[str]:
    from jsonschema import Draft202012Validator

    schema = json.loads((SCHEMAS / f"{name.replace(' ', '-')}.json").read_text(encoding="utf-8"))
    Draft202012Validator.check_schema(schema)
    return [
        f"{name}: {error.json_path}: {error.message[:300]}"
        for error in Draft202012Validator(schema).iter_errors(content)
    ]


def test_every_command_is_run_here():
    assert sorted(COMMANDS) == sorted([*FAST, *SLOW, *OTHERWISE])


@pytest.mark.parametrize("name", sorted(COMMANDS))
def test_every_command_has_the_format_and_a_published_schema(name):
    command = COMMANDS[name]
    assert command.results, "name the classes of its documents: results=[...]"
    (option,) = [one for one in command.params if "--format" in one.opts]
    assert "json" in option.type.choices
    published = (SCHEMAS / f"{name.replace(' ', '-')}.json").read_text(encoding="utf-8")
    assert json.loads(published) == schema_of(name, command), "run `python docs/make_schemas.py`"


def test_there_is_no_other_schema():
    made = runpy.run_path(str(REPOSITORY / "docs/make_schemas.py"))["files"]()
    assert sorted(made) == sorted(path.name for path in SCHEMAS.iterdir())


def test_fast_commands_print_what_their_schema_says(place, run):
    pytest.importorskip("jsonschema")
    require("paddle", "paddle2onnx", "onnx", "onnxruntime", "cyclonedx", "securesystemslib")
    labelme(place.root / "labelme")
    row = {"network": "wide", "export": "onnx-fp32", "target": "onnx", "precision": "fp32", "verdict": "PASS"}
    measured = {"rows": [{**row, "miou": 0.6, "size_bytes": 12, "ms": 4.0}]}
    (place.root / "measured.json").write_text(json.dumps(measured))
    wrong = []
    for name, (arguments, codes) in FAST.items():
        if name == "merge":
            run("check", "onnx", *CHECK, "--shard", "1/1", "-o", "part.shard")
        wrong += outcome(name, arguments, codes, place, run)
    assert wrong == []


@pytest.mark.slow
@pytest.mark.parametrize("name", SLOW)
def test_slow_commands_print_what_their_schema_says(name, place, run):
    pytest.importorskip("jsonschema")
    require("paddle", "paddle2onnx", "onnx", "onnxruntime")
    place.recipe("short.yaml", exports=[{"to": "onnx"}])
    assert outcome(name, *SLOW[name], place, run) == []


def outcome(name: str, arguments: str, codes: tuple[int, ...], place: Workplace, run) -> list[str]:
    """Runs a command; returns what is wrong with its exit code and its output."""
    image = (place.root / "data/val.txt").read_text().split()[0]
    filled = arguments.format(check=" ".join(CHECK), image=f"data/{image}")
    code, out, err = run(*name.split(), *filled.split(), "--format", "json")
    if code not in codes:
        return [f"{name}: exit code {code}: {out[-1000:]}{err[-1000:]}"]
    try:
        content = json.loads(out)
    except ValueError as error:
        return [f"{name}: stdout is not JSON: {error}: {out[:300]!r}"]
    if isinstance(content, dict) and "error" in content and code != 2:
        return [f"{name}: an error with exit code {code}"]
    return faults(name, content)


def labelme(folder: Path) -> None:
    """An annotated data set of four images."""
    from PIL import Image

    folder.mkdir()
    for index in range(4):
        Image.new("RGB", (16, 12)).save(folder / f"{index}.png")
        shape = {"label": "car", "shape_type": "rectangle", "points": [[1, 1], [6, 6]]}
        content = {"imagePath": f"{index}.png", "imageWidth": 16, "imageHeight": 12, "shapes": [shape]}
        (folder / f"{index}.json").write_text(json.dumps(content))


def test_a_server_says_where_it_is(place, tmp_path):
    pytest.importorskip("jsonschema")
    require("paddle", "uvicorn", "starlette", "httptools", "prometheus_client")
    command = [*place.command("serve", "model", "--port", "0", "--format", "json")]
    with subprocess.Popen(
        command, cwd=place.root, env=place.environment, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    ) as process:
        try:
            lines = []
            assert process.stdout is not None
            while not lines or lines[-1] != "}\n":
                lines.append(process.stdout.readline())
                assert lines[-1], "the server ended"
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(30)
    content = json.loads("".join(lines))
    assert faults("serve", content) == []
    assert content["url"].endswith("/semantic-segmentation")


@pytest.mark.parametrize(
    ("arguments", "code", "path"),
    [
        ("inspect nowhere", "input.missing", "nowhere"),
        ("export model --to onnx -o data", "output.exists", "data"),
        ("report data/labels.txt", "input.unreadable", "data/labels.txt"),
        ("bench model --runtime a --all-runtimes", "option", None),
        ("check --data data", "usage", None),
        ("recipe validate data/labels.txt", "recipe", "data/labels.txt"),
        ("evaluate model --data data --bogus", "usage", None),
        ("nonsense", "usage", None),
    ],
)
def test_an_error_is_json_too(place, run, arguments, code, path):
    ended, out, err = run(*arguments.split(), "--format", "json")
    error = json.loads(out)["error"]
    assert ended == 2
    assert sorted(error) == ["cause", "code", "hint", "message", "path"]
    assert (error["code"], error["path"]) == (code, path)
    assert error["code"] in all_kinds()
    assert error["message"].splitlines()[0].rstrip(".") in err.replace("Error: ", "")


def test_an_error_without_the_format_leaves_stdout_empty(place, run):
    assert run("inspect", "nowhere")[:2] == (2, "")


@pytest.mark.parametrize(
    ("error", "code", "exit_code"), [(ZeroDivisionError("0"), "internal", 2), (OSError(28, "full", "/a"), "storage", 2)]
)
def test_a_bug_and_the_system_are_json_too(run, monkeypatch, error, code, exit_code):
    def fail(**_options):
        raise error

    monkeypatch.setattr(COMMANDS["schema"], "callback", fail)
    ended, out, err = run("schema", "--format=json")
    assert (ended, json.loads(out)["error"]["code"]) == (exit_code, code)
    assert ("Traceback" in err) == (code == "internal")


def test_an_interruption_is_json_too(run, monkeypatch):
    def stop(**_options):
        raise KeyboardInterrupt

    monkeypatch.setattr(COMMANDS["schema"], "callback", stop)
    ended, out, _ = run("schema", "--format", "json")
    assert (ended, json.loads(out)["error"]["code"]) == (130, "interrupted")


def test_the_schema_of_a_command(run):
    code, out, _ = run("schema", "data", "check")
    assert (code, json.loads(out)["title"]) == (0, "segexport data check --format json")
    assert run("schema")[1].split("\n")[:-1] == sorted(COMMANDS)
    code, _, err = run("schema", "dance")
    assert (code, err.splitlines()[0]) == (2, "error: there is no command 'dance'")

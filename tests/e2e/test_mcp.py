"""`segexport mcp`, driven by the protocol's own client over standard input and output."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import click
import pytest

from segexport.cli.main import cli
from segexport.errors import OptionError, OutsideError
from segexport.files.json_reader import parse_json

NAMES = ["bench", "check", "diagnose", "doctor", "export", "inspect", "predict", "report"]


def talk(place, story: Callable) -> None:
    """Starts the server in the workplace, and calls `story(client)`."""
    anyio = pytest.importorskip("anyio")
    mcp = pytest.importorskip("mcp")
    command = place.command("mcp", "--root", place.root)
    server = mcp.StdioServerParameters(command=command[0], args=command[1:], env=place.environment, cwd="/")

    async def run() -> None:
        async with mcp.Client(server) as client:
            await story(client)

    anyio.run(run)


def test_the_tools_are_described(bare):
    jsonschema = pytest.importorskip("jsonschema")

    async def story(client):
        tools = {tool.name: tool for tool in (await client.list_tools()).tools}
        assert sorted(tools) == NAMES
        for tool in tools.values():
            assert tool.description
            assert tool.input_schema["type"] == tool.output_schema["type"] == "object"
            jsonschema.Draft202012Validator.check_schema(tool.input_schema)
            jsonschema.Draft202012Validator.check_schema(tool.output_schema)
        assert tools["check"].input_schema["required"] == ["exports"]
        assert tools["check"].input_schema["properties"]["exports"]["items"] == {"type": "string"}
        assert tools["check"].input_schema["properties"]["threads"]["maximum"] == 256
        assert tools["export"].annotations.read_only_hint is False
        assert tools["inspect"].annotations.read_only_hint is True

    talk(bare, story)


def test_a_model_is_exported_and_checked(workplace):
    jsonschema = pytest.importorskip("jsonschema")

    async def story(client):
        schemas = {tool.name: tool.output_schema for tool in (await client.list_tools()).tools}
        seen: list[tuple[float, float | None, str | None]] = []

        async def on_progress(done: float, total: float | None, message: str | None) -> None:
            seen.append((done, total, message))

        async def call(name: str, **arguments):
            answer = await client.call_tool(name, arguments, progress_callback=on_progress)
            content = answer.structured_content
            assert content == parse_json(answer.content[0].text)
            if not answer.is_error:
                jsonschema.validate(content, schemas[name])
            return answer.is_error, content

        failed, found = await call("inspect", model="model")
        assert (failed, found["num_classes"]) == (False, 2)
        failed, found = await call("export", model="model", to="onnx", output="made/onnx")
        assert (failed, found["path"], found["manifest"]["format"]) == (False, "made/onnx", "onnx")
        assert (workplace.root / "made/onnx/manifest.json").is_file()
        seen.clear()
        data = {"data": "data", "limit": 3, "latency_seconds": 0, "output": "report"}
        failed, found = await call("check", exports=["made/onnx"], reference="model", **data)
        assert (failed, found["exports"][0]["name"]) == (False, "onnx")
        assert seen, "no progress was told"
        assert any("report: report" in (message or "") for _, _, message in seen)
        failed, found = await call("report", file="report")
        assert (failed, len(found["exports"])) == (False, 1)

        failed, found = await call("inspect", model="nowhere")
        assert failed
        assert found["error"]["code"] == "input.missing"
        failed, found = await call("export", model="model", to="onnx", output="made/onnx")
        assert (failed, found["error"]["code"]) == (True, "output.exists")
        assert found["error"]["hint"]
        failed, found = await call("export", model="model", to="coreml", output="made/no")
        assert (failed, found["error"]["code"]) == (True, "usage")

    talk(workplace, story)


def test_nothing_outside_of_the_folder_is_read_or_written(bare, tmp_path):
    outside = tmp_path / "secret"
    outside.mkdir()
    (bare.root / "link").symlink_to(outside)

    async def story(client):
        async def refused(name: str, **arguments) -> dict:
            answer = await client.call_tool(name, arguments)
            assert answer.is_error
            return answer.structured_content["error"]

        for path in ("../secret", str(outside), "link/model", "/etc", "model/../../secret", "~/../../etc/..", "a\0b"):
            error = await refused("inspect", model=path)
            assert error["code"] in ("input.outside", "input.missing"), (path, error)
            if path != "~/../../etc/..":
                assert error["code"] == "input.outside", path
        assert (await refused("export", model="model", to="onnx", output="../made"))["code"] == "input.outside"
        assert (await refused("export", model="model", to="onnx", output="link/made"))["code"] == "input.outside"
        for name in ("https://example.com/a.png", "file:///etc/passwd", "camera:0", "/etc/passwd"):
            assert (await refused("predict", model="model", inputs=[name]))["code"] == "input.outside", name
        assert (await refused("inspect", model="--help"))["code"] == "input.missing"
        assert (await refused("inspect", model="model", config="/etc/passwd"))["message"] == (
            "inspect: unknown argument 'config'"
        )
        assert (await refused("inspect"))["message"] == "inspect: the argument 'model' is missing"
        assert (await refused("serve", model="model"))["message"] == "there is no tool 'serve'"

    talk(bare, story)
    assert list(outside.iterdir()) == []


def running(marker: str) -> list[str]:
    """The processes `segexport bench` of this export."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            line = (folder / "cmdline").read_bytes().decode(errors="replace").split("\0")
        except OSError:
            continue
        if "segexport" in line and "bench" in line and marker in line:
            found.append(folder.name)
    return found


@pytest.mark.parametrize("end", ["close", "SIGTERM"])
def test_a_server_that_ends_takes_its_command_along(workplace, end):
    pytest.importorskip("mcp")
    assert workplace.segexport("export", "model", "--to", "onnx", "-o", "onnx").code == 0
    marker = str(workplace.root / "onnx")
    hello = {"protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": {"name": "test", "version": "1"}}
    bench = {"name": "bench", "arguments": {"exports": [marker], "latency_seconds": 300}}
    with subprocess.Popen(
        workplace.command("mcp", "--root", workplace.root),
        env=workplace.environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    ) as server:
        assert server.stdin is not None
        for message in (
            "this is not JSON",
            json.dumps({"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": hello}),
            json.dumps({"jsonrpc": "2.0", "method": "notifications/initialized"}),
            json.dumps({"jsonrpc": "2.0", "id": 2, "method": "tools/call", "params": bench}),
        ):
            server.stdin.write(message + "\n")
        server.stdin.flush()
        until = time.monotonic() + 60
        while not running(marker) and time.monotonic() < until:
            time.sleep(0.05)
        assert running(marker)
        if end == "close":
            server.stdin.close()
        else:
            server.send_signal(signal.SIGTERM)
        assert server.wait(60) == (0 if end == "close" else 128 + signal.SIGTERM)
    assert running(marker) == []


def test_the_end_waits_for_a_command_that_is_being_started(monkeypatch, tmp_path):
    anyio = pytest.importorskip("anyio")
    pytest.importorskip("mcp")
    from segexport.assistant.server import Commands

    started = []
    open_process = anyio.open_process

    async def slow(*arguments, **options):
        started.append(await open_process(*arguments, **options))
        await anyio.sleep(0.2)
        return started[0]

    async def story():
        commands = Commands()
        async with anyio.create_task_group() as group:
            group.start_soon(commands.start, [sys.executable, "-c", "import time; time.sleep(300)"], tmp_path)
            while not started:
                await anyio.sleep(0.01)
            await commands.end_all()
        assert started[0].returncode is not None

    monkeypatch.setattr(anyio, "open_process", slow)
    anyio.run(story)


def test_a_call_that_is_cancelled_ends_its_command(workplace):
    anyio = pytest.importorskip("anyio")
    assert workplace.segexport("export", "model", "--to", "onnx", "-o", "onnx").code == 0
    marker = str(workplace.root / "onnx")

    async def story(client):
        with anyio.move_on_after(60):
            async with anyio.create_task_group() as group:
                arguments = {"exports": [marker], "latency_seconds": 300}
                group.start_soon(client.call_tool, "bench", arguments)
                while not running(marker):
                    await anyio.sleep(0.05)
                group.cancel_scope.cancel()
        with anyio.move_on_after(30):
            while running(marker):
                await anyio.sleep(0.1)
        assert running(marker) == []

    talk(workplace, story)


def test_a_folder_that_is_not_there(bare):
    done = bare.segexport("mcp", "--root", "nowhere")
    assert (done.code, done.error) == (2, "nowhere: no such folder")


def test_without_the_package_there_is_a_hint(bare):
    source = "import sys; sys.modules['mcp'] = None; from segexport.__main__ import main; main()"
    done = subprocess.run(
        [sys.executable, "-c", source, "mcp", "--root", "."], cwd=bare.root, capture_output=True, text=True
    )
    assert done.returncode == 2
    assert done.stderr.splitlines()[0] == "error: this needs the Python package mcp"
    assert done.stderr.splitlines()[-1] == "hint: pip install 'segexport[mcp]'"


def test_a_value_never_becomes_an_option(tmp_path):
    pytest.importorskip("mcp")
    from segexport.assistant.tools import tools_of

    assert isinstance(cli, click.Group)
    tools = tools_of(cli)
    line = tools["check"].command_line(
        {"exports": ["--golden=/etc/passwd", "b"], "split": "--limit", "threads": 2}, tmp_path.resolve()
    )
    assert line == ["check", "--format=json", "--split=--limit", "--threads=2", "--", "--golden=/etc/passwd", "b"]
    line = tools["export"].command_line({"model": "m", "to": "onnx", "output": "made"}, tmp_path.resolve())
    assert line == ["export", "--format=json", "--to=onnx", "--output=made", "--", "m"]
    assert "--all-runtimes" in tools["bench"].command_line({"exports": ["a"], "all_runtimes": True}, tmp_path)
    assert "--all-runtimes" not in tools["bench"].command_line({"exports": ["a"], "all_runtimes": False}, tmp_path)
    with pytest.raises(OutsideError, match="outside of the folder that this server may use"):
        tools["check"].command_line({"exports": ["a"], "data": ".."}, tmp_path.resolve())
    with pytest.raises(OptionError, match="unknown argument 'device'"):
        tools["check"].command_line({"exports": ["a"], "device": "adb"}, tmp_path)

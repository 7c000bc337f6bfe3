"""A server of the Model Context Protocol over standard input and output: each call of a tool runs one command.

The command is a process of its own: what a native library prints cannot reach the protocol, and a cancelled call ends
it with all its workers. One runs at a time, because a second one would disturb its times.
"""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import anyio
import click
from anyio.streams.text import TextReceiveStream
from mcp.server.lowlevel import Server
from mcp.server.stdio import stdio_server
from mcp_types import CallToolResult, ListToolsResult, TextContent, Tool, ToolAnnotations

from segexport import __version__
from segexport.assistant.tools import CommandTool, tools_of
from segexport.errors import InternalError, OptionError, SegexportError
from segexport.files.json_writer import to_json
from segexport.ui.error_document import ErrorDocument

_INSTRUCTIONS = """\
segexport compresses PaddlePaddle segmentation models, exports them, and checks every export beside the original. Paths
are relative to {root}; others are refused. `inspect` says which targets support a model; `export` makes one; `check`
decides PASS, FAIL or INCONCLUSIVE on images; `diagnose` finds the first operator that differs. An error has a stable
`code`, and a `hint` that mends it."""
_DONE = re.compile(r": (\d+)/(\d+)\b")
_GRACE_S = 5.0


def serve(cli: click.Group, root: Path) -> None:
    """Serves the tools until the client closes standard input.

    Args:
        cli: The command line, whose commands the tools are.
        root: The only folder that tools may read and write; resolved.
    """
    anyio.run(_serve, cli, root)


async def _serve(cli: click.Group, root: Path) -> None:
    tools, alone, commands = tools_of(cli), anyio.Lock(), Commands()

    async def list_tools(_context: Any, _parameters: Any) -> ListToolsResult:
        return ListToolsResult(tools=[_described(tool) for tool in tools.values()])

    async def call_tool(context: Any, parameters: Any) -> CallToolResult:
        async def report(done: float, total: float | None, message: str) -> None:
            await context.session.report_progress(done, total, message)

        try:
            if parameters.name not in tools:
                raise OptionError(f"there is no tool {parameters.name!r}", hint=f"the tools are {', '.join(tools)}")
            line = tools[parameters.name].command_line(parameters.arguments or {}, root)
            async with alone:
                return await _run(line, root, report, commands)
        except SegexportError as error:
            return _answer(json.loads(to_json(ErrorDocument.of(error))))

    server = Server(
        "segexport",
        version=__version__,
        instructions=_INSTRUCTIONS.format(root=root),
        on_list_tools=list_tools,
        on_call_tool=call_tool,
    )
    async with anyio.create_task_group() as group:
        group.start_soon(_stop_at_sigterm, commands)
        async with stdio_server() as (read, write):
            await server.run(read, write, server.create_initialization_options())
        group.cancel_scope.cancel()


class Commands:
    """The commands that run: whoever ends the server ends them too."""

    def __init__(self) -> None:
        self._starting = anyio.Lock()
        self._running: set[Any] = set()

    async def start(self, command: list[str], folder: Path) -> Any:
        """Starts a command in `folder`, in a session of its own.

        Neither a cancelled call nor SIGTERM comes between the start and the entry here: nobody would end that process.
        """
        with anyio.CancelScope(shield=True):
            async with self._starting:
                process = await anyio.open_process(
                    command, stdin=subprocess.DEVNULL, cwd=folder, start_new_session=True
                )
                self._running.add(process)
                return process

    async def end(self, process: Any) -> None:
        """Ends a command, if it still runs, with its workers."""
        with anyio.CancelScope(shield=True):
            await _end(process)
            self._running.discard(process)

    async def end_all(self) -> None:
        """Ends every command; none can be started after."""
        await self._starting.acquire()
        for process in tuple(self._running):
            await _end(process)


async def _stop_at_sigterm(commands: Commands) -> None:
    """Ends the running command at SIGTERM, then this process, whose read of standard input cannot be cancelled."""
    with anyio.open_signal_receiver(signal.SIGTERM) as signals:
        async for _ in signals:
            await commands.end_all()
            os._exit(128 + signal.SIGTERM)


def _described(tool: CommandTool) -> Tool:
    return Tool(
        name=tool.name,
        description=tool.description,
        input_schema=tool.input_schema,
        output_schema=tool.output_schema,
        annotations=ToolAnnotations(read_only_hint=not tool.writes, destructive_hint=False, open_world_hint=False),
    )


async def _run(line: list[str], root: Path, report: Callable[..., Any], commands: Commands) -> CallToolResult:
    """Runs a command in `root`; its messages become progress notifications, its document the result."""
    process = await commands.start([sys.executable, "-m", "segexport", *line], root)
    printed: list[str] = []
    last = ""
    try:
        async with anyio.create_task_group() as group:

            async def read_result() -> None:
                assert process.stdout is not None
                async for text in TextReceiveStream(process.stdout, errors="replace"):
                    printed.append(text)

            async def read_messages() -> None:
                nonlocal last
                assert process.stderr is not None
                count, rest = 0, ""
                async for text in TextReceiveStream(process.stderr, errors="replace"):
                    *lines, rest = (rest + text).split("\n")
                    for one in filter(None, lines):
                        count, last = count + 1, one
                        await report(*_progress(one, count), one)

            group.start_soon(read_result)
            group.start_soon(read_messages)
        await process.wait()
    finally:
        await commands.end(process)
    try:
        return _answer(json.loads("".join(printed)))
    except ValueError:
        error = InternalError(f"the command ended with exit code {process.returncode} and no result", cause=last)
        return _answer(json.loads(to_json(ErrorDocument.of(error))))


def _progress(message: str, count: int) -> tuple[float, float | None]:
    """Done and total of a message such as `evaluating: 3/10, 5 s`; else the number of messages."""
    found = _DONE.search(message)
    return (float(found[1]), float(found[2])) if found else (float(count), None)


async def _end(process: Any) -> None:
    """Ends a command that still runs, with its workers: by SIGINT, which lets it clean up, then by SIGKILL."""
    if process.returncode is None:
        _signal(process.pid, signal.SIGINT)
        with anyio.move_on_after(_GRACE_S):
            await process.wait()
    if process.returncode is None:
        _signal(process.pid, signal.SIGKILL)
        await process.wait()
    await process.aclose()


def _signal(pid: int, number: int) -> None:
    try:
        os.killpg(pid, number)
    except ProcessLookupError:  # it has just ended
        return


def _answer(document: Mapping[str, Any]) -> CallToolResult:
    """The result of a tool; a document with `error` is one that the assistant sees as failed."""
    text = json.dumps(document, ensure_ascii=False)
    failed = set(document) == {"error"}
    return CallToolResult(content=[TextContent(text=text)], structured_content=dict(document), is_error=failed)

"""The command: what it refuses before it listens, and every format behind the same requests."""

from __future__ import annotations

import socket
import subprocess
import sys

import nets
import numpy as np
import pytest
from installed import require
from served import png

import segexport
from segexport.commands.run import DEMO_RECIPE

DEMO = DEMO_RECIPE.parent
IMAGE = DEMO / "data" / "images" / "tile_00.png"


def failed(*arguments, code: int = 2) -> str:
    """What the command says on stderr."""
    command = [sys.executable, "-m", "segexport", "serve", *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == code, done.stderr
    assert done.stdout == ""
    assert "Traceback" not in done.stderr
    return done.stderr


@pytest.mark.parametrize("arguments", [[], ["net", "--pipeline", "file.yaml"]])
def test_a_model_or_a_pipeline(arguments):
    assert "give either MODEL or --pipeline" in failed(*arguments)


def test_a_model_that_is_not_there(needed, tmp_path):
    assert "error: " in failed(tmp_path / "gone", "--port", 0)
    assert "no such pipeline file" in failed("--pipeline", tmp_path / "gone.yaml", "--port", 0)


def test_a_port_that_is_taken(net):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        said = failed(net, "--port", port)
    assert f"error: 127.0.0.1:{port}: the server cannot listen there" in said
    assert "cause: Address already in use" in said
    assert "hint: --port 0 takes a free one" in said


def test_an_address_of_another_machine(net):
    assert "error: 192.0.2.1:0: the server cannot listen there" in failed(net, "--host", "192.0.2.1", "--port", 0)


def test_a_device_that_is_not_here(net):
    assert "device 'npu:0': onnxruntime here has" in failed(net, "--device", "npu:0", "--port", 0)


def test_a_model_that_cannot_run(needed, tmp_path):
    net = nets.slow(tmp_path / "net", 1)
    (net / "model.onnx").write_bytes((net / "model.onnx").read_bytes()[:100])
    assert "error: " in failed(net, "--port", 0)


def test_what_is_not_installed_is_named_with_its_command(net, tmp_path):
    source = (
        "import importlib.util as util, sys\n"
        "find = util.find_spec\n"
        "util.find_spec = lambda name, *more: None if name in ('starlette', 'httptools') else find(name, *more)\n"
        f"sys.argv = ['segexport', 'serve', {str(net)!r}]\n"
        "from segexport.cli.main import main; main()\n"
    )
    done = subprocess.run([sys.executable, "-c", source], capture_output=True, text=True, timeout=60)
    assert done.returncode == 2
    assert "error: serving needs starlette, httptools" in done.stderr
    assert "hint: pip install 'segexport[serve]'" in done.stderr


def test_doctor_tells_of_the_server(monkeypatch):
    from segexport.commands import doctor
    from segexport.serve import dependencies as needs

    found = doctor._server()
    assert (found.kind, found.ok) == ("server", True)
    monkeypatch.setattr(needs, "_NAMES", {"no_such_module": "no-such-module"})
    found = doctor._server()
    assert not found.ok
    assert "no-such-module missing" in found.detail
    assert found.hint == "pip install 'segexport[serve]'"


def test_the_built_in_paddle_model(start):
    require("paddle")
    with segexport.load(DEMO / "model") as model:
        (found,) = model.predict(IMAGE)
    server = start(DEMO / "model")
    assert server.post(IMAGE.read_bytes()).json()["result"]["labelMap"] == found.label_map.ravel().tolist()
    answer = server.post(IMAGE.read_bytes(), targetSize=64)
    assert answer.status_code == 422
    assert "fixed input size" in answer.json()["errorMsg"]


def test_a_paddle_lite_export(start, tmp_path):
    require("paddle", "paddlelite")
    command = [
        sys.executable,
        "-m",
        "segexport",
        "export",
        DEMO / "model",
        "--to",
        "paddle-lite",
        "-o",
        tmp_path / "lite",
    ]
    subprocess.run(list(map(str, command)), check=True, capture_output=True, timeout=120)
    with segexport.load(tmp_path / "lite") as model:
        (found,) = model.predict(IMAGE)
    answer = start(tmp_path / "lite").post(IMAGE.read_bytes())
    assert answer.json()["result"]["labelMap"] == found.label_map.ravel().tolist()


def test_an_argmax_head(start, tmp_path):
    """A mask from inside the model is served as any other."""
    image = np.zeros((3, 4, 3), np.uint8)
    image[1, 2] = 255
    server = start(nets.red_argmax(tmp_path / "net"))
    assert server.post(png(image)).json()["result"]["labelMap"] == [0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0]

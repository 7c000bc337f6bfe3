"""The examples of docs/serving.md, run unchanged except for the address."""

from __future__ import annotations

import dataclasses
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from served import png

from segexport.cli.serve import serve
from segexport.serve.limits import ServerLimits

TEXT = (Path(__file__).resolve().parents[2] / "docs" / "serving.md").read_text(encoding="utf-8")


def block(language: str, word: str) -> str:
    """The code block of a language that holds a word."""
    return next(text for text in re.findall(rf"```{language}\n(.*?)```", TEXT, re.DOTALL) if word in text)


@pytest.fixture
def street(tmp_path) -> Path:
    """A folder with the image of the examples."""
    image = np.zeros((30, 40, 3), np.uint8)
    image[10:, 20:, 0] = 255
    (tmp_path / "street.jpg").write_bytes(png(image))
    return tmp_path


def test_the_python_client(server, street):
    source = block("python", "urlopen").replace("http://localhost:8080", server.root)
    done = subprocess.run([sys.executable, "-c", source], cwd=street, capture_output=True, text=True, timeout=60)
    assert done.stdout == "40x30, classes [0, 1]; the first pixel is of class 0\n", done.stderr
    assert Image.open(street / "overlay.jpg").size == (40, 30)


def test_curl(server, street):
    if shutil.which("curl") is None:
        pytest.skip("curl is not installed")
    source = block("sh", "curl").replace("http://localhost:8080", server.root)
    subprocess.run(["bash", "-euc", source], cwd=street, check=True, timeout=60)
    answer = json.loads((street / "answer.json").read_text())
    assert answer["errorMsg"] == "Success"
    assert answer["result"]["size"] == [30, 40]


def test_the_answer_in_the_page_has_the_form_of_answers(server, street):
    shown = json.loads(block("json", "labelMap"))
    content = server.post((street / "street.jpg").read_bytes()).json()
    assert list(shown) == list(content)
    assert list(shown["result"]) == list(content["result"])
    height, width = shown["result"]["size"]
    assert len(shown["result"]["labelMap"]) == height * width


def test_limits_and_metrics_are_those_of_the_server(server):
    limits = ServerLimits()
    for words in (
        f"| {limits.queue}, and at most as many",
        f"| {limits.body_bytes >> 20} MiB | `--max-body-mib`",
        f"| {limits.image_pixels // 10**6} million pixels | `--max-pixels`",
        f"| {limits.receive_s:g} s | `--receive-timeout`",
        f"| {limits.request_s:g} s | `--request-timeout`",
        f"| {limits.held_bytes >> 20} MiB | |",
        f"| {limits.connections} | |",
        f"| {limits.send_s:g} s | |",
        f"| {limits.downloads}, {limits.download_s:g} s | |",
    ):
        assert words in TEXT, words
    told = server.get("/metrics").text
    for name in re.findall(r"`(segexport_\w+)", TEXT):
        assert f"\n{name}" in told, name


def test_options_have_the_defaults_of_the_limits():
    defaults = {option.name: option.default for option in serve.params}
    limits = ServerLimits()
    assert defaults["queue"] == limits.queue
    assert defaults["max_body_mib"] << 20 == limits.body_bytes
    assert defaults["max_pixels"] == limits.image_pixels
    assert defaults["max_network_pixels"] == limits.network_pixels
    assert defaults["request_timeout"] == limits.request_s
    assert defaults["receive_timeout"] == limits.receive_s
    options = set(re.findall(r"`(--[a-z-]+)", TEXT)) - {"--get-config"}
    assert options <= {name for option in serve.params for name in option.opts}
    assert all(field.default is not dataclasses.MISSING for field in dataclasses.fields(ServerLimits))

"""Harmed files of every form: each is read or refused. `benchmarks/fuzz_readers.py` does the same with more of them."""

from __future__ import annotations

import contextlib
import os
import re
import socket
from pathlib import Path

import pytest

pytest.importorskip("hypothesis")
pytest.importorskip("pycocotools")
pytest.importorskip("onnx")

from fuzzer import fuzz
from readers import READERS, Reader

from segexport.errors import InputError

REPOSITORY = Path(__file__).resolve().parents[2]
EACH_READER = pytest.mark.parametrize("reader", READERS, ids=lambda reader: reader.name)
SLOW_INPUTS = 400


@EACH_READER
def test_the_good_files_are_read(reader: Reader, tmp_path):
    """Else nothing but the first line of a reader would be tried."""
    for number, good in enumerate(reader.seeds()):
        for name, content in good.files.items():
            (tmp_path / str(number) / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / str(number) / name).write_bytes(content)
        reader.read(tmp_path / str(number) / good.name)


@EACH_READER
def test_harmed_files(reader: Reader):
    require_clean(reader, 15)


@pytest.mark.slow
@EACH_READER
def test_many_harmed_files(reader: Reader):
    require_clean(reader, SLOW_INPUTS)


def require_clean(reader: Reader, count: int) -> None:
    found = fuzz(reader, count)
    assert found.inputs == count
    assert list(found.tracebacks) == []
    assert found.slow == []


def test_10000_inputs_in_the_slow_suite():
    assert SLOW_INPUTS * len(READERS) >= 10_000


@EACH_READER
@pytest.mark.parametrize("kind", ["pipe", "socket"])
def test_what_is_no_file_is_not_waited_for(reader: Reader, kind, tmp_path, monkeypatch):
    """In place of the file, and of every other file of its folder: a pipe without a writer never ends."""
    good = reader.seeds()[0]
    for other in good.files:
        root = tmp_path / str(len(list(tmp_path.iterdir())))
        for name, content in good.files.items():
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            (root / name).write_bytes(content)
        (root / other).unlink()
        if kind == "pipe":
            os.mkfifo(root / other)
        else:
            monkeypatch.chdir((root / other).parent)  # a socket's path has about 100 bytes
            with socket.socket(socket.AF_UNIX) as one:
                one.bind(Path(other).name)
        with contextlib.suppress(InputError):  # an optional file that is none is not there
            reader.read(root / good.name)


def test_every_guarded_reader_is_harmed():
    """A new door needs a row in `READERS`; what has none is named here with its reason."""
    doors = set()
    for folder in ("src/segexport", "exporter", "compress", "runtimes"):
        for file in (REPOSITORY / folder).rglob("*.py"):
            doors |= set(re.findall(r"@guarded\(.*\)\ndef (\w+)", file.read_text(encoding="utf-8")))
    assert doors <= REACHED, f"not reached by any row of READERS: {sorted(doors - REACHED)}"


REACHED = {
    "compose", "read_yaml", "read_recipe", "parse_deploy_config", "decode_image", "decode_label", "image_size",
    "own_pixels", "read_list", "read_labels", "read_json", "read_source", "open_data", "find_model", "read_artifact",
    "read", "read_reference", "open_archive", "merge", "_unzip", "_read", "read_result", "read_program", "read_graph",
    "read_params", "external_data", "load", "find_checkpoint", "read_checkpoint", "read_training_config",
    "read_detection_config", "read_lenient_yaml",
}  # fmt: skip

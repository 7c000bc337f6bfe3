from __future__ import annotations

import json
import time

import numpy as np
import paddle
import programs
import pytest

from segexport.compress.live_program import LiveProgram
from segexport.compress.prune import prune
from segexport.compress.sensitivity import load, measure, ratios_by_loss
from segexport.errors import InputError


@pytest.fixture
def segmenter(tmp_path):
    paddle.seed(3)
    return programs.export(programs.SmallSegmenter(), tmp_path, [1, 3, 32, 32])


class Agreement:
    """The fraction of pixels on which a program sees what the original sees."""

    def __init__(self, program):
        self.calls = 0
        self.image = paddle.to_tensor(programs.random_feeds(program)["x0"])
        self.classes = self._run(program)

    def _run(self, program):
        net = LiveProgram(program)
        net.eval()
        with paddle.no_grad():
            return net(self.image).numpy().argmax(1)

    def __call__(self, program) -> float:
        self.calls += 1
        return float((self._run(program) == self.classes).mean())


def test_each_group_and_ratio_is_measured_once_and_resumed(segmenter, tmp_path):
    evaluate = Agreement(segmenter)
    file = tmp_path / "out/sensitivities.json"

    class Killed(Exception):
        pass

    def dies(program):
        if evaluate.calls == 3:
            raise Killed
        return evaluate(program)

    with pytest.raises(Killed):
        measure(segmenter, dies, file, ratios=(0.5, 0.75))
    kept = load(file)
    found = measure(segmenter, evaluate, file, ratios=(0.5, 0.75))
    # The baseline, and two ratios for three groups; the gate's 8 channels cannot become fewer, which needs no run.
    assert evaluate.calls == 1 + 3 * 2
    names = [width.name for width in prune(segmenter, 0.5).widths]
    assert list(found) == names
    assert all(list(losses) == [0.5, 0.75] for losses in found.values())
    assert all(found[name][ratio] == loss for name, losses in kept.items() for ratio, loss in losses.items())
    assert found == load(file)
    assert found[names[1]] == {0.5: 0.0, 0.75: 0.0}
    assert max(max(losses.values()) for losses in found.values()) > 0.01


def test_ratios_that_a_loss_allows():
    losses = {
        "free": {0.25: 0.0, 0.5: 0.0, 0.75: 0.01},
        "linear": {0.25: 0.02, 0.5: 0.04, 0.75: 0.20},  # 0.05 lies a sixteenth of the way from 0.5 to 0.75
        "dear": {0.25: 0.10, 0.5: 0.30},  # half way from nothing to 0.25
        "odd": {0.25: 0.04, 0.5: 0.08, 0.75: 0.01},  # what comes after the first bad ratio is luck
        "better": {0.25: -0.01, 0.5: 0.07},  # three quarters of the way from 0.25 to 0.5
    }
    found = ratios_by_loss(losses, 0.05)
    expected = {"free": 0.75, "linear": 0.5 + 0.25 / 16, "dear": 0.125, "odd": 0.3125, "better": 0.25 + 0.25 * 0.75}
    assert found == pytest.approx(expected)
    assert ratios_by_loss(losses, 0.0) == pytest.approx(
        {"free": 0.5, "linear": 0, "dear": 0, "odd": 0, "better": 0.25 + 0.25 / 8}
    )


def test_chosen_ratios_prune(segmenter, tmp_path):
    found = measure(segmenter, Agreement(segmenter), tmp_path / "s.json", ratios=(0.5,))
    ratios = ratios_by_loss(found, 1.0)
    assert set(ratios.values()) == {0.5}
    assert np.isclose(prune(segmenter, ratios).macs_after, prune(segmenter, 0.5).macs_after)


@pytest.mark.parametrize(
    "text", ["", "[]", "{}}", json.dumps({"w": {"2.0": 0.1}}), json.dumps({"w": {"0.5": "x"}}), "[1]"]
)
def test_other_files_are_refused(text, segmenter, tmp_path):
    file = tmp_path / "s.json"
    file.write_text(text)
    with pytest.raises(InputError, match="not a file of sensitivities"):
        load(file)


@pytest.mark.parametrize(
    "content",
    [
        b"[" * 100_000,
        b'{"w": ' * 50_000,
        b'{"w": {"0.5": 1' + b"0" * 5000 + b"}}",
        b'{"w": {"0.5": true, "0.6": "0.1"}}',
        b"\x80\x02}r\xff\xff\xff\x7f.",  # a memo of two thousand million objects, in eight bytes
        b"\x80\x04\x95\xff\xff\xff\xff\xff\xff\xff\x7f.",
        b"\x80\x02\x8b\xff\xff\xff\x7f.",
        b"\x80\x02" + b"(" * 1_000_000 + b".",
        b"\x80\x02cos\nsystem\nU\x02ls\x85R.",
        b"\x80\x02cnumpy\ndtype\nU\x0bS2147483647\x85R.",
        b"{}" + b" " * (5 << 20),
    ],
    ids=["lists", "tables", "digits", "words", "memo", "frame", "number", "marks", "program", "dtype", "size"],
)
def test_bombs_are_refused_at_once(tmp_path, content):
    (tmp_path / "s").write_bytes(content)
    start = time.process_time()
    with pytest.raises(InputError, match=r"not a file of sensitivities|more than 4 MiB"):
        load(tmp_path / "s")
    assert time.process_time() - start < 5


def test_missing_file_and_useless_metric_are_errors(segmenter, tmp_path):
    with pytest.raises(InputError, match="no such file"):
        load(tmp_path / "none.json")
    with pytest.raises(InputError, match="before pruning is 0"):
        measure(segmenter, lambda program: 0.0, tmp_path / "s.json")

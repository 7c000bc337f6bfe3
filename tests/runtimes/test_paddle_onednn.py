"""Paddle on the CPU trusts oneDNN only after a look: where its masks differ from plain Paddle's, it is switched off."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import zoo
from heads import HEADS, HEIGHT, WIDTH, make_paddle, tensor
from installed import require

from segexport.artifact import ModelArtifact
from segexport.exporter import program
from segexport.process.worker import Worker
from segexport.runtimes.base import RunOptions
from segexport.runtimes.paddle import Paddle

REPOSITORY = Path(__file__).resolve().parents[2]


def test_a_model_that_onednn_computes_well_stays_with_it(tmp_path):
    require("paddle")
    with Paddle().open(make_paddle(HEADS["logits"], tmp_path), RunOptions(timeout_s=60)) as session:
        for seed in range(4):
            session.infer([tensor(seed)])
        assert session.info.provider == "oneDNN"
        assert session.info.notes == ()


def test_without_onednn_nothing_is_compared(tmp_path):
    require("paddle")
    options = RunOptions(timeout_s=60, options={"onednn": False})
    with Paddle().open(make_paddle(HEADS["logits"], tmp_path), options) as session:
        np.testing.assert_array_equal(session.infer([tensor()]).mask, HEADS["logits"].mask(tensor()))
        assert session.info.provider == "plain"


def seaformer(shared_dir: Path, tmp_path: Path) -> tuple[ModelArtifact, zoo.Filled]:
    """With seeded weights, and what plain Paddle makes of a seeded image."""
    filled = zoo.fill(shared_dir / "zoo/seaformer_tiny.pdmodel", tmp_path / "filled")
    read = program.read(filled.model, filled.params)
    template = make_paddle(HEADS["logits"], tmp_path).manifest
    files = tuple(
        entry.model_copy(update={"path": path.name})
        for entry, path in zip(template.files, (filled.model, filled.params), strict=True)
    )
    manifest = template.model_copy(
        update={"inputs": tuple(read.inputs()), "outputs": tuple(read.outputs()), "files": files}
    )
    artifact = ModelArtifact(filled.model.parent, manifest)
    return artifact, filled


@pytest.mark.slow
@pytest.mark.shared
def test_a_transformer_that_onednn_gets_wrong_runs_without_it(shared_dir, tmp_path):
    require("paddle")
    artifact, filled = seaformer(shared_dir, tmp_path)
    with Paddle().open(artifact, RunOptions(timeout_s=120)) as session:
        assert session.info.provider == "oneDNN"
        found = session.infer(filled.feed)
        assert session.info.provider == "plain"
        (note,) = session.info.notes
        assert note.startswith("oneDNN gave another mask than plain Paddle on ")
        (raw,) = session.outputs(filled.feed)
        (expected,) = filled.outputs
        np.testing.assert_array_equal(raw.argmax(1), found.mask[None])
        assert (found.mask == expected[0].argmax(0)).mean() > 0.9999
        assert len(session.bench(filled.feed, 1)) == 1


@pytest.mark.slow
@pytest.mark.shared
@pytest.mark.parametrize("first", ["outputs", "bench"])
def test_whatever_is_asked_first_is_looked_at(shared_dir, tmp_path, first):
    require("paddle")
    artifact, filled = seaformer(shared_dir, tmp_path)
    with Paddle().open(artifact, RunOptions(timeout_s=120)) as session:
        session.outputs(filled.feed) if first == "outputs" else session.bench(filled.feed, 1)
        assert session.info.provider == "plain"


SWAPPED = '''
"""The worker, with predictors whose masks are given: how the self-check decides."""
import sys
sys.path.insert(0, {workers!r})
import numpy as np
import paddle_worker

class Predictor:
    def __init__(self, wrong_pixels):
        self.wrong = wrong_pixels
    def get_input_names(self): return ["x"]
    def get_output_names(self): return ["y"]
    def get_input_handle(self, name): return self
    def get_output_handle(self, name): return self
    def copy_from_cpu(self, array): self.array = array
    def run(self): pass
    def copy_to_cpu(self):
        scores = np.concatenate([self.array[:, :1], -self.array[:, :1]], axis=1)
        flat = scores.reshape(1, 2, -1)
        flat[:, :, : self.wrong] *= -1
        return scores

def set_up(arguments, arrays):
    plain = Predictor(0)
    paddle_worker._state.update(
        predictor=Predictor(arguments["wrong"]), plain=plain, to_check=paddle_worker.CHECKED_INPUTS,
        specs=[{{"name": "y", "semantics": "logits", "layout": "NCHW"}}],
    )
    return {{}}, []

def state(arguments, arrays):
    s = paddle_worker._state
    return {{"to_check": s["to_check"], "plain": s["plain"] is not None, "wrong": s["predictor"].wrong}}, []

COMMANDS = {{"set_up": set_up, "state": state, "infer": paddle_worker.infer}}
'''


@pytest.fixture
def checked(tmp_path):
    require("paddle")
    script = tmp_path / "swapped_worker.py"
    script.write_text(SWAPPED.format(workers=str(REPOSITORY / "runtimes" / "workers")))
    with Worker(script, needs="paddle") as worker:
        yield lambda command, arguments=None, arrays=(): worker.call(command, arguments, arrays, timeout_s=60)


def test_how_the_self_check_decides(checked):
    x = tensor() + 10  # far from 0, so that a swapped sign is another class
    pixels = HEIGHT * WIDTH

    checked("set_up", {"wrong": 0})
    for left, kept in ((1, True), (0, False), (0, False)):  # two inputs are looked at, then the second copy goes
        answer, (mask,) = checked("infer", {"margin": False}, [x])
        assert "changed" not in answer
        assert mask.sum() == 0
        assert checked("state")[0] == {"to_check": left, "plain": kept, "wrong": 0}

    checked("set_up", {"wrong": 3})
    answer, (mask,) = checked("infer", {"margin": False}, [x])
    assert answer["changed"] == {
        "provider": "plain",
        "note": f"oneDNN gave another mask than plain Paddle on {3 / pixels:.2%} of the pixels, so it was switched off",
    }
    assert mask.sum() == 0  # the answer is already the plain one's
    assert checked("state")[0] == {"to_check": 0, "plain": False, "wrong": 0}
    answer, _ = checked("infer", {"margin": False}, [x])
    assert "changed" not in answer

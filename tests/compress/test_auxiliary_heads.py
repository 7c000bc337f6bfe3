"""Programs with several heads: each has its loss, and what comes out has the main one alone."""

from __future__ import annotations

import numpy as np
import paddle
import programs
import pytest
from bands import write_data, write_model

from segexport.artifact import read_artifact, write_artifact
from segexport.compress.batches import Batch
from segexport.compress.finetune import Finetune
from segexport.compress.live_program import LiveProgram
from segexport.compress.objective import Objective
from segexport.compress.training_options import TrainingOptions
from segexport.errors import InputError
from segexport.exporter.program import read
from segexport.pipeline.step import StepContext


class TwoHeads(paddle.nn.Layer):
    """Scores of three classes from a shared layer: at the image's size, and at half of it."""

    def __init__(self):
        super().__init__()
        self.shared = paddle.nn.Conv2D(3, 8, 3, padding=1)
        self.main = paddle.nn.Conv2D(8, 3, 1)
        self.auxiliary = paddle.nn.Conv2D(8, 3, 1, stride=2)

    def forward(self, image):
        shared = paddle.nn.functional.relu(self.shared(image))
        return self.main(shared), self.auxiliary(shared)


@pytest.fixture(scope="module")
def two_heads(tmp_path_factory):
    paddle.seed(5)
    return programs.export(TwoHeads(), tmp_path_factory.mktemp("two"), [-1, 3, 32, 32])


def losses(program, *weights: float) -> dict[str, float]:
    random = np.random.default_rng(0)
    batch = Batch(random.normal(size=(2, 3, 32, 32)).astype(np.float32), random.integers(0, 3, (2, 32, 32)))
    options = TrainingOptions(steps=1, multi_loss_weight=weights, losses={"cross_entropy": 1.0, "dice": 1.0})
    found = Objective(program, None, options).losses(LiveProgram(program), batch)
    return {name: float(value) for name, value in found.items()}


def test_the_losses_of_the_heads_are_added_by_their_weights(two_heads):
    main, both = losses(two_heads, 1.0), losses(two_heads, 1.0, 1.0)
    weighted = losses(two_heads, 0.5, 0.25)
    assert set(main) == {"cross_entropy", "dice"}
    for name, value in main.items():
        auxiliary = both[name] - value
        assert auxiliary > 0.1
        assert weighted[name] == pytest.approx(0.5 * value + 0.25 * auxiliary, rel=1e-5)


def test_a_weight_without_a_head_is_refused(two_heads):
    with pytest.raises(InputError, match="multi_loss_weight has 3 weights, the model has 2 outputs"):
        losses(two_heads, 1.0, 0.4, 0.4)


def test_auxiliary_heads_are_trained_and_taken_off(two_heads, tmp_path):
    data = write_data(tmp_path / "data")
    source = write_model(two_heads, tmp_path / "model")
    assert len(source.manifest.outputs) == 2
    out = tmp_path / "out"
    out.mkdir()
    params = Finetune.Params(steps=4, batch_size=3, learning_rate=1e-2, multi_loss_weight=(1.0, 0.4))
    manifest = Finetune(params).run(source, out, StepContext(key="k", data=data, timeout_s=120))
    write_artifact(out, manifest)
    trained = read_artifact(out)
    program = read(trained.file("model"), trained.file("params"))
    assert [spec.name for spec in trained.manifest.outputs] == two_heads.fetch_names[:1] == program.fetch_names
    assert [len(each.params) for each in (two_heads, program)] == [6, 4]
    assert manifest.lineage[-1].notes[-1] == "auxiliary heads, taken off: 1"
    shared = next(name for name, value in program.params.items() if value.shape == (8, 3, 3, 3))
    assert np.abs(program.params[shared] - two_heads.params[shared]).max() > 1e-3


@pytest.fixture(autouse=True)
def _own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("SEGEXPORT_CACHE", str(tmp_path / "cache"))

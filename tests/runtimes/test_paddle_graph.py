"""Masks come from plain Paddle; its optimized program is watched, and trusted with time alone, once it is proven."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import numpy as np
import pytest
import zoo
from fakes import FakeSession
from faults import make_images, make_networks
from heads import HEADS, make_paddle, tensor
from installed import require

from segexport import preprocess
from segexport.artifact import ModelArtifact
from segexport.data.dataset import Dataset
from segexport.errors import WorkerCrashed
from segexport.exporter import program
from segexport.exporter.from_paddle import ImportOptions, import_model
from segexport.files.store import Store
from segexport.measure.mask_proof import MaskProof
from segexport.runtimes.agreement import agreement
from segexport.runtimes.base import Prediction, RunOptions, Session
from segexport.runtimes.objects import Objects
from segexport.runtimes.paddle import PaddleRuntime
from segexport.runtimes.watched import WatchedSession, proof_of, timed_graph

IMAGES = 4


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, ModelArtifact]:
    require("paddle")
    folder = tmp_path_factory.mktemp("networks")
    store = Store(folder / "store")
    made = make_networks(folder / "networks")
    return {path.name: import_model(path, ImportOptions(), store) for path in made.iterdir()}


@pytest.fixture(scope="module")
def tensors(models, tmp_path_factory) -> list[np.ndarray]:
    data = Dataset.open(make_images(tmp_path_factory.mktemp("data") / "images", IMAGES))
    return [preprocess.apply(models["sound"].manifest.preprocess, sample.image)[0] for sample in data]


def opened(artifact: ModelArtifact, graph: str = "plain") -> Session:
    return PaddleRuntime().open(artifact, RunOptions(timeout_s=60, options={"graph": graph}))


def fresh_masks(artifact: ModelArtifact, tensors: list[np.ndarray]) -> list[np.ndarray]:
    """Of plain Paddle, each in a process that has seen nothing else."""
    found = []
    for one in tensors:
        with opened(artifact) as session:
            found.append(session.infer([one]).mask)
    return found


def test_plain_is_what_runs_unasked(models, tensors):
    for name, artifact in models.items():
        with PaddleRuntime().open(artifact, RunOptions(timeout_s=60)) as session:
            assert session.info.provider == "plain"
            found = [session.infer([one]).mask for one in tensors[:2]]
        for mask, expected in zip(found, fresh_masks(artifact, tensors[:2]), strict=True):
            np.testing.assert_array_equal(mask, expected, name)


def test_plain_is_what_numpy_gives(tmp_path):
    require("paddle")
    with opened(make_paddle(HEADS["logits"], tmp_path)) as session:
        np.testing.assert_array_equal(session.infer([tensor()]).mask, HEADS["logits"].mask(tensor()))


def test_a_filter_of_the_first_image_is_seen_on_the_second(models, tensors):
    """If Paddle fixes this, the network no longer shows what it is here for."""
    with opened(models["dynamic_filter"], "optimized") as session:
        assert session.info.provider == "oneDNN"
        found = [session.infer([one]).mask for one in tensors]
    same = [(a == b).mean() for a, b in zip(found, fresh_masks(models["dynamic_filter"], tensors), strict=True)]
    assert same[0] == 1.0
    assert max(same[1:]) < 0.99


@pytest.mark.parametrize(
    ("name", "differing"), [("sound", (0, 0)), ("dynamic_filter", (IMAGES - 1, IMAGES - 1)), ("attention", (1, IMAGES))]
)
def test_the_twin_is_held_against_the_plain_program_on_every_image(models, tensors, name, differing):
    with opened(models[name], "watched") as session:
        masks = [session.infer([one]).mask for one in tensors]
    for mask, expected in zip(masks, fresh_masks(models[name], tensors), strict=True):
        np.testing.assert_array_equal(mask, expected)
    proof = proof_of(session)
    assert (proof.optimized, proof.images, proof.fault) == ("oneDNN", IMAGES, "")
    assert differing[0] <= proof.differing_images <= differing[1]
    assert proof.holds == (name == "sound")
    assert timed_graph(proof_of(session)) == ("optimized" if name == "sound" else "plain")
    assert session.info.provider == "plain"
    (note,) = session.info.notes
    assert note == proof.note
    if name == "sound":
        assert f"oneDNN gave the same on all {IMAGES} images" in note
    else:
        assert f"oneDNN gives others on {proof.differing_images} of {IMAGES} images" in note
        assert "no latency ratio is taken to them" in note


def test_a_pass_that_ends_its_process_leaves_the_plain_program_running(models, tensors):
    with pytest.raises(WorkerCrashed, match="was killed by SIGSEGV during 'open'"):
        opened(models["words"], "optimized")
    with opened(models["words"], "watched") as session:
        assert session.infer([tensors[0]]).mask.any()
        assert session.infer([tensors[1]], margin=True).margin is not None
    proof = proof_of(session)
    assert proof == MaskProof(fault="paddle: the process was killed by SIGSEGV during 'open'")
    assert timed_graph(proof_of(session)) == "plain"
    assert "the optimized program failed (paddle: the process was killed by SIGSEGV" in session.info.notes[0]


def test_a_twin_that_dies_on_the_way_is_given_up(models, tensors):
    with opened(models["sound"], "watched") as session:
        session.infer([tensors[0]])
        session.infer([tensors[1]])
        assert proof_of(session).holds
        os.kill(session._twin.pid, signal.SIGABRT)
        expected = fresh_masks(models["sound"], tensors[2:4])
        for one, mask in zip(tensors[2:4], expected, strict=True):
            np.testing.assert_array_equal(session.infer([one]).mask, mask)
        proof = proof_of(session)
    assert (proof.images, proof.holds) == (2, False)
    assert "was killed by SIGABRT" in proof.fault


def test_one_image_twice_proves_nothing(models, tensors):
    with opened(models["dynamic_filter"], "watched") as session:
        session.infer([tensors[0]])
        session.infer([tensors[0]])
        proof = proof_of(session)
        assert (proof.images, proof.differing_images, proof.holds) == (1, 0, False)
        assert "1 image cannot show whether oneDNN gives the same" in proof.note
        session.infer([tensors[1]])
        assert proof_of(session).differing_images == 1


def test_two_images_on_their_way_are_each_held_against_their_own():
    masks = {1.0: np.zeros((2, 2), np.uint8), 2.0: np.ones((2, 2), np.uint8)}

    class Queue(FakeSession):
        ahead = 2

        def __init__(self, wrong=()):
            super().__init__(lambda x: masks[float(x.flat[0])])
            self.waiting, self.wrong = [], wrong

        def submit(self, tensors, *, margin=False):
            self.waiting.append(tensors[0])

        def result(self):
            one = self.waiting.pop(0)
            mask = self._model(one)
            return Prediction(1 - mask if float(one.flat[0]) in self.wrong else mask, None, True, 1.0, 0.5)

    one, two = (np.full((1, 3, 2, 2), value, np.float32) for value in (1.0, 2.0))
    session = WatchedSession(Queue(), lambda: Queue(wrong=(2.0,)))
    session.submit([one])
    session.submit([two])
    assert session.result().mask.sum() == 0
    assert proof_of(session).agreement_worst == 1.0
    assert session.result().mask.sum() == 4
    proof = proof_of(session)
    assert (proof.images, proof.agreement, proof.agreement_worst, proof.differing_images) == (2, 0.5, 0.0, 1)


def test_objects_are_compared_as_objects():
    def found(*boxes):
        masks = [np.ones((20, 20), bool)] * len(boxes)
        objects = Objects.of([0] * len(boxes), [0.9] * len(boxes), np.array(boxes).reshape(-1, 4), masks, (20, 20))
        return Prediction(np.zeros((0, 0), np.uint8), None, True, 1.0, 0.5, objects=objects)

    one = found((0, 0, 10, 10), (10, 10, 20, 20))
    assert agreement(one, one) == 1.0
    assert agreement(one, found((0, 0, 10, 10))) == pytest.approx(2 / 3)
    assert agreement(found(), found()) == 1.0


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
    return ModelArtifact(filled.model.parent, manifest), filled


@pytest.mark.slow
@pytest.mark.shared
def test_a_transformer_that_onednn_gets_wrong(shared_dir, tmp_path):
    require("paddle")
    artifact, filled = seaformer(shared_dir, tmp_path)
    with PaddleRuntime().open(artifact, RunOptions(timeout_s=120, options={"graph": "watched"})) as session:
        found = session.infer(filled.feed)
        (expected,) = filled.outputs
        assert (found.mask == expected[0].argmax(0)).mean() > 0.9999
        assert proof_of(session).differing_images == 1

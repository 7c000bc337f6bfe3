"""The comparison's bookkeeping, on masks small enough to count by hand."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from fakes import FakeSession
from PIL import Image
from recordings import manifest

from segexport.data.dataset import Dataset
from segexport.errors import InputError, WorkerCrashed
from segexport.measure.parity import RANDOM_IMAGES, ModelUnderTest, compare, drawn_number
from segexport.spec import Label, Preprocess, Resize
from segexport.task.base import ScoredClasses
from segexport.task.semantic.certainty import decided_pixels
from segexport.task.semantic.scorer import PixelScorer

HEIGHT, WIDTH = 4, 6
LABELS = tuple(Label(id=index, name=name, rgb=(index, 0, 0)) for index, name in enumerate(("dark", "bright", "third")))


@pytest.fixture
def data(tmp_path: Path) -> Dataset:
    """Four images: column k of image k is bright; the label says class 1 there, and its first pixel is ignored."""
    lines = []
    for k in range(4):
        image = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
        image[:, k] = 255
        label = np.zeros((HEIGHT, WIDTH), np.uint8)
        label[:, k] = 1
        label[0, 0] = 255
        Image.fromarray(image).save(tmp_path / f"{k}.png")
        Image.fromarray(label).save(tmp_path / f"{k}_label.png")
        lines.append(f"{k}.png {k}_label.png")
    (tmp_path / "val.txt").write_text("\n".join(lines))
    (tmp_path / "labels.txt").write_text("dark\nbright\n")
    return Dataset.open(tmp_path)


def bright(tensor: np.ndarray) -> np.ndarray:
    """The right answer."""
    return (tensor[0, 0] > 0).astype(np.uint8)


def contender(name: str, model=bright, **options) -> ModelUnderTest:
    return ModelUnderTest(name, FakeSession(model, **options), manifest(), Preprocess())


def run(
    data: Dataset,
    *exports: ModelUnderTest,
    reference: ModelUnderTest | None = None,
    worst_images: int = 10,
    model_classes: int = 2,
    lookup: np.ndarray | None = None,
):
    classes = ScoredClasses(LABELS[:2], lookup)
    scorer = PixelScorer(manifest(labels=LABELS[:model_classes]), data, classes, worst_images)
    return compare(reference or contender("reference"), exports, data, scorer)


def test_equal_masks_agree_everywhere_and_leave_no_worst_difference(data):
    found = run(data, contender("same"))
    tally = found.exports["same"]
    assert found.names == ("0.png", "1.png", "2.png", "3.png")
    assert tally.agreement == [1.0] * 4
    # 4 images of 24 pixels, one of them ignored; in image 0 the ignored pixel is one of class 1.
    assert found.reference.confusion.tolist() == [[4 * 20 - 3, 0], [0, 4 * 4 - 1]]
    assert (tally.confusion == found.reference.confusion).all()
    assert [counts[:, 1].tolist() for counts in tally.class_counts] == [[3, 3, 3], [4, 4, 4], [4, 4, 4], [4, 4, 4]]
    assert (tally.constant_images, tally.not_finite, tally.repeatable, tally.wrong_shape) == (0, [], True, "")


def test_differences_are_counted_against_the_truth_and_the_reference(data):
    def one_wrong(tensor: np.ndarray) -> np.ndarray:
        mask = bright(tensor)
        mask[3, 5] ^= 1  # truth and reference say 0
        mask[0, 0] ^= 1  # ignored in the truth, but a difference from the reference
        return mask

    found = run(data, contender("wrong", one_wrong), worst_images=2)
    tally = found.exports["wrong"]
    assert tally.agreement == [22 / 24] * 4
    assert tally.confusion.tolist() == [[4 * 20 - 3 - 4, 4], [0, 4 * 4 - 1]]
    # Against the reference's masks nothing is ignored: pixel (0, 0) is 1 in image 0 only.
    assert tally.mask_confusion.tolist() == [[80 - 4 - 3, 4 + 3], [1, 16 - 1]]
    assert len(tally.shown["worst"]) == 2
    assert sorted(-index for _, index, *_ in tally.shown["worst"]) == [0, 1]  # of equally bad images, the first ones


def test_the_worst_images_are_kept_in_constant_number(data):
    def worse_to_the_right(tensor: np.ndarray) -> np.ndarray:
        mask = bright(tensor)
        mask.reshape(-1)[-int(np.flatnonzero(mask[0])[0]) - 1 :] ^= 1  # image k: k + 1 wrong pixels
        return mask

    tally = run(data, contender("e", worse_to_the_right), worst_images=2).exports["e"]
    assert sorted(-index for _, index, *_ in tally.shown["worst"]) == [2, 3]
    assert run(data, contender("e", worse_to_the_right), worst_images=0).exports["e"].shown == {}


def test_the_best_and_a_random_sample_are_kept_too(data):
    def worse_to_the_right(tensor: np.ndarray) -> np.ndarray:
        mask = bright(tensor)
        mask.reshape(-1)[-int(np.flatnonzero(mask[0])[0]) - 1 :] ^= 1
        return mask

    shown = run(data, contender("e", worse_to_the_right), worst_images=1).exports["e"].shown
    indices = {why: sorted(-image.negative_index for image in images) for why, images in shown.items()}
    assert (indices["worst"], indices["best"]) == ([3], [0, 1])
    by_name = sorted(range(4), key=lambda index: drawn_number(f"{index}.png"))
    assert indices["random"] == sorted(by_name[:RANDOM_IMAGES])
    assert drawn_number("0.png") == pytest.approx(0.42979, abs=1e-5)  # the same on every machine


def test_without_labels_the_reference_is_the_truth(data, tmp_path):
    for file in (*tmp_path.glob("*.txt"), *tmp_path.glob("*_label.png")):
        file.unlink()
    found = run(Dataset.open(tmp_path), contender("same"))
    assert found.labelled is False
    assert found.reference.confusion.tolist() == [[80, 0], [0, 16]]


def test_pixels_where_the_reference_was_sure(data):
    def margin(tensor: np.ndarray) -> np.ndarray:
        return np.tile(np.arange(WIDTH, dtype=np.float32), (HEIGHT, 1))  # surer to the right

    def wrong_on_the_left(tensor: np.ndarray) -> np.ndarray:
        mask = bright(tensor)
        mask[:, 0] ^= 1
        return mask

    reference = contender("reference", margin=margin)
    found = run(data, contender("left", wrong_on_the_left), reference=reference)
    tally = found.exports["left"]
    assert tally.agreement == [20 / 24] * 4
    assert tally.decided_agreement == [1.0] * 4
    unsure = run(data, contender("left", wrong_on_the_left)).exports["left"]
    assert np.isnan(unsure.decided_agreement).all()
    assert decided_pixels(None) is None


def test_an_export_that_dies_drops_out_and_the_others_go_on(data):
    calls = []

    def dying(tensor: np.ndarray) -> np.ndarray:
        calls.append(1)
        if len(calls) == 4:  # images 0, 0 again, 1, 2
            raise WorkerCrashed("killed by SIGABRT")
        return bright(tensor)

    found = run(data, contender("dying", dying), contender("sound"))
    assert found.exports["dying"].error.what == "killed by SIGABRT"
    assert len(calls) == 4
    assert found.exports["sound"].agreement == [1.0] * 4


def test_an_export_with_another_class_drops_out(data):
    found = run(data, contender("odd", lambda x: bright(x) + 6), contender("sound"))
    assert found.exports["odd"].error.what == "0.png: the model's mask holds the class 7, but the model has 2 classes"
    assert found.exports["sound"].agreement == [1.0] * 4


def test_a_reference_that_dies_ends_it_and_its_workers(data):
    def dying(tensor: np.ndarray) -> np.ndarray:
        raise WorkerCrashed("killed by SIGKILL")

    other = contender("other")
    with pytest.raises(WorkerCrashed, match="killed by SIGKILL"):
        run(data, other, reference=contender("reference", dying))
    assert other.session.closed  # it has a result that is not read


def test_a_reference_with_another_class_ends_it(data):
    with pytest.raises(InputError, match="holds the class 2, but the model has 2 classes"):
        run(data, reference=contender("reference", lambda x: bright(x) * 2))


def test_masks_of_another_size_are_no_agreement(data):
    found = run(data, contender("half", lambda x: bright(x)[::2, ::2]))
    tally = found.exports["half"]
    assert tally.wrong_shape == "(2, 3) where the reference gives (4, 6)"
    assert tally.agreement == []
    assert len(tally.class_counts) == 4


def test_nan_constant_and_changing_masks_are_noticed(data):
    answers = iter(range(100))
    found = run(
        data,
        contender("nan", finite=False),
        contender("constant", lambda x: np.zeros((HEIGHT, WIDTH), np.uint8)),
        contender("changing", lambda x: np.full((HEIGHT, WIDTH), next(answers) % 2, np.uint8)),
    )
    assert found.exports["nan"].not_finite == list(found.names)
    assert found.exports["constant"].constant_images == 4
    assert found.reference.constant_images == 0
    assert found.exports["changing"].repeatable is False
    assert found.exports["constant"].repeatable is True


def test_classes_are_mapped_before_they_are_scored(data):
    # The model's classes 0, 1, 2 are the data's 1, 0 and none: its "bright" is called 0.
    lookup = np.array([1, 0, 2], np.uint8)
    mapped = contender("reference", lambda x: 1 - bright(x))
    third = contender("third", lambda x: np.full((HEIGHT, WIDTH), 2, np.uint8))
    found = run(data, third, reference=mapped, model_classes=3, lookup=lookup)
    assert found.reference.confusion.tolist() == [[77, 0, 0], [0, 15, 0]]
    assert found.exports["third"].confusion.tolist() == [[0, 0, 77], [0, 0, 15]]
    assert found.exports["third"].agreement == [0.0] * 4


def test_each_preprocessing_gets_its_own_tensor(data):
    seen = []

    def model(tensor: np.ndarray) -> np.ndarray:
        seen.append(tensor.shape)
        return bright(tensor)

    larger = ModelUnderTest("e", FakeSession(model), manifest(), Preprocess(geometry=(Resize(width=12, height=8),)))
    found = run(data, larger)
    assert set(seen) == {(1, 3, 8, 12)}
    assert found.exports["e"].wrong_shape.startswith("(8, 12)")


def test_an_image_that_cannot_be_read_ends_it(data):
    (data.root / "2.png").write_text("no image")
    with pytest.raises(InputError, match=r"2\.png: not an image \(val.txt, line 3\)"):
        run(data, contender("e"))


def test_the_first_image_runs_twice_and_the_others_once(data):
    export, reference = contender("e"), contender("reference")
    run(data, export, reference=reference)
    assert (export.session.runs, reference.session.runs) == (5, 5)

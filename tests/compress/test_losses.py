"""Each loss beside a value that is worked out by hand, and beside a plain NumPy form of its paper's formula."""

from __future__ import annotations

import math

import numpy as np
import paddle
import pytest

from segexport.compress import losses

IGNORED = 255


def tensor(values) -> paddle.Tensor:
    found = paddle.to_tensor(np.float32(values))
    found.stop_gradient = False
    return found


def label(*rows) -> paddle.Tensor:
    return paddle.to_tensor(np.array([rows], np.int64))


# One image, two classes, one row of two pixels: class probabilities of the first pixel, then of the second.
def logits(first, second) -> paddle.Tensor:
    return tensor(np.log([[[[first[0], second[0]]], [[first[1], second[1]]]]]))


NET = ((0.5, 0.5), (0.8, 0.2))


def some(classes: int = 4, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Logits (2, classes, 5, 6) and labels with ignored pixels."""
    random = np.random.default_rng(seed)
    truth = random.integers(0, max(classes, 2), (2, 5, 6))
    truth[random.random(truth.shape) < 0.2] = IGNORED
    return random.normal(0, 2, (2, classes, 5, 6)).astype(np.float32), truth


def softmax(values: np.ndarray) -> np.ndarray:
    values = np.exp(values.astype(np.float64) - values.max(1, keepdims=True))
    return values / values.sum(1, keepdims=True)


def rows(values: np.ndarray, truth: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(pixels, classes) and (pixels,) of what is not ignored."""
    keep = truth.reshape(-1) != IGNORED
    return values.transpose(0, 2, 3, 1).reshape(-1, values.shape[1])[keep], truth.reshape(-1)[keep]


# -- cross entropy -----------------------------------------------------------------------------------------------------


def test_cross_entropy_skips_what_is_ignored():
    assert float(losses.cross_entropy(logits(*NET), label([1, 255]))) == pytest.approx(-math.log(0.5), rel=1e-5)
    expected = -(math.log(0.5) + math.log(0.8)) / 2
    assert float(losses.cross_entropy(logits(*NET), label([1, 0]))) == pytest.approx(expected, rel=1e-5)
    assert float(losses.cross_entropy(logits(*NET), label([1, 7]), 7)) == pytest.approx(-math.log(0.5), rel=1e-5)


def test_cross_entropy_with_class_weights():
    found = losses.cross_entropy(logits(*NET), label([1, 0]), weights=paddle.to_tensor([1.0, 3.0]))
    assert float(found) == pytest.approx(-(3 * math.log(0.5) + math.log(0.8)) / 4, rel=1e-5)


def test_cross_entropy_is_that_of_paddle():
    values, truth = some()
    weights = paddle.to_tensor(np.float32([0.5, 2, 1, 0.1]))
    found = losses.cross_entropy(paddle.to_tensor(values), paddle.to_tensor(truth), weights=weights)
    flat, kept = rows(values, truth)
    own = paddle.nn.functional.cross_entropy(paddle.to_tensor(flat), paddle.to_tensor(kept), weight=weights)
    assert float(found) == pytest.approx(float(own), rel=1e-5)


def test_dynamic_weights_by_hand():
    """6 counted pixels: 4, 1 and 1 of the classes. 6/5, 6/2, 6/2 have the sum 7.2, and 3 is shared out."""
    weights = losses.dynamic_weights(label([0, 0, 0, 0, 1, 2, 255]), 3)
    np.testing.assert_allclose(weights.numpy(), [0.5, 1.25, 1.25], rtol=1e-6)


# -- binary cross entropy ----------------------------------------------------------------------------------------------


def test_bce_by_hand():
    """Logits 0 and ln 3: sigmoids 1/2 and 3/4. Pixel 1 is of class 1, pixel 2 is ignored."""
    net = tensor([[[[0.0, 9.0]], [[math.log(3), 9.0]]]])
    expected = -(math.log(0.5) + math.log(0.75)) / 2
    assert float(losses.bce(net, label([1, 255]))) == pytest.approx(expected, rel=1e-5)
    weighted = -(2 * math.log(0.5) + 4 * math.log(0.75)) / 2
    found = losses.bce(net, label([1, 255]), weights=paddle.to_tensor([2.0, 4.0]))
    assert float(found) == pytest.approx(weighted, rel=1e-5)


def test_bce_of_one_channel_by_hand():
    net = tensor([[[[math.log(3), math.log(3)]]]])
    assert float(losses.bce(net, label([1, 0]))) == pytest.approx(-(math.log(0.75) + math.log(0.25)) / 2, rel=1e-5)


@pytest.mark.parametrize("classes", [1, 4])
def test_bce_is_the_formula(classes):
    values, truth = some(classes)
    flat, kept = rows(values.astype(np.float64), truth)
    hot = (kept == 1)[:, None] if classes == 1 else np.eye(classes)[kept]
    sigmoid = 1 / (1 + np.exp(-flat))
    expected = -(hot * np.log(sigmoid) + (1 - hot) * np.log(1 - sigmoid)).mean()
    assert float(losses.bce(paddle.to_tensor(values), paddle.to_tensor(truth))) == pytest.approx(expected, rel=1e-5)


def test_bce_of_large_logits_is_finite():
    net = tensor([[[[1000.0, -1000.0]]]])
    loss = losses.bce(net, label([0, 1]))
    loss.backward()
    assert float(loss) == 1000
    assert np.isfinite(net.grad.numpy()).all()


# -- Dice --------------------------------------------------------------------------------------------------------------


def test_dice_by_hand():
    """p = (1/2, 4/5) of class 0 and (1/2, 1/5) of class 1; the truth is class 1, then class 0."""
    zero = 1 - (2 * 0.8 + 1) / (0.25 + 0.64 + 1 + 1)
    one = 1 - (2 * 0.5 + 1) / (0.25 + 0.04 + 1 + 1)
    assert float(losses.dice(logits(*NET), label([1, 0]))) == pytest.approx((zero + one) / 2, rel=1e-5)


def test_dice_is_the_formula():
    values, truth = some()
    found, kept = rows(softmax(values), truth)
    hot = np.eye(4)[kept]
    ratio = (2 * (found * hot).sum(0) + 1) / ((found**2).sum(0) + (hot**2).sum(0) + 1)
    assert float(losses.dice(paddle.to_tensor(values), paddle.to_tensor(truth))) == pytest.approx(
        1 - ratio.mean(), rel=1e-5
    )


# -- Lovász ------------------------------------------------------------------------------------------------------------


def test_lovasz_by_hand():
    """Class 0 in pixel 1 alone, probabilities 0.6 and 0.3: errors 0.4 and 0.3; class 1 the same.

    The largest error first misses the whole class: the Jaccard loss is 1 at once, and nothing is added by the second.
    """
    net = logits((0.6, 0.4), (0.3, 0.7))
    # Class 1 is in pixel 2: errors 0.4 (a false alarm, 1/2) and 0.3 (then missed, another 1/2).
    expected = (0.4 * 1 + 0.3 * 0 + 0.4 * 0.5 + 0.3 * 0.5) / 2
    assert float(losses.lovasz(net, label([0, 1]))) == pytest.approx(expected, rel=1e-5)


def test_lovasz_hinge_by_hand():
    """Margins of z = 0.5, -2 for the truth 1, 1: hinges 0.5 and 3. Sorted: 3 misses one of two, 0.5 the other."""
    net = tensor([[[[0.5, -2.0]]]])
    assert float(losses.lovasz(net, label([1, 1]))) == pytest.approx(3 * 0.5 + 0.5 * 0.5, rel=1e-5)


def jaccard_loss(wrong: np.ndarray, inside: np.ndarray) -> float:
    """1 - |A and B| / |A or B| where the pixels `wrong` are mispredicted (the paper's equation 6)."""
    return wrong.sum() / (inside | wrong).sum() if (inside | wrong).any() else 0.0


def lovasz_reference(errors: np.ndarray, inside: np.ndarray) -> float:
    """The extension by its definition (equation 9): what each pixel adds to the set loss, largest error first."""
    total, wrong, before = 0.0, np.zeros(len(errors), bool), 0.0
    for index in np.argsort(-errors, kind="stable"):
        wrong[index] = True
        after = jaccard_loss(wrong, inside)
        total, before = total + errors[index] * (after - before), after
    return total


def test_lovasz_is_the_definition():
    values, truth = some()
    found, kept = rows(softmax(values), truth)
    expected = [lovasz_reference(np.abs((kept == each) - found[:, each]), kept == each) for each in np.unique(kept)]
    own = losses.lovasz(paddle.to_tensor(values), paddle.to_tensor(truth))
    assert float(own) == pytest.approx(np.mean(expected), rel=1e-4)
    values, truth = some(1)
    flat, kept = rows(values, truth)
    expected = lovasz_reference(np.maximum(0, 1 - flat[:, 0] * (2 * kept - 1)), kept == 1)
    own = losses.lovasz(paddle.to_tensor(values), paddle.to_tensor(truth))
    assert float(own) == pytest.approx(expected, rel=1e-4)


# -- all ---------------------------------------------------------------------------------------------------------------

ALL = [losses.cross_entropy, losses.bce, losses.dice, losses.lovasz]


@pytest.mark.parametrize("classes", [1, 3])
@pytest.mark.parametrize("loss", ALL)
def test_an_unlabelled_batch_costs_nothing(loss, classes):
    net = tensor(some(classes)[0])
    found = loss(net, paddle.full([2, 5, 6], IGNORED, "int64"))
    found.backward()
    assert float(found) == 0
    assert not net.grad.numpy().any()


@pytest.mark.parametrize("classes", [1, 3])
@pytest.mark.parametrize("loss", ALL)
def test_descending_along_the_gradient_leads_to_the_truth(loss, classes):
    """Half of the pixels ignored: they get no gradient, the others end right."""
    values, truth = some(classes)
    net = paddle.create_parameter(
        list(values.shape), "float32", default_initializer=paddle.nn.initializer.Assign(values)
    )
    optimizer = paddle.optimizer.Adam(0.3, parameters=[net])
    for _ in range(40):
        loss(net, paddle.to_tensor(truth)).backward()
        optimizer.step()
        optimizer.clear_grad()
    flat, kept = rows(net.numpy(), truth)
    assert ((flat[:, 0] > 0) if classes == 1 else flat.argmax(1)).tolist() == kept.tolist()
    ignored = np.broadcast_to((truth == IGNORED)[:, None], values.shape)
    assert np.array_equal(net.numpy()[ignored], values[ignored])

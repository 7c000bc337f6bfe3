"""Every value below is worked out by hand from the paper's formula."""

from __future__ import annotations

import math

import numpy as np
import paddle
import pytest

from segexport.compress import distill


def tensor(values) -> paddle.Tensor:
    found = paddle.to_tensor(np.float32(values))
    found.stop_gradient = False
    return found


# One image, two classes, one row of two pixels: class probabilities of the first pixel, then of the second.
def logits(first, second) -> paddle.Tensor:
    return tensor(np.log([[[[first[0], second[0]]], [[first[1], second[1]]]]]))


STUDENT = ((0.5, 0.5), (0.8, 0.2))
TEACHER = ((0.75, 0.25), (0.6, 0.4))


def test_pixel_kl():
    first = 0.75 * math.log(0.75 / 0.5) + 0.25 * math.log(0.25 / 0.5)
    second = 0.6 * math.log(0.6 / 0.8) + 0.4 * math.log(0.4 / 0.2)
    found = float(distill.pixel_kl(logits(*STUDENT), logits(*TEACHER)))
    assert found == pytest.approx((first + second) / 2, rel=1e-5)


def test_pixel_kl_with_temperature():
    """At T = 2 probabilities become the normalized square roots: (0.64, 0.36) -> (0.8, 0.6) / 1.4."""
    student, teacher = logits((0.5, 0.5), (0.5, 0.5)), logits((0.64, 0.36), (0.64, 0.36))
    one = 4 / 7 * math.log(4 / 7 / 0.5) + 3 / 7 * math.log(3 / 7 / 0.5)
    assert float(distill.pixel_kl(student, teacher, 2.0)) == pytest.approx(4 * one, rel=1e-4)


def test_channel_wise():
    """Over two pixels, class 0 of the student: 0.5, 0.8 of 1.3; of the teacher 0.75, 0.6 of 1.35; class 1 likewise."""
    zero = 0.75 / 1.35 * math.log((0.75 / 1.35) / (0.5 / 1.3)) + 0.6 / 1.35 * math.log((0.6 / 1.35) / (0.8 / 1.3))
    one = 0.25 / 0.65 * math.log((0.25 / 0.65) / (0.5 / 0.7)) + 0.4 / 0.65 * math.log((0.4 / 0.65) / (0.2 / 0.7))
    found = float(distill.channel_wise(logits(*STUDENT), logits(*TEACHER), 1.0))
    assert found == pytest.approx((zero + one) / 2, rel=1e-5)


def test_dist():
    """With two classes a pixel is centred to (d, -d), and its correlation is a sign: 0 for the first, then 1.

    Two pixels: a class's centred pairs likewise; the student rises from 0.5 to 0.8, the teacher falls: -1 for both.
    """
    inter, intra = (1 - 0 + 1 - 1) / 2, (1 + 1 + 1 + 1) / 2
    found = float(distill.dist(logits(*STUDENT), logits(*TEACHER)))
    assert found == pytest.approx(inter + intra, abs=1e-4)
    weighted = float(distill.dist(logits(*STUDENT), logits(*TEACHER), inter=2.0, intra=0.5))
    assert weighted == pytest.approx(2 * inter + 0.5 * intra, abs=1e-4)


def test_attention_of_features_of_other_widths():
    """Energies: student (9, 16) -> (9, 16) / sqrt(337); teacher (3 + 1, 0) -> (1, 0)."""
    student = tensor([[[[3.0, 4.0]]]])
    teacher = tensor([[[[math.sqrt(3), 0.0]], [[1.0, 0.0]]]])
    length = math.sqrt(9**2 + 16**2)
    expected = (9 / length - 1) ** 2 + (16 / length) ** 2
    assert float(distill.attention(student, teacher)) == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("loss", [distill.pixel_kl, distill.channel_wise, distill.dist, distill.attention])
def test_equal_tensors_cost_nothing_and_the_teacher_gets_no_gradient(loss):
    random = np.random.RandomState(0)
    values = random.standard_normal((2, 5, 4, 3))
    assert float(loss(tensor(values), tensor(values))) == pytest.approx(0, abs=1e-5)
    student, teacher = tensor(values), tensor(random.standard_normal((2, 5, 4, 3)))
    found = loss(student, teacher)
    found.backward()
    assert float(found) > 1e-3
    assert np.abs(student.grad.numpy()).max() > 0
    assert teacher.grad is None

"""Distillation losses between the logits or the features of a student and a teacher.

Logits are float32 (batch, classes, height, width). Each loss is a scalar with gradients only into the student; the
teacher's tensors are constants.

Imports paddle; only for worker processes and tests.
"""

from __future__ import annotations

from paddle import Tensor
from paddle.nn import functional

from segexport.compress.losses import log_softmax


def pixel_kl(student: Tensor, teacher: Tensor, temperature: float = 1.0) -> Tensor:
    """KL(teacher || student) of each pixel's classes, mean over pixels, times the temperature squared.

    Hinton, Vinyals, Dean: Distilling the Knowledge in a Neural Network (2015), section 2, applied to each pixel.
    """
    known = log_softmax(teacher.detach() / temperature, 1)
    divergence = (known.exp() * (known - log_softmax(student / temperature, 1))).sum(1)
    return divergence.mean() * temperature**2


def channel_wise(student: Tensor, teacher: Tensor, temperature: float = 4.0) -> Tensor:
    """CWD: KL(teacher || student) of each channel's distribution over the pixels, mean over channels, times T squared.

    Shu et al.: Channel-wise Knowledge Distillation for Dense Prediction (ICCV 2021), equations 4 and 5.
    """
    known = log_softmax(teacher.detach().flatten(2) / temperature, 2)
    learned = log_softmax(student.flatten(2) / temperature, 2)
    return (known.exp() * (known - learned)).sum(2).mean() * temperature**2


def dist(student: Tensor, teacher: Tensor, temperature: float = 1.0, inter: float = 1.0, intra: float = 1.0) -> Tensor:
    """DIST: one minus Pearson's correlation, of each pixel's classes (inter) and of each class's pixels (intra).

    Huang et al.: Knowledge Distillation from A Stronger Teacher (NeurIPS 2022), equations 8 to 10; times T squared.
    """
    known = functional.softmax(teacher.detach() / temperature, axis=1).transpose([0, 2, 3, 1]).flatten(0, 2)
    learned = functional.softmax(student / temperature, axis=1).transpose([0, 2, 3, 1]).flatten(0, 2)
    between = (1 - _pearson(learned, known)).mean()
    within = (1 - _pearson(learned.t(), known.t())).mean()
    return (inter * between + intra * within) * temperature**2


def attention(student: Tensor, teacher: Tensor) -> Tensor:
    """Squared distance of two attention maps: energy per pixel, summed over channels, normalized to unit length.

    The number of channels may differ, as after pruning; height and width must be equal. Zagoruyko, Komodakis:
    Paying More Attention to Attention (ICLR 2017), section 3.1, with p = 2; mean over the batch.
    """
    return ((_energy(student) - _energy(teacher.detach())) ** 2).sum(1).mean()


def _energy(feature: Tensor) -> Tensor:
    return functional.normalize((feature**2).sum(1).flatten(1), p=2, axis=1)


def _pearson(a: Tensor, b: Tensor) -> Tensor:
    """Pearson's correlation of the rows of two matrices."""
    a, b = a - a.mean(1, keepdim=True), b - b.mean(1, keepdim=True)
    return (a * b).sum(1) / (a.norm(axis=1) * b.norm(axis=1) + 1e-8)

"""Losses between a model's logits and labels.

Logits are float32 (batch, classes, height, width); a single channel is the logit of class 1 of two. Labels are int64
class ids (batch, height, width). Pixels with `ignore_index` are ignored. Each loss is a scalar; a batch without
labelled pixels gives 0.

Imports paddle; only for worker processes and tests.
"""

from __future__ import annotations

import paddle
from paddle import Tensor
from paddle.nn import functional


def cross_entropy(logits: Tensor, labels: Tensor, ignore_index: int = 255, weights: Tensor | None = None) -> Tensor:
    """Mean of -log p(label) over labelled pixels; with class weights the weighted mean, as in `nn.CrossEntropyLoss`.

    Args:
        weights: float32 (classes,), the weight of a pixel of each class.
    """
    valid, safe = _valid(labels, ignore_index)
    if weights is not None:
        valid = valid * paddle.gather(weights, safe.flatten()).reshape(safe.shape)
    picked = paddle.take_along_axis(log_softmax(two_classes(logits), 1), safe.unsqueeze(1), axis=1).squeeze(1)
    return -(picked * valid).sum() / paddle.clip(valid.sum(), min=1e-6)


def dynamic_weights(labels: Tensor, classes: int, ignore_index: int = 255) -> Tensor:
    """Returns class weights for a batch, inverse to each class's pixel count, with sum `classes`; float32 (classes,).

    PaddleX 1.x's rule for `class_weight='dynamic'`: pixels / (pixels of the class + 1), then scaled. (Its documentation
    says "share of each class * num_classes", which would weight common classes most; its code computes this rule.)
    """
    valid, safe = _valid(labels, ignore_index)
    pixels = (functional.one_hot(safe, classes) * valid.unsqueeze(-1)).sum([0, 1, 2])
    inverse = valid.sum() / (pixels + 1)
    return inverse / paddle.clip(inverse.sum(), min=1e-6) * classes


def bce(logits: Tensor, labels: Tensor, ignore_index: int = 255, weights: Tensor | None = None) -> Tensor:
    """Binary cross entropy of each class against all others, averaged over classes and labelled pixels.

    Multinomial against independent classes: Bishop, Pattern Recognition and Machine Learning (2006), section 4.3.2.
    """
    valid, safe = _valid(labels, ignore_index)
    truth = _one_hot(safe, logits.shape[1])
    # softplus(z) - y z, in a form that never overflows.
    losses = paddle.clip(logits, min=0) - logits * truth + paddle.log1p(paddle.exp(-logits.abs()))
    if weights is not None:
        weights = weights if logits.shape[1] > 1 else weights[1:]
        losses = losses * weights.reshape([1, -1, 1, 1])
    return (losses.mean(1) * valid).sum() / paddle.clip(valid.sum(), min=1)


def dice(logits: Tensor, labels: Tensor, ignore_index: int = 255) -> Tensor:
    """1 - (2 sum p g + 1) / (sum p^2 + sum g^2 + 1) over the batch's pixels, averaged over classes.

    Milletari, Navab, Ahmadi: V-Net (3DV 2016), section 3, with squares in the denominator; the ones give an absent
    class loss 0, as in PaddleSeg's DiceLoss.
    """
    logits = two_classes(logits)
    valid, safe = _valid(labels, ignore_index)
    mask = valid.unsqueeze(1)
    found, truth = log_softmax(logits, 1).exp() * mask, _one_hot(safe, logits.shape[1]) * mask
    common, total = (found * truth).sum([0, 2, 3]), (found**2).sum([0, 2, 3]) + (truth**2).sum([0, 2, 3])
    return (1 - (2 * common + 1) / (total + 1)).mean() * (valid.sum() > 0).astype("float32")


def lovasz(logits: Tensor, labels: Tensor, ignore_index: int = 255) -> Tensor:
    """The Lovász extension of the Jaccard loss over the batch's pixels, averaged over the classes in the labels.

    Berman, Rannen Triki, Blaschko: The Lovász-Softmax loss (CVPR 2018): equations 11 and 12 for several channels, the
    hinge of equations 8 and 9 for one.
    """
    keep = labels.flatten() != ignore_index
    if not bool(keep.any()):
        return logits.sum() * 0
    index = paddle.nonzero(keep).flatten()
    truth = paddle.gather(labels.flatten(), index)
    flat = paddle.gather(logits.transpose([0, 2, 3, 1]).reshape([-1, logits.shape[1]]), index)
    if logits.shape[1] == 1:
        signs = truth.astype("float32") * 2 - 1
        return _lovasz_of(functional.relu(1 - flat[:, 0] * signs), truth.astype("float32"))
    found = log_softmax(flat, 1).exp()
    losses = []
    for each in paddle.unique(truth).tolist():
        inside = (truth == each).astype("float32")
        losses.append(_lovasz_of((inside - found[:, each]).abs(), inside))
    return sum(losses) / len(losses)


def _lovasz_of(errors: Tensor, inside: Tensor) -> Tensor:
    """Sorted errors, largest first, times their increments of the Jaccard loss (the paper's algorithm 1)."""
    order = paddle.argsort(errors.detach(), descending=True)
    truth = paddle.gather(inside, order)
    missed = truth.sum() - truth.cumsum(0)
    jaccard = 1 - missed / (truth.sum() + (1 - truth).cumsum(0))
    steps = paddle.concat([jaccard[:1], jaccard[1:] - jaccard[:-1]])
    return (paddle.gather(errors, order) * steps.detach()).sum()


def two_classes(logits: Tensor) -> Tensor:
    """Expands one channel z to the logits 0 and z, whose softmax is z's sigmoid; keeps several channels unchanged."""
    return logits if logits.shape[1] > 1 else paddle.concat([paddle.zeros_like(logits), logits], axis=1)


def log_softmax(x: Tensor, axis: int) -> Tensor:
    """Replaces Paddle's log_softmax, which takes 14 s for 88 x 49152 on a CPU in Paddle 2.6.2."""
    return x - paddle.logsumexp(x, axis=axis, keepdim=True)


def _valid(labels: Tensor, ignore_index: int) -> tuple[Tensor, Tensor]:
    """Returns a float32 mask of the labelled pixels, and the labels with 0 for all others."""
    counts = labels != ignore_index
    return counts.astype("float32"), paddle.where(counts, labels, paddle.zeros_like(labels))


def _one_hot(labels: Tensor, channels: int) -> Tensor:
    """Returns float32 (batch, channels, height, width); for a single channel, 1 where the label is 1."""
    if channels == 1:
        return (labels == 1).astype("float32").unsqueeze(1)
    return functional.one_hot(labels, channels).transpose([0, 3, 1, 2])

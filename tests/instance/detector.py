"""A two-stage detector of a few kilobytes whose weights are written by hand: it finds red and green shapes on black.

It has the stages of real ones, as their operators: anchors, proposals with suppression, pyramid levels, aligned
regions, suppression per class, masks that are pasted into the image. Feeds and fetches are those of PaddleDetection's
exports: (im_shape, image, scale_factor) to (boxes [n, 6], their number, masks [n, height, width]).

Run as a script it writes an inference program, in a separate process, because Paddle can abort:

    python tests/instance/detector.py OUT_DIR HEIGHTxWIDTH|free [boxes]
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import paddle
from paddle import nn
from paddle.nn import functional as F

CLASSES = ("red", "green")
MEAN, STD = (0.5, 0.5, 0.5), (0.5, 0.5, 0.5)
STRIDES = (4, 8)
ANCHORS = ((12.0, 20.0), (40.0, 56.0))  # sides of each level's squares, in pixels
_BACKGROUND = len(CLASSES)


class Detector(nn.Layer):
    """Colour is class: channel 0 is red, channel 1 is green, after the mean and std above are undone."""

    def __init__(self, masks: bool = True) -> None:
        super().__init__()
        self.masks = masks
        # Brightness above the background: 0 on black, about 1 on a full colour.
        self.color = nn.Conv2D(3, 2, 1)
        self.color.weight.set_value(np.array([[0.5, 0, 0], [0, 0.5, 0]], np.float32).reshape(2, 3, 1, 1))
        self.color.bias.set_value(np.array([0.5, 0.5], np.float32))
        self.objectness = nn.LayerList([_centre_minus_surround(stride, ANCHORS[i]) for i, stride in enumerate(STRIDES)])
        self.classify = nn.Linear(2 * 49, len(CLASSES) + 1)
        weight = np.zeros((2, 49, len(CLASSES) + 1), np.float32)
        weight[0, :, 0] = weight[1, :, 1] = 12.0 / 49
        self.classify.weight.set_value(weight.reshape(98, -1))
        self.classify.bias.set_value(np.array([0, 0, 5.0], np.float32))

    def forward(self, im_shape, image, scale_factor):
        color = self.color(image)
        levels = [F.avg_pool2d(color, stride) for stride in STRIDES]
        rois, probs = [], []
        for index, level in enumerate(levels):
            found, prob, _ = _proposals(self.objectness[index](level), im_shape, level, index)
            rois.append(found)
            probs.append(prob)
        rois, probs = paddle.concat(rois), paddle.concat(probs)
        features = _pooled(levels, rois, 7)
        scores = F.softmax(self.classify(features.flatten(1))) * probs
        boxes = paddle.concat([rois[:, None]] * len(CLASSES), axis=1) / paddle.concat(
            [scale_factor[:, 1:], scale_factor[:, :1]] * 2, axis=1
        )
        number = paddle.shape(rois)[0:1]
        out, number = _class_nms(boxes, scores, number)
        # As PaddleDetection's export does: one row that is no object, so that nothing behind is empty.
        out = paddle.concat([out, paddle.to_tensor([[0.0, 0.0, 0.0, 0.0, 1.0, 1.0]])])
        number = number + 1
        if not self.masks:
            return out, number
        factor = paddle.concat([scale_factor[:, 1:], scale_factor[:, :1]] * 2, axis=1)
        features = _pooled(levels, out[:, 2:] * factor, 14)
        mine = (out[:, :1] < 0.5).astype("float32").reshape([-1, 1, 1, 1])
        values = features[:, :1] * mine + features[:, 1:] * (1 - mine)
        small = F.sigmoid((F.interpolate(values, scale_factor=2, mode="nearest") - 0.5) * 20)
        size = paddle.floor(im_shape / scale_factor + 0.5).astype("int32")
        return out, number, _pasted(small, out[:, 2:], size[0, 0], size[0, 1])


def _centre_minus_surround(stride: int, sides: tuple[float, ...]) -> nn.Conv2D:
    """Objectness of squares about each cell: bright inside, dark around."""
    cells = [round(side / stride) for side in sides]
    kernel = 2 * max(cells) + 1
    conv = nn.Conv2D(2, len(sides), kernel, padding=kernel // 2)
    weight = np.zeros((len(sides), 2, kernel, kernel), np.float32)
    distance = np.abs(np.arange(kernel) - kernel // 2)
    for index, side in enumerate(cells):
        radius = np.maximum(distance[:, None], distance[None, :])
        inside, around = radius <= side / 2, (radius > side / 2) & (radius <= side / 2 + 2)
        weight[index, :] = 16.0 * inside / inside.sum() - 16.0 * around / around.sum()
    conv.weight.set_value(weight)
    conv.bias.set_value(np.full(len(sides), -9.0, np.float32))
    return conv


def _proposals(scores, im_shape, level, index):
    stride, sides = STRIDES[index], ANCHORS[index]
    height, width = paddle.shape(level)[2], paddle.shape(level)[3]
    xs = (paddle.arange(0, width, dtype="float32") + 0.5) * stride
    ys = (paddle.arange(0, height, dtype="float32") + 0.5) * stride
    ys, xs = paddle.meshgrid(ys, xs)
    boxes = [paddle.stack([xs - s / 2, ys - s / 2, xs + s / 2, ys + s / 2], axis=-1) for s in sides]
    anchors = paddle.stack(boxes, axis=2).reshape([-1, 4])
    # Two offsets of a quarter side for each anchor would be a regression; squares on a grid are enough here.
    deltas = paddle.concat([scores] * 4, axis=1) * 0.0
    return paddle.vision.ops.generate_proposals(
        F.sigmoid(scores),
        deltas,
        im_shape,
        anchors,
        paddle.ones_like(anchors),
        pre_nms_top_n=200,
        post_nms_top_n=60,
        nms_thresh=0.7,
        min_size=0.0,
        return_rois_num=True,
    )


def _pooled(levels, rois, size: int):
    number = paddle.shape(rois)[0:1]
    parts, restore, numbers = paddle.vision.ops.distribute_fpn_proposals(rois, 2, 3, 3, 32, rois_num=number)
    found = [
        paddle.vision.ops.roi_align(
            levels[i], parts[i], numbers[i], size, 1.0 / STRIDES[i], sampling_ratio=0, aligned=True
        )
        for i in range(len(STRIDES))
    ]
    return paddle.gather(paddle.concat(found), restore)


def _class_nms(boxes, scores, number):
    from paddle.base.layer_helper import LayerHelper

    helper = LayerHelper("multiclass_nms3")
    out = helper.create_variable_for_type_inference("float32")
    index = helper.create_variable_for_type_inference("int32")
    kept = helper.create_variable_for_type_inference("int32")
    helper.append_op(
        type="multiclass_nms3",
        inputs={"BBoxes": boxes, "Scores": scores[:, : len(CLASSES)], "RoisNum": number},
        outputs={"Out": out, "Index": index, "NmsRoisNum": kept},
        attrs={
            "background_label": _BACKGROUND,
            "score_threshold": 0.05,
            "nms_top_k": -1,
            "nms_threshold": 0.2,
            "keep_top_k": 20,
            "nms_eta": 1.0,
            "normalized": True,
        },
    )
    out.desc.set_shape([-1, 6])
    index.desc.set_shape([-1, 1])
    kept.desc.set_shape([-1])
    return out, kept


def _pasted(small, boxes, height, width):
    """[n, height, width] int32: each small mask where its box is."""
    x0, y0, x1, y1 = paddle.split(boxes, 4, axis=1)
    ys = (paddle.arange(0, height, dtype="float32") + 0.5 - y0) / (y1 - y0) * 2 - 1
    xs = (paddle.arange(0, width, dtype="float32") + 0.5 - x0) / (x1 - x0) * 2 - 1
    n, h, w = paddle.shape(small)[0], paddle.shape(ys)[1], paddle.shape(xs)[1]
    grid = paddle.stack([xs[:, None].expand([n, h, w]), ys[:, :, None].expand([n, h, w])], axis=3)
    return (F.grid_sample(small, grid, align_corners=False)[:, 0] >= 0.5).astype("int32")


def write(folder: Path, size: str, masks: bool = True) -> None:
    """Writes `model.pdmodel` and `model.pdiparams`."""
    height, width = (-1, -1) if size == "free" else map(int, size.split("x"))
    net = Detector(masks)
    net.eval()
    spec = [
        paddle.static.InputSpec([1, 2], "float32", "im_shape"),
        paddle.static.InputSpec([1, 3, height, width], "float32", "image"),
        paddle.static.InputSpec([1, 2], "float32", "scale_factor"),
    ]
    folder.mkdir(parents=True, exist_ok=True)
    paddle.jit.save(paddle.jit.to_static(net, input_spec=spec, full_graph=True), str(folder / "model"))


if __name__ == "__main__":
    paddle.seed(0)
    write(Path(sys.argv[1]), sys.argv[2], masks="boxes" not in sys.argv[3:])

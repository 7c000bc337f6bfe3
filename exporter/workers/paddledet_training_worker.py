"""Trains a detector of PaddleDetection. Commands: build, begin, step, weights.

Network and losses are PaddleDetection's; data, schedule and evaluation are the caller's.
"""

from __future__ import annotations

import numpy as np
from paddledet_worker import create_network, describe, load_weights
from worker_host import WorkerFailure

_training = {}


def build(arguments, _arrays):
    """Builds the network with random weights; returns its weights and classes."""
    network = create_network(arguments, export=False)
    network.train()
    from ppdet.modeling.proposal_generator import target

    target.rasterize_polygons_within_box = _mask_in_box
    _training.update(network=network)
    return describe(network, arguments), []


def begin(arguments, arrays):
    """Loads the weights in `names`, and creates the optimizer."""
    import paddle

    network = _training["network"]
    load_weights(network, arguments["names"], arrays)
    _training["optimizer"] = paddle.optimizer.Momentum(
        learning_rate=arguments["learning_rate"],
        momentum=arguments["momentum"],
        parameters=[each for each in network.parameters() if not each.stop_gradient],
        weight_decay=arguments["weight_decay"],
        grad_clip=paddle.nn.ClipGradByGlobalNorm(arguments["clip_norm"]),
    )
    return {}, []


def step(arguments, arrays):
    """Makes one step; returns the losses before it.

    The arrays are the images (N, 3, H, W) float32 and their sizes in them (N, 2) float32, then of each image the boxes
    (objects, 4) float32 as corners, the classes (objects, 1) int32, and the masks (objects, H, W) uint8.
    """
    import paddle

    network, optimizer = _training["network"], _training["optimizer"]
    images, sizes, *objects = arrays
    inputs = {
        "image": paddle.to_tensor(images),
        "im_shape": paddle.to_tensor(sizes),
        "scale_factor": paddle.ones([len(images), 2]),
        "gt_bbox": [paddle.to_tensor(boxes) for boxes in objects[::3]],
        "gt_class": [paddle.to_tensor(classes) for classes in objects[1::3]],
        "gt_poly": [list(masks) for masks in objects[2::3]],
    }
    losses = network(inputs)
    found = {name: float(value) for name, value in losses.items()}
    if not np.isfinite(found["loss"]):
        listed = ", ".join(f"{name} {value:.3g}" for name, value in found.items())
        raise WorkerFailure(
            "the training diverged: the loss is no number",
            cause=listed,
            hint="a smaller learning_rate, a longer warmup, or pretrained weights",
        )
    losses["loss"].backward()
    optimizer.set_lr(arguments["learning_rate"])
    optimizer.step()
    optimizer.clear_grad()
    return {"losses": found}, []


def weights(_arguments, _arrays):
    """The network's weights, in the order of the answer's `names`."""
    own = _training["network"].state_dict()
    return {"names": list(own)}, [value.numpy() for value in own.values()]


def _mask_in_box(mask, box, resolution):
    """The mask at the centres of a grid over a box: what PaddleDetection makes of polygons, for masks of pixels."""
    import paddle

    left, top, right, bottom = box
    centres = (np.arange(resolution) + 0.5) / resolution
    rows = np.clip(top + centres * (bottom - top), 0, mask.shape[0] - 1).astype(int)
    columns = np.clip(left + centres * (right - left), 0, mask.shape[1] - 1).astype(int)
    return paddle.to_tensor(mask[rows][:, columns].astype(np.int32))


COMMANDS = {"build": build, "begin": begin, "step": step, "weights": weights}

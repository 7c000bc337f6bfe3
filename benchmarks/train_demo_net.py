"""Train the demo's net: a small encoder-decoder that finds nuclei in microscopy images.

    python benchmarks/train_demo_net.py --data NUCLEI --tiles TILES -o OUT [--iterations 2000] [--seed 7]

`NUCLEI` is a folder in PaddleSeg's form (`train.txt`, `val.txt`, `test.txt` with "image label" lines) of images from
the 2018 Data Science Bowl, `TILES` the demo's own tiles. No tile is trained on, and any training image that contains a
patch of the tiles (in any of the eight orientations, normalized cross-correlation at or above 0.7) is left out.

Writes `model.pdmodel`, `model.pdiparams` and `deploy.yaml` into `OUT` as PaddleSeg's export would, and `training.json`.
"""

from __future__ import annotations

import argparse
import json
import time
import zlib  # noqa: F401  (before paddle: paddle 2.6.2 brings its own zlib, and PNG decoding fails or crashes under it)
from pathlib import Path

import cv2
import numpy as np
import paddle
from paddle import concat, nn
from paddle.nn import functional
from stamped import save

from segexport.exporter.program import read

SIDE = 128
SAME_IMAGE_CORRELATION = 0.7


# ---------------------------------------------------------------------------------------------------------------- data
def read_split(folder: Path, split: str) -> list[tuple[str, np.ndarray, np.ndarray]]:
    """Returns (name, RGB uint8 HxWx3, mask uint8 HxW with 1 on nuclei and their borders)."""
    samples = []
    for line in (folder / f"{split}.txt").read_text().split("\n"):
        if line.strip():
            image_path, label_path = line.split()
            image = cv2.cvtColor(cv2.imread(str(folder / image_path)), cv2.COLOR_BGR2RGB)
            label = cv2.imread(str(folder / label_path), cv2.IMREAD_UNCHANGED)
            samples.append((image_path, image, (label > 0).astype(np.uint8)))
    return samples


def overlap_with(tiles_image: np.ndarray, image: np.ndarray) -> float:
    """The best normalized cross-correlation of any corner patch of `image`, in eight orientations, in `tiles_image`."""
    grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
    height, width = grey.shape
    best = 0.0
    for top in (0, height - SIDE):
        for left in (0, width - SIDE):
            patch = grey[top : top + SIDE, left : left + SIDE]
            if patch.std() < 1:
                continue
            for turns in range(4):
                for flipped in (False, True):
                    turned = np.rot90(patch[:, ::-1] if flipped else patch, turns)
                    score = cv2.matchTemplate(tiles_image, np.ascontiguousarray(turned), cv2.TM_CCOEFF_NORMED).max()
                    best = max(best, float(score))
    return best


def augment(image: np.ndarray, mask: np.ndarray, random: np.random.RandomState) -> tuple[np.ndarray, np.ndarray]:
    """A random 128x128 crop at a random scale, rotated, with another stain, contrast, noise and blur."""
    window = int(SIDE / random.uniform(0.55, 1.25))
    window = min(window, *mask.shape)
    top, left = random.randint(mask.shape[0] - window + 1), random.randint(mask.shape[1] - window + 1)
    image = cv2.resize(image[top : top + window, left : left + window], (SIDE, SIDE), interpolation=cv2.INTER_LINEAR)
    mask = cv2.resize(mask[top : top + window, left : left + window], (SIDE, SIDE), interpolation=cv2.INTER_NEAREST)
    turns = random.randint(4)
    image, mask = np.rot90(image, turns), np.rot90(mask, turns)
    if random.rand() < 0.5:
        image, mask = image[:, ::-1], mask[:, ::-1]
    pixels = image.astype(np.float32) / 255
    bright_field = pixels.mean() > 0.4
    if random.rand() < (0.5 if bright_field else 0.1):
        grey = pixels @ np.float32([0.299, 0.587, 0.114])
        if bright_field and random.rand() < 0.7:  # a stain on white becomes a light on black
            grey = np.clip((np.percentile(grey, 95) - grey) * random.uniform(0.3, 1.2), 0, 1)
        pixels = np.repeat(grey[..., None], 3, axis=2)
    pixels = np.clip(pixels, 0, 1) ** random.uniform(0.6, 1.6)
    pixels = pixels * random.uniform(0.5, 1.8) + random.uniform(-0.08, 0.12)
    if random.rand() < 0.3:
        pixels = cv2.GaussianBlur(pixels, (0, 0), random.uniform(0.4, 1.2))
    if random.rand() < 0.6:
        pixels = pixels + random.normal(0, random.uniform(0.005, 0.05), (*pixels.shape[:2], 1))
    return np.clip(pixels, 0, 1).astype(np.float32), np.ascontiguousarray(mask)


def normalize(pixels: np.ndarray) -> np.ndarray:
    """HWC float in [0, 1] to CHW float, mean 0.5 and deviation 0.5."""
    return np.ascontiguousarray(((pixels - 0.5) / 0.5).transpose(2, 0, 1), np.float32)


# ----------------------------------------------------------------------------------------------------------------- net
class ConvBN(nn.Sequential):
    def __init__(self, channels_in, channels_out, kernel=1, stride=1, groups=1, activation=None):
        start = nn.initializer.KaimingNormal()
        shape = (channels_in, channels_out, kernel, stride, kernel // 2)
        convolution = nn.Conv2D(*shape, groups=groups, weight_attr=start, bias_attr=False)
        super().__init__(convolution, nn.BatchNorm2D(channels_out), *([activation()] if activation else []))


class InvertedResidual(nn.Layer):
    """MobileNetV2's block (Sandler et al. 2018, section 3.3)."""

    def __init__(self, channels_in, channels_out, stride=1, expansion=3, activation=nn.ReLU6):
        super().__init__()
        hidden = channels_in * expansion
        self.residual = stride == 1 and channels_in == channels_out
        self.branch = nn.Sequential(
            ConvBN(channels_in, hidden, activation=activation),
            ConvBN(hidden, hidden, 3, stride, groups=hidden, activation=activation),
            ConvBN(hidden, channels_out),
        )

    def forward(self, x):
        return x + self.branch(x) if self.residual else self.branch(x)


class Fuse(nn.Layer):
    """Upsample the deep map to the skip's size, concatenate, and mix with a separable convolution."""

    def __init__(self, deep, skip, channels_out):
        super().__init__()
        total = deep + skip
        self.mix = nn.Sequential(
            ConvBN(total, total, 3, groups=total, activation=nn.ReLU6),
            ConvBN(total, channels_out, activation=nn.ReLU),
        )

    def forward(self, deep, skip):
        deep = functional.interpolate(deep, size=skip.shape[2:], mode="bilinear", align_corners=False)
        return self.mix(concat([deep, skip], axis=1))


class NucleusNet(nn.Layer):
    """Depthwise-separable residual encoder (strides 2 to 16), pooled context, decoder with skips."""

    def __init__(self, classes=2):
        super().__init__()
        self.stem = ConvBN(3, 16, 3, 2, activation=nn.Hardswish)
        self.stage1 = nn.Sequential(InvertedResidual(16, 24, 2), InvertedResidual(24, 24))
        self.stage2 = nn.Sequential(InvertedResidual(24, 48, 2), InvertedResidual(48, 48), InvertedResidual(48, 48))
        self.stage3 = nn.Sequential(
            InvertedResidual(48, 64, 2, activation=nn.Hardswish),
            InvertedResidual(64, 64, activation=nn.Hardswish),
            InvertedResidual(64, 64, activation=nn.Hardswish),
        )
        self.context = nn.Sequential(nn.AdaptiveAvgPool2D(1), ConvBN(64, 64, activation=nn.ReLU))
        self.fuse3, self.fuse2, self.fuse1 = Fuse(64, 48, 48), Fuse(48, 24, 32), Fuse(32, 16, 24)
        self.head = nn.Conv2D(24, classes, 3, padding=1)

    def forward(self, x):
        size = x.shape[2:]
        s2 = self.stem(x)
        s4 = self.stage1(s2)
        s8 = self.stage2(s4)
        s16 = self.stage3(s8)
        s16 = s16 + self.context(s16)
        logits = self.head(self.fuse1(self.fuse2(self.fuse3(s16, s8), s4), s2))
        return functional.interpolate(logits, size=size, mode="bilinear", align_corners=False)


# ------------------------------------------------------------------------------------------------------------ training
def miou(net, samples) -> float:
    """Mean IoU of both classes over 128x128 windows that tile each image; pixels pooled over the images."""
    confusion = np.zeros((2, 2), np.int64)
    net.eval()
    for _, image, mask in samples:
        for top in range(0, mask.shape[0] - SIDE + 1, SIDE):
            for left in range(0, mask.shape[1] - SIDE + 1, SIDE):
                window = image[top : top + SIDE, left : left + SIDE].astype(np.float32) / 255
                with paddle.no_grad():
                    logits = net(paddle.to_tensor(normalize(window)[None])).numpy()[0]
                truth = mask[top : top + SIDE, left : left + SIDE]
                confusion += np.bincount(truth.ravel() * 2 + logits.argmax(0).ravel(), minlength=4).reshape(2, 2)
    net.train()
    hits = np.diag(confusion)
    return float((hits / (confusion.sum(0) + confusion.sum(1) - hits)).mean())


def train(arguments: argparse.Namespace) -> None:
    tiles = [sample for split in ("train", "val", "test") for sample in read_split(arguments.tiles, split)]
    ordered = sorted(tiles, key=lambda sample: sample[0])  # tile_RC: row R and column C of one 512x512 image
    rows = [np.hstack([s[1] for s in ordered[4 * row : 4 * row + 4]]) for row in range(4)]
    whole = cv2.cvtColor(np.vstack(rows), cv2.COLOR_RGB2GRAY)

    candidates = read_split(arguments.data, "train") + read_split(arguments.data, "test")
    overlaps = {name: overlap_with(whole, image) for name, image, _ in candidates}
    samples = [sample for sample in candidates if overlaps[sample[0]] < SAME_IMAGE_CORRELATION]
    held_out = read_split(arguments.data, "val")

    paddle.seed(arguments.seed)
    random = np.random.RandomState(arguments.seed)
    net = NucleusNet()
    net.train()
    steps = arguments.iterations
    rate = paddle.optimizer.lr.LinearWarmup(
        paddle.optimizer.lr.PolynomialDecay(4e-3, steps, end_lr=1e-5, power=0.9), 50, 1e-4, 4e-3
    )
    optimizer = paddle.optimizer.AdamW(rate, parameters=net.parameters(), weight_decay=1e-3)
    dark = np.array([sample[1].mean() < 100 for sample in samples])
    weights = np.where(dark, 0.7 / dark.sum(), 0.3 / (~dark).sum())
    started = time.monotonic()
    for step in range(steps):
        chosen = random.choice(len(samples), arguments.batch, p=weights)
        crops = [augment(samples[index][1], samples[index][2], random) for index in chosen]
        images = paddle.to_tensor(np.stack([normalize(pixels) for pixels, _ in crops]))
        labels = paddle.to_tensor(np.stack([mask for _, mask in crops]).astype(np.int64))
        logits = net(images)
        cross_entropy = functional.cross_entropy(logits, labels, axis=1)
        nucleus, truth = functional.softmax(logits, axis=1)[:, 1], labels.astype("float32")
        dice = 1 - (2 * (nucleus * truth).sum() + 1) / (nucleus.sum() + truth.sum() + 1)
        loss = cross_entropy + 0.5 * dice
        loss.backward()
        optimizer.step()
        optimizer.clear_grad()
        rate.step()
        if step % 100 == 99:
            print(f"{step + 1}/{steps} loss {float(loss):.4f} {time.monotonic() - started:.0f} s", flush=True)

    figures = {
        "iterations": steps,
        "batch": arguments.batch,
        "seed": arguments.seed,
        "seconds": round(time.monotonic() - started),
        "parameters": int(sum(p.size for p in net.parameters() if p.trainable)),
        "images_trained_on": len(samples),
        "images_left_out": {
            name: round(score, 3) for name, score in overlaps.items() if score >= SAME_IMAGE_CORRELATION
        },
        "miou_held_out": round(miou(net, held_out), 4),
        "miou_tiles": round(miou(net, tiles), 4),
    }
    print(json.dumps(figures, indent=1))
    export(net, arguments.output)
    save(arguments.output / "training.json", figures)


def export(net, folder: Path) -> None:
    """Saves with `paddle.jit.save`, without call stacks, which contain paths of the training machine."""
    folder.mkdir(parents=True, exist_ok=True)
    net.eval()
    specification = [paddle.static.InputSpec([1, 3, SIDE, SIDE], "float32", "x")]
    paddle.jit.save(paddle.jit.to_static(net, input_spec=specification, full_graph=True), str(folder / "model"))
    (folder / "model.pdiparams.info").unlink(missing_ok=True)
    program = read(folder / "model.pdmodel", folder / "model.pdiparams")
    program.strip_build_paths()
    program.write(folder)
    (folder / "deploy.yaml").write_text(
        "Deploy:\n  input_shape:\n  - 1\n  - 3\n  - 128\n  - 128\n  model: model.pdmodel\n  output_dtype: float32\n"
        "  output_op: none\n  params: model.pdiparams\n  transforms:\n"
        "  - target_size:\n    - 128\n    - 128\n    type: Resize\n  - type: Normalize\n"
    )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--tiles", type=Path, required=True)
    parser.add_argument("-o", "--output", type=Path, required=True)
    parser.add_argument("--iterations", type=int, default=2000)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--seed", type=int, default=7)
    train(parser.parse_args())

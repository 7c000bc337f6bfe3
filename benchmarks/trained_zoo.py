"""Networks of PaddleSeg trained from nothing on CamVid by `segexport train`, then every export of each.

    python benchmarks/trained_zoo.py train CAMVID --cache FOLDER [--only NAME]... [--steps 1500]
    python benchmarks/trained_zoo.py measure CAMVID --cache FOLDER [--only NAME]... [--to TARGET]...
        [--precision NAME]... [--limit 48]
    python benchmarks/trained_zoo.py publish

`train` needs the toolchain `paddleseg`; images are 256x192, four a step, on one thread. A network that is done is not
trained again, an interrupted one resumes; FOLDER keeps them all. `measure` runs truth_table.py on what is there: mIoU
on CamVid val (one drive, not in train), agreement, size and time of every target and precision. Rows that the results
have are kept, and then published. `publish` writes the rows as `measured.json`, which `segexport recommend` reads, and
docs/which-network.html. The networks have PaddleSeg's smallest published backbones, UNet and OCRNet's head a quarter of
their width; none has pretrained weights, so the mIoU of a row is that of a short training, not that of its
architecture.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from pathlib import Path

import yaml
from stamped import REPOSITORY, RESULTS

from segexport.commands.recommend_network import recommend_network
from segexport.zoo.choice import Wishes
from segexport.zoo.measurements import SHIPPED, as_json, of_results

RESULT = RESULTS / "trained_zoo.json"
PAGE = REPOSITORY / "docs" / "which-network.html"
IMAGE_SIZE = (256, 192)  # width, height
# name -> what `segexport train` is told
NETWORKS: dict[str, list[str]] = {
    "topformer_tiny": ["TopFormer", "--backbone", "TopTransformer_Tiny", "--option", "backbone.lr_mult=1.0"],
    "pp_liteseg_t": ["PPLiteSeg", "--backbone", "STDC1"],
    "fastscnn": ["FastSCNN"],
    "mobileseg_mbv3": ["MobileSeg", "--backbone", "MobileNetV3_large_x1_0"],
    "deeplabv3p_mbv2": ["DeepLabV3P", "--backbone", "MobileNetV2_x1_0"],
    "segformer_b0": ["SegFormer", "--backbone", "MixVisionTransformer_B0", "--option", "embedding_dim=256"],
    "bisenetv2": ["BiSeNetV2"],
    "pp_mobileseg_tiny": [
        *("PPMobileSeg", "--backbone", "MobileSeg_Tiny", "--option", "backbone.inj_type=AAMSx8"),
        *("--option", "backbone.out_feat_chs=[32,64,128]"),
    ],
    "stdc1": ["STDCSeg", "--backbone", "STDC1"],
    "hrnet_w18_small": ["FCN", "--backbone", "HRNet_W18_Small_V1"],
    "unet_small": ["UNet", "--width", "0.25"],
    "ocrnet_hrnet_w18_small": [
        *("OCRNet", "--backbone", "HRNet_W18_Small_V1", "--option", "backbone_indices=[0]"),
        *("--option", "ocr_mid_channels=128", "--option", "ocr_key_channels=64"),
    ],
}  # fmt: skip


def train(name: str, camvid: Path, cache: Path, steps: int) -> None:
    """Trains one network, unless its folder is there."""
    folder = cache / name
    if folder.is_dir():
        return
    command = [sys.executable, "-m", "segexport", "train", *NETWORKS[name], "--data", str(camvid), "-o", str(folder)]
    command += [
        "--image-size",
        "{}x{}".format(*IMAGE_SIZE),
        "--steps",
        str(steps),
        "--batch-size",
        "4",
        "--warmup-steps",
        "50",
    ]
    command += ["--save-interval-epochs", "4", "--head", "logits", "--save-dir", str(cache / f"{name}-training")]
    ended = subprocess.run(command)
    if ended.returncode == 130:
        raise KeyboardInterrupt
    if ended.returncode:
        print(f"{name}: not trained, segexport ended with {ended.returncode}", flush=True)


def measure(names: list[str], camvid: Path, cache: Path, to: list[str], precisions: list[str], limit: int) -> None:
    """Runs truth_table.py on the networks that are trained."""
    command = [sys.executable, str(Path(__file__).with_name("truth_table.py")), str(cache), str(camvid)]
    command += ["--limit", str(limit), "-o", str(RESULT)]
    for name in names:
        if not (cache / name).is_dir():
            continue
        recipe = cache / f"{name}.yaml"
        data = {"path": str(camvid.resolve()), "split": "val"}
        recipe.write_text(yaml.safe_dump({"model": {"path": str((cache / name).resolve())}, "data": data}))
        command += ["--recipe", str(recipe), "--only", name]
    if "--recipe" not in command:
        raise SystemExit(f"{cache}: no trained network; run `train` first")
    for target in to:
        command += ["--to", target]
    for precision in precisions:
        command += ["--precision", precision]
    subprocess.run(command, check=True)


def publish() -> None:
    """Writes what `segexport recommend` ships, and its page."""
    content = json.loads(RESULT.read_text(encoding="utf-8"))
    found = of_results(
        content["results"],
        content["stamp"],
        data="CamVid",
        image_size=IMAGE_SIZE,
        train={name: NETWORKS[name] for name in NETWORKS if any(key.split()[0] == name for key in content["results"])},
    )
    SHIPPED.write_text(as_json(found), encoding="utf-8")
    recommend_network(Wishes(), page=PAGE)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("action", choices=("train", "measure", "publish"))
    parser.add_argument("camvid", type=Path, nargs="?")
    parser.add_argument("--cache", type=Path, help="where trained networks are kept")
    parser.add_argument("--only", action="append", choices=list(NETWORKS), help="a network")
    parser.add_argument("--steps", type=int, default=1500)
    parser.add_argument("--to", action="append", default=[], help="a target")
    parser.add_argument("--precision", action="append", default=[], help="a precision")
    parser.add_argument("--limit", type=int, default=48, help="images of the check")
    given = parser.parse_args()
    if given.action == "publish":
        publish()
        return
    if given.camvid is None or given.cache is None:
        parser.error("CAMVID and --cache are missing")
    given.cache.mkdir(parents=True, exist_ok=True)
    names = given.only or list(NETWORKS)
    if given.action == "train":
        for name in names:
            train(name, given.camvid, given.cache, given.steps)
    else:
        measure(names, given.camvid, given.cache, given.to, given.precision, given.limit)
        publish()


if __name__ == "__main__":
    main()

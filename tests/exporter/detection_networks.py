"""A small Mask R-CNN as PaddleDetection's configurations describe it, in three files.

`<python> -I detection_networks.py FOLDER`, in its toolchain, writes `model.pdparams` there, and `own.npz`: an image,
and what the model's own class computes for it.
"""

from __future__ import annotations

import importlib.util
import sys
import types
from pathlib import Path

NETWORK = """\
architecture: MaskRCNN
MaskRCNN:
  backbone: ResNet
  neck: FPN
  rpn_head: RPNHead
  bbox_head: BBoxHead
  mask_head: MaskHead
  bbox_post_process: BBoxPostProcess
  mask_post_process: MaskPostProcess
ResNet: {depth: 18, norm_type: bn, freeze_at: 0, return_idx: [0, 1, 2, 3], num_stages: 4}
FPN: {out_channel: 32}
RPNHead:
  anchor_generator:
    aspect_ratios: [0.5, 1.0, 2.0]
    anchor_sizes: [[16], [32], [64], [128], [256]]
    strides: [4, 8, 16, 32, 64]
  test_proposal: {min_size: 0.0, nms_thresh: 0.7, pre_nms_top_n: 64, post_nms_top_n: 32}
BBoxHead:
  head: TwoFCHead
  roi_extractor: {resolution: 7, sampling_ratio: 0, aligned: true}
  bbox_assigner: BBoxAssigner
TwoFCHead: {out_channel: 64}
BBoxPostProcess:
  decode: RCNNBox
  nms: {name: MultiClassNMS, keep_top_k: 10, score_threshold: 0.05, nms_threshold: 0.5}
MaskHead:
  head: MaskFeat
  roi_extractor: {resolution: 14, sampling_ratio: 0, aligned: true}
  mask_assigner: MaskAssigner
  share_bbox_feat: false
MaskFeat: {num_convs: 1, out_channel: 32}
MaskPostProcess: {binary_thresh: 0.5}
"""
READER = """\
TestReader:
  sample_transforms:
  - Decode: {}
  - Resize: {interp: 2, target_size: [96, 128], keep_ratio: true}
  - NormalizeImage: {is_scale: true, mean: [0.485, 0.456, 0.406], std: [0.229, 0.224, 0.225]}
  - Permute: {}
  batch_transforms:
  - PadBatch: {pad_to_stride: 32}
"""
TOP = """\
_BASE_: [base/network.yml, base/reader.yml]
num_classes: 3
pretrain_weights: https://example.invalid/resnet.pdparams
weights: output/model_final
FPN: {out_channel: 16}
TrainDataset: {name: COCODataSet, anno_path: annotations/train.json}
"""


def write_config(folder: Path) -> Path:
    (folder / "base").mkdir(parents=True)
    (folder / "base" / "network.yml").write_text(NETWORK)
    (folder / "base" / "reader.yml").write_text(READER)
    (folder / "mask_rcnn.yml").write_text(TOP)
    return folder / "mask_rcnn.yml"


def main(folder: Path) -> None:
    import numpy as np
    import paddle
    import yaml

    paddle.set_flags({"FLAGS_set_to_1d": True})
    found = importlib.util.find_spec("ppdet")
    package = types.ModuleType("ppdet")
    package.__spec__, package.__path__ = found, list(found.submodule_search_locations)
    sys.modules["ppdet"] = package
    import ppdet.modeling  # noqa: F401
    from ppdet.core import workspace

    content = yaml.safe_load(NETWORK) | {"num_classes": 3, "FPN": {"out_channel": 16}}
    workspace.merge_config(content)
    paddle.seed(3)
    network = workspace.create("MaskRCNN")
    for name, value in network.state_dict().items():  # scores of a trained network's size
        if name.endswith("weight") and len(value.shape) > 1 and not name.startswith("rpn_head") and "delta" not in name:
            fan_in = int(np.prod(value.shape[1:])) if len(value.shape) == 4 else value.shape[0]
            value.set_value(paddle.randn(value.shape) * (2 / fan_in) ** 0.5)
    network.eval()
    image = paddle.randn([1, 3, 96, 128])
    inputs = {
        "image": image,
        "im_shape": paddle.to_tensor([[96.0, 128.0]]),
        "scale_factor": paddle.to_tensor([[1.0, 1.0]]),
    }
    with paddle.no_grad():
        found = network(inputs)
    paddle.save(network.state_dict(), str(folder / "model.pdparams"))
    own = {name: found[name].numpy() for name in ("bbox", "mask")}
    np.savez(folder / "own.npz", image=image.numpy(), **own)


if __name__ == "__main__":
    main(Path(sys.argv[1]))

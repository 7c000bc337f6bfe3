"""Builds one model of PaddleSeg 2.8's collection with seeded weights, as its `export.py` writes models.

    PYTHON benchmarks/paddleseg_models.py NAME OUT_DIR [--head argmax] [--size 128x128] [--free]

PYTHON is one that has PaddleSeg; nothing of segexport is imported. Weights are those of the constructors, drawn from
one seed; the statistics of batch normalizations come from one pass over noise. NAME is the model's name in PaddleSeg's
registry, behind a point what is special about a further form of it. Arguments are those of PaddleSeg's own
configurations, with the smallest backbone that they name.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path
from typing import Any

CLASSES = 19
DILATED = {"output_stride": 8}
LAST, ALL = [2, 3], [0, 1, 2, 3]
SWIN = "SwinTransformer_tiny_patch4_window7_224"
VIT = ("ViT_small_patch16_224", {"img_size": "size", "pretrained": "nothing"})
# model -> its arguments; `backbone` is a name with arguments. `size` is replaced by the image's longer side.
MODELS: dict[str, dict[str, Any]] = {
    "ANN": {"backbone": ("ResNet50_vd", DILATED)},
    "AttentionUNet": {},
    "BiSeNetV2": {},
    "BiseNetV1": {"backbone": ("ResNet18_vd", {"output_stride": 32})},
    "CCNet": {"backbone": ("ResNet50_vd", DILATED), "recurrence": 2},
    "DANet": {"backbone": ("ResNet50_vd", DILATED), "backbone_indices": LAST},
    "DDRNet_23": {},
    "DMNet": {"backbone": ("ResNet50_vd", DILATED)},
    "DNLNet": {"backbone": ("ResNet50_vd", DILATED)},
    "DecoupledSegNet": {"backbone": ("ResNet50_vd", DILATED)},
    "DeepLabV3": {"backbone": ("ResNet50_vd", DILATED)},
    "DeepLabV3P": {"backbone": ("ResNet50_vd", DILATED)},
    "DeepLabV3P.MobileNetV3": {"backbone": ("MobileNetV3_large_x1_0_os8", {}), "backbone_indices": [0, 3]},
    "EMANet": {"backbone": ("ResNet50_vd", DILATED)},
    "ENCNet": {"backbone": ("ResNet50_vd", DILATED)},
    "ENet": {},
    "ESPNetV1": {},
    "ESPNetV2": {},
    "FCN": {"backbone": ("HRNet_W18", {})},
    "FCN.UHRNet": {"backbone": ("UHRNet_W18_Small", {})},
    "FastFCN": {"backbone": ("ResNet50_vd", DILATED)},
    "FastSCNN": {},
    "GCNet": {"backbone": ("ResNet50_vd", DILATED)},
    "GINet": {"backbone": ("ResNet50_vd", DILATED)},
    "GSCNN": {"backbone": ("ResNet50_vd", DILATED)},
    "GloRe": {"backbone": ("ResNet50_vd", DILATED)},
    "HRNetW48Contrast": {"backbone": ("HRNet_W18", {}), "bb_channels": 270, "proj_dim": 256, "drop_prob": 0.1},
    "HarDNet": {},
    "ISANet": {"backbone": ("ResNet50_vd", DILATED)},
    "KNet": {
        "backbone": ("ResNet50_vd", DILATED),
        "backbone_indices": [3],
        "kernel_update_head_params": {
            "num_classes": CLASSES, "num_heads": 8, "num_mask_fcs": 1, "feedforward_channels": 2048,
            "in_channels": 512, "out_channels": 512, "dropout": 0.0, "conv_kernel_size": 1, "with_ffn": True,
        },
        "kernel_generate_head_params": {
            "head_layer": "FCNKernelHead", "num_classes": CLASSES, "in_channels": 2048, "num_convs": 2,
            "concat_input": True, "channels": 512, "dropout_prob": 0.1,
        },
    },
    "LPSNet": {"depths": [1, 3, 3, 10, 10], "channels": [8, 24, 48, 96, 96], "scale_ratios": [1.0, 0.25]},
    "LRASPP": {"backbone": ("MobileNetV3_large_x1_0_os8", {})},
    "LinearSegmenter": {"backbone": VIT},
    "MLATransformer": {"backbone": (SWIN, {}), "mlahead_channels": 96, "in_channels": [96, 192, 384, 768]},
    "MaskFormer": {"backbone": (f"{SWIN}_maskformer", {})},
    "MaskSegmenter": {"backbone": VIT, "h_embed_dim": 768, "h_depth": 2, "h_num_heads": 12},
    "MobileSeg": {"backbone": ("MobileNetV3_large_x1_0", {})},
    "MobileSeg.LiteHRNet": {
        "backbone": ("Lite_HRNet_30", {}), "backbone_indices": [0, 1, 2], "cm_bin_sizes": [1, 2, 4],
        "arm_type": "UAFM_SpAtten", "arm_out_chs": [64, 64, 64], "seg_head_inter_chs": [64, 64, 64],
    },
    "MscaleOCRNet": {"backbone": ("HRNet_W18", {}), "mscale": [0.5, 1.0]},
    "OCRNet": {"backbone": ("HRNet_W18", {}), "backbone_indices": [0]},
    "OCRNet.HRFormer": {"backbone": ("HRFormer_small", {}), "backbone_indices": [0]},
    "PFPNNet": {"backbone": ("ResNet50_vd", DILATED), "backbone_indices": ALL, "channels": 256},
    "PPHumanSegLite": {},
    "PPLiteSeg": {"backbone": ("STDC1", {})},
    "PPMobileSeg": {"backbone": ("MobileSeg_Tiny", {"inj_type": "AAMSx8", "out_feat_chs": [32, 64, 128]})},
    "PPMobileSeg.vim": {
        "backbone": ("MobileSeg_Base", {"inj_type": "AAMSx8", "out_feat_chs": [64, 128, 192]}), "upsample": "vim",
    },
    "PSPNet": {"backbone": ("ResNet50_vd", DILATED)},
    "PointRend": {"backbone": ("ResNet50_vd", DILATED), "backbone_indices": ALL},
    "PortraitNet": {"backbone": ("MobileNetV2_x1_0", {})},
    "RTFormer": {"base_channels": 32},
    "SFNet": {"backbone": ("ResNet18_vd", {"output_stride": 32}), "backbone_indices": ALL},
    "SINet": {},
    "STDCSeg": {"backbone": ("STDC1", {})},
    "SegFormer": {"backbone": ("MixVisionTransformer_B0", {}), "embedding_dim": 256},
    "SegNeXt": {
        "backbone": ("MSCAN_T", {}),
        "decoder_cfg": {"channels": 256, "ham_channels": 256, "ham_kwargs": {"MD_R": 16}},
    },
    "SegNet": {},
    "SegmentationTransformer": {"backbone": VIT, "backbone_indices": [1, 3, 5, 7]},
    "SegmentationTransformer.mla": {
        "backbone": VIT, "backbone_indices": [1, 3, 5, 7], "head": "mla",
    },
    "TopFormer": {"backbone": ("TopTransformer_Tiny", {"lr_mult": 1.0})},
    "U2Net": {},
    "U2Netp": {},
    "UNet": {},
    "UNet3Plus": {},
    "UNetPlusPlus": {},
    "UPerNet": {"backbone": (SWIN, {}), "backbone_indices": ALL},
    "UPerNetCAE": {
        "backbone": (
            "CAE",
            {
                "img_size": "size", "pretrained": "nothing", "qkv_bias": True, "init_values": 0.1,
                "use_rel_pos_bias": True,
            },
        ),
        "backbone_indices": [3, 5, 7, 11], "channels": 768, "fpn_channels": 768, "head_channels": 768,
        "channels_fpn": [768, 768, 768, 768],
    },
    "UPerNetViTAdapter": {"backbone": ("ViTAdapter_Tiny", {}), "backbone_indices": ALL},
}  # fmt: skip
HEADS = ("argmax", "softmax", "logits")
CONFIG = """\
Deploy:
  input_shape: [1, 3, {height}, {width}]
  model: model.pdmodel
  params: model.pdiparams
  output_op: {head}
  output_dtype: {dtype}
  transforms:
  - {{type: Resize, target_size: [{fixed_width}, {fixed_height}]}}
  - {{type: Normalize, mean: [0.5, 0.5, 0.5], std: [0.5, 0.5, 0.5]}}
"""


def built(name: str, height: int, width: int) -> Any:
    """The network, a `paddle.nn.Layer`."""
    import paddle

    paddle.nn.SyncBatchNorm = paddle.nn.BatchNorm2D  # for a CPU, as in PaddleSeg's layers
    import paddleseg.models  # noqa: F401 - fills the registry
    from paddleseg.cvlibs import manager

    arguments = {"num_classes": CLASSES, **MODELS[name]}
    if "backbone" in arguments:
        kind, given = arguments["backbone"]
        given = {key: max(height, width) if value == "size" else value for key, value in given.items()}
        with tempfile.TemporaryDirectory() as folder:
            if "pretrained" in given:  # a backbone that requires a file of weights: built without
                given["pretrained"] = str(Path(folder) / "nothing.pdparams")
                paddle.save({}, given["pretrained"])
            arguments["backbone"] = manager.BACKBONES[kind](**given)
    return manager.MODELS[name.partition(".")[0]](**arguments)


def with_statistics(net: Any, height: int, width: int) -> None:
    """Sets the statistics of batch normalizations from one batch of noise."""
    import paddle

    norms = [layer for layer in net.sublayers() if hasattr(layer, "_momentum") and hasattr(layer, "_variance")]
    for layer in norms:
        layer._momentum = 0.0
    net.train()
    with paddle.no_grad():
        net(noise(2, height, width))
        for layer in norms:  # for one pixel per image, the variance is close to 0 and would amplify rounding
            layer._variance.set_value(paddle.maximum(layer._variance, paddle.full_like(layer._variance, 0.05)))
    net.eval()


def with_head(net: Any, head: str, height: int, width: int) -> Any:
    """Returns the network with the first output of PaddleSeg's `export.py --output_op`.

    Scores are scaled so that every class wins somewhere, as it does in a trained network: else one class is everywhere,
    and masks say nothing.
    """
    import paddle

    with paddle.no_grad():
        scores = first(net(noise(1, height, width)))
    scale = shift = None
    if "float" in str(scores.dtype):
        mean, std = scores.mean([0, 2, 3], keepdim=True), scores.std([0, 2, 3], keepdim=True)
        scale = 1 / paddle.maximum(std, paddle.full_like(std, 1e-6))
        shift = -mean * scale

    class Net(paddle.nn.Layer):
        def __init__(self) -> None:
            super().__init__()
            self.net, self.head, self.is_balanced = net, head, scale is not None
            if scale is not None:
                self.register_buffer("scale", scale)
                self.register_buffer("shift", shift)

        def forward(self, image):
            scores = first(self.net(image))
            if self.is_balanced:
                scores = scores * self.scale + self.shift
            if self.head == "argmax":
                return paddle.argmax(scores, axis=1, dtype="int32")
            return paddle.nn.functional.softmax(scores, axis=1) if self.head == "softmax" else scores

    return Net()


def noise(count: int, height: int, width: int) -> Any:
    """Images with structure at several scales, like photographs: pooled white noise would be uniform."""
    import paddle

    image = paddle.zeros([count, 3, height, width])
    for scale in (1, 4, 16, 64):
        coarse = paddle.randn([count, 3, -(-height // scale), -(-width // scale)])
        fine = paddle.nn.functional.interpolate(coarse, scale_factor=scale, mode="nearest") if scale > 1 else coarse
        image += fine[:, :, :height, :width] / 2
    return image


def first(outputs: Any) -> Any:
    """The main head's scores."""
    return outputs[0] if isinstance(outputs, (list, tuple)) else outputs


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("name", choices=MODELS)
    parser.add_argument("out", type=Path)
    parser.add_argument("--head", choices=HEADS, default="argmax")
    parser.add_argument("--size", default="128x128", help="HEIGHTxWIDTH")
    parser.add_argument("--free", action="store_true", help="the program takes images of any size")
    options = parser.parse_args()
    height, width = map(int, options.size.split("x"))

    import numpy as np
    import paddle

    paddle.seed(1)
    np.random.seed(1)
    net = built(options.name, height, width)
    with_statistics(net, height, width)
    sizes = [-1, -1] if options.free else [height, width]
    image = paddle.static.InputSpec([1, 3, *sizes], "float32", name="x")
    whole = with_head(net, options.head, height, width)
    whole.eval()
    program = paddle.jit.to_static(whole, input_spec=[image])
    options.out.mkdir(parents=True, exist_ok=True)
    paddle.jit.save(program, str(options.out / "model"))
    dtype = "int32" if options.head == "argmax" else "float32"
    config = CONFIG.format(
        height=sizes[0], width=sizes[1], head=options.head.replace("logits", "none"), dtype=dtype,
        fixed_height=height, fixed_width=width,
    )  # fmt: skip
    (options.out / "deploy.yaml").write_text(config)


if __name__ == "__main__":
    main()

"""PaddleX's classes of semantic segmentation, and their common base."""

from __future__ import annotations

import difflib
import inspect
import json
from collections.abc import Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

import segexport
from segexport.artifact import ModelArtifact
from segexport.commands.finetune import NO_SPLIT, FinetuneOptions
from segexport.commands.train import NetworkOptions, train
from segexport.data.dataset import Dataset
from segexport.errors import DataError, OptionError
from segexport.progress import SILENCE, Feedback

_DOWNLOADED = ("IMAGENET", "COCO", "CITYSCAPES", "BAIDU10W")
_BEST = "best_model"

AnyDataset = Dataset | str | Path
"""A data set, or its folder with `train.txt` for training and `val.txt` for evaluation."""


class Segmenter:
    """A network that can be trained; parameters are PaddleX's.

    Args:
        network: Name of the network in PaddleSeg.
        backbone: Name of its backbone in PaddleSeg; "": none.
        parameters: Other parameters of the network.
        num_classes: Number of classes, including the background.
        use_bce_loss, use_dice_loss: Whether to use these losses instead of cross entropy, for any number of classes.
        class_weight: A number for each class, or `dynamic`.
        ignore_index: Label of pixels to ignore.
        multi_loss_weight: Weight of the losses at the output and at each auxiliary head.

    Attributes:
        artifact: The trained model; None before training.
    """

    def __init__(
        self,
        network: str,
        backbone: str,
        parameters: Mapping[str, Any],
        *,
        num_classes: int,
        use_bce_loss: bool,
        use_dice_loss: bool,
        class_weight: Sequence[float] | str | None,
        ignore_index: int,
        multi_loss_weight: Sequence[float] = (1.0,),
    ) -> None:
        if type(num_classes) is not int or num_classes < 2:
            raise OptionError(f"num_classes={num_classes!r}: a whole number from 2 is expected, with the background")
        if isinstance(multi_loss_weight, str) or not isinstance(multi_loss_weight, Sequence):
            raise OptionError(f"multi_loss_weight={multi_loss_weight!r}: a list of a number for each head is expected")
        self.network = network
        self._wanted = NetworkOptions(
            backbone=backbone or None,
            option=tuple(f"{name}={json.dumps(value)}" for name, value in parameters.items()),
            num_classes=num_classes,
            head="softmax",
            ignore_index=ignore_index,
        )
        weights = class_weight if isinstance(class_weight, str | None) else ",".join(map(str, class_weight))
        named = (("bce", use_bce_loss), ("dice", use_dice_loss))
        self._losses = {
            "losses": tuple(name for name, used in named if used),
            "class_weight": weights,
            "multi_loss_weight": tuple(multi_loss_weight),
        }
        self.artifact: ModelArtifact | None = None

    def train(
        self,
        num_epochs: int,
        train_dataset: AnyDataset,
        train_batch_size: int = 2,
        eval_dataset: AnyDataset | None = None,
        eval_batch_size: int = 1,
        save_interval_epochs: int = 1,
        log_interval_steps: int = 2,
        save_dir: str | Path = "output",
        pretrain_weights: str | Path | None = None,
        optimizer: str | None = None,
        learning_rate: float = 0.01,
        lr_decay_power: float = 0.9,
        use_vdl: bool = False,
        sensitivities_file: str | Path | None = None,
        eval_metric_loss: float = 0.05,
        early_stop: bool = False,
        early_stop_patience: int = 5,
        resume_checkpoint: str | Path | None = None,
        *,
        image_size: tuple[int, int] | None = None,
        feedback: Feedback = SILENCE,
        **more: Any,
    ) -> ModelArtifact:
        """Trains the network; saves the model with the best mIoU on `eval_dataset` in `save_dir/best_model`.

        Args:
            train_dataset, eval_dataset: Lists in one folder; without `eval_dataset` the last weights are kept.
            eval_batch_size: Accepted, but without effect: images are measured one by one.
            save_dir: A new folder, also for checkpoint and logs.
            pretrain_weights: A local `.pdparams`, or its URL with `#sha256=DIGEST`.
            optimizer: `momentum`, PaddleX's default, or `adamw`.
            use_vdl: Whether to write curves for TensorBoard into `save_dir/vdl_log`.
            sensitivities_file: Sensitivities of a trained network of this class, as the step `prune` measures them;
                the network is pruned by them before the training.
            eval_metric_loss: Fraction of the metric that the pruning of one layer may cost, by that file.
            resume_checkpoint: The `save_dir` of a training to resume.
            image_size: (width, height) for resizing; None: all images have the same size.
            more: Other options of `segexport finetune`: `augmentation`, `weight_decay`, `warmup_steps`, `seed`, ...

        Raises:
            SegexportError: PaddleSeg cannot build the network, data or options cannot be used, the training diverged.
        """
        if unknown := sorted(more.keys() - {field.name for field in fields(FinetuneOptions)}):
            known = [*inspect.signature(self.train).parameters, *(field.name for field in fields(FinetuneOptions))]
            near = difflib.get_close_matches(unknown[0], known, n=1)
            raise OptionError(
                f"{unknown[0]}: train has no such parameter", hint=f"did you mean {near[0]}?" if near else ""
            )
        if not isinstance(pretrain_weights, str | Path | None):
            raise OptionError(f"pretrain_weights={pretrain_weights!r}: the path or URL of a .pdparams is expected")
        if isinstance(pretrain_weights, str) and pretrain_weights.upper() in _DOWNLOADED:
            raise OptionError(
                f"pretrain_weights={pretrain_weights!r}: no weights are known by a name",
                hint="give a .pdparams of the network or of its backbone, a file or URL#sha256=DIGEST, or None",
            )
        if optimizer not in (None, "momentum", "adamw"):
            raise OptionError(
                f"optimizer={optimizer!r}: an optimizer is named here",
                hint='"momentum" or "adamw", with learning_rate, momentum and weight_decay',
            )
        if sensitivities_file == "DEFAULT":
            raise OptionError(
                "sensitivities_file='DEFAULT': no sensitivities are known by a name",
                cause="PaddleX's file is of networks of its own",
                hint="measure them on a trained network: step prune of a recipe writes its sensitivities_file",
            )
        root, split = _place(train_dataset, "train")
        val_split = NO_SPLIT
        if eval_dataset is not None:
            val_root, val_split = _place(eval_dataset, "val")
            if val_root.resolve() != root.resolve():
                raise DataError(f"{root} and {val_root}: the lists to train and to evaluate on are of one folder")
        folder = Path(save_dir)
        course = FinetuneOptions(
            data=root,
            split=split,
            val_split=val_split,
            num_epochs=num_epochs,
            batch_size=train_batch_size,
            learning_rate=learning_rate,
            lr_decay_power=lr_decay_power,
            optimizer=optimizer or "momentum",
            save_interval_epochs=save_interval_epochs,
            log_interval_steps=log_interval_steps,
            save_dir=folder if resume_checkpoint is None else None,
            resume_checkpoint=None if resume_checkpoint is None else Path(resume_checkpoint),
            log_dir=folder / "vdl_log" if use_vdl else None,
            early_stop=early_stop,
            early_stop_patience=early_stop_patience,
            **self._losses,
            **more,
        )
        asked = {
            "image_size": image_size,
            "pretrained": pretrain_weights,
            "sensitivities_file": None if sensitivities_file is None else Path(sensitivities_file),
            "eval_metric_loss": eval_metric_loss,
        }
        wanted = NetworkOptions(**{**vars(self._wanted), **asked})
        self.artifact = train(self.network, folder / _BEST, wanted, course, feedback=feedback)
        return self.artifact

    def evaluate(
        self,
        eval_dataset: AnyDataset,
        batch_size: int = 1,
        epoch_id: int | None = None,
        return_details: bool = False,
    ) -> dict[str, Any] | tuple[dict[str, Any], dict[str, Any]]:
        """Metrics of the trained model, see `segexport.load(...).evaluate`; `epoch_id` has no effect.

        Raises:
            SegexportError: The model was not trained, or the data cannot be used.
        """
        with self._opened() as model:
            return model.evaluate(eval_dataset, batch_size, return_details)

    def predict(self, im_file: Any, transforms: None = None) -> Any:
        """The result of one image: `label_map` (h, w), `score_map` (h, w, num_classes).

        Args:
            im_file: A path, or an array in BGR order.
            transforms: None; the preprocessing is part of the trained model.

        Raises:
            SegexportError: The model was not trained, or the image cannot be read.
        """
        if transforms is not None:
            raise OptionError("transforms: the preprocessing is part of the trained model", hint="leave it out")
        with self._opened() as model:
            (result,) = model.predict(im_file)
        return result

    def _opened(self) -> Any:
        if self.artifact is None:
            raise OptionError(f"{type(self).__name__}: not trained yet", hint="call train first")
        return segexport.load(self.artifact.path)


class DeepLabv3p(Segmenter):
    """PaddleSeg's DeepLabV3P, with an ASPP and a decoder of separable convolutions; without both, its DeepLabV3.

    Args:
        backbone: A name of PaddleX (`MobileNetV2_x1.0`, `Xception65`) or PaddleSeg (`ResNet50_vd`).
        output_stride: 8 or 16, for backbones that support it (Xception, ResNet); None: the backbone's default.

    Raises:
        InputError: An option would remove a part that this network always has.
    """

    def __init__(
        self,
        num_classes: int = 2,
        backbone: str = "MobileNetV2_x1.0",
        output_stride: int | None = None,
        aspp_with_sep_conv: bool = True,
        decoder_use_sep_conv: bool = True,
        encoder_with_aspp: bool = True,
        enable_decoder: bool = True,
        use_bce_loss: bool = False,
        use_dice_loss: bool = False,
        class_weight: Sequence[float] | str | None = None,
        ignore_index: int = 255,
    ) -> None:
        if not isinstance(backbone, str):
            raise OptionError(f"backbone={backbone!r}: a name is expected", hint="for example MobileNetV2_x1.0")
        parts = {
            "aspp_with_sep_conv": aspp_with_sep_conv,
            "decoder_use_sep_conv": decoder_use_sep_conv,
            "encoder_with_aspp": encoder_with_aspp,
            "enable_decoder": enable_decoder,
        }
        plain = not enable_decoder and not aspp_with_sep_conv  # PaddleSeg's DeepLabV3: full convolutions, no decoder
        if plain:
            parts = {"encoder_with_aspp": encoder_with_aspp}
        for name, value in parts.items():
            if not value:
                raise OptionError(
                    f"{name}=False: PaddleSeg's DeepLabV3P always has it",
                    hint="enable_decoder=False with aspp_with_sep_conv=False is PaddleSeg's DeepLabV3",
                )
        own = f"{backbone}_deeplab" if backbone in ("Xception41", "Xception65") else backbone.replace(".", "_")
        strides = {8: (1, 12, 24, 36), 16: (1, 6, 12, 18)}
        parameters: dict[str, Any] = {}
        if own.startswith("Xception"):
            parameters["backbone_indices"] = (1,) if plain else (0, 1)
        if output_stride is not None:
            if output_stride not in strides:
                raise OptionError(f"output_stride={output_stride}: 8 or 16 is expected")
            parameters |= {"backbone.output_stride": output_stride, "aspp_ratios": strides[output_stride]}
        super().__init__(
            "DeepLabV3" if plain else "DeepLabV3P",
            own,
            parameters,
            num_classes=num_classes,
            use_bce_loss=use_bce_loss,
            use_dice_loss=use_dice_loss,
            class_weight=class_weight,
            ignore_index=ignore_index,
        )


class UNet(Segmenter):
    """PaddleSeg's UNet.

    Args:
        upsample_mode: `bilinear`; anything else: transposed convolutions.
    """

    def __init__(
        self,
        num_classes: int = 2,
        upsample_mode: str = "bilinear",
        use_bce_loss: bool = False,
        use_dice_loss: bool = False,
        class_weight: Sequence[float] | str | None = None,
        ignore_index: int = 255,
    ) -> None:
        super().__init__(
            "UNet",
            "",
            {"use_deconv": upsample_mode != "bilinear"},
            num_classes=num_classes,
            use_bce_loss=use_bce_loss,
            use_dice_loss=use_dice_loss,
            class_weight=class_weight,
            ignore_index=ignore_index,
        )


class HRNet(Segmenter):
    """PaddleSeg's FCN on an HRNet.

    Args:
        width: Channels of the branch with the highest resolution: 18, 30, 32, 40, 44, 48, 60 or 64.
    """

    def __init__(
        self,
        num_classes: int = 2,
        width: int = 18,
        use_bce_loss: bool = False,
        use_dice_loss: bool = False,
        class_weight: Sequence[float] | str | None = None,
        ignore_index: int = 255,
    ) -> None:
        super().__init__(
            "FCN",
            f"HRNet_W{width}",
            {},
            num_classes=num_classes,
            use_bce_loss=use_bce_loss,
            use_dice_loss=use_dice_loss,
            class_weight=class_weight,
            ignore_index=ignore_index,
        )


class FastSCNN(Segmenter):
    """PaddleSeg's FastSCNN.

    Args:
        multi_loss_weight: Weight of the losses at the output and, if there is a second number, at the auxiliary head
            with the higher resolution. PaddleSeg does not have PaddleX's third branch.
    """

    def __init__(
        self,
        num_classes: int = 2,
        use_bce_loss: bool = False,
        use_dice_loss: bool = False,
        class_weight: Sequence[float] | str | None = None,
        ignore_index: int = 255,
        multi_loss_weight: Sequence[float] = (1.0,),
    ) -> None:
        super().__init__(
            "FastSCNN",
            "",
            {},
            num_classes=num_classes,
            use_bce_loss=use_bce_loss,
            use_dice_loss=use_dice_loss,
            class_weight=class_weight,
            ignore_index=ignore_index,
            multi_loss_weight=multi_loss_weight,
        )


def _place(dataset: AnyDataset, split: str) -> tuple[Path, str]:
    """The folder and the list of a data set."""
    return (dataset.root, dataset.split) if isinstance(dataset, Dataset) else (Path(dataset), split)

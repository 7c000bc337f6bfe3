"""PaddleX's `MaskRCNN`: PaddleDetection's Mask R-CNN with a feature pyramid, trained, evaluated, exported."""

from __future__ import annotations

import copy
import os
import pickle
import re
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, cast

import numpy as np
import yaml

import segexport
from segexport.artifact import ModelArtifact
from segexport.data.dataset import Dataset
from segexport.data.images import image_size as size_of
from segexport.det.training import DetectorCourse, DetectorTraining, Examples, batches
from segexport.errors import DataError, MismatchError, OptionError
from segexport.exporter.from_paddle import ImportOptions, fitted_into, import_model
from segexport.files.atomic import write_file
from segexport.files.output_folder import place_artifact, require_free
from segexport.files.pinned_download import local_file
from segexport.files.store import Store
from segexport.importers.detection_config import DetectionConfig, read_detection_config
from segexport.progress import SILENCE, Feedback
from segexport.task.instance.data import InstanceData
from segexport.task.instance.model import InstanceModel
from segexport.task.open_data import open_data

AnyDataset = Dataset | str | Path
"""Annotated images, or their folder in COCO's or Pascal VOC's form, with the splits `train` and `val`."""

_DOWNLOADED = ("IMAGENET", "COCO")
_STRIDES = (4, 8, 16, 32, 64)
_MULTIPLE = 32  # pixels: the pyramid halves the sides five times
_BACKBONE = re.compile(r"ResNet(18|34|50|101)(_vd)?")
_CONFIG, _WEIGHTS, _BEST = "mask_rcnn.yml", "model.pdparams", "best_model"
_SCORES = ("segm_mmap", "segm_map")  # COCO's and VOC's
_READER: dict[str, Any] = {
    "sample_transforms": [
        {"Decode": {}},
        {"Resize": {"interp": 2, "keep_ratio": True}},
        {"NormalizeImage": {"is_scale": True, "mean": [0.485, 0.456, 0.406], "std": [0.229, 0.224, 0.225]}},
        {"Permute": {}},
    ],
    "batch_transforms": [{"PadBatch": {"pad_to_stride": _MULTIPLE}}],
}
# As in PaddleDetection's mask_rcnn_r50_fpn.yml.
_SUPPRESSION = {"min_size": 0.0, "nms_thresh": 0.7}
_RESNET = {"norm_type": "bn", "return_idx": [0, 1, 2, 3], "num_stages": 4}
_FIXED: dict[str, Any] = {
    "architecture": "MaskRCNN",
    "MaskRCNN": {
        "backbone": "ResNet",
        "neck": "FPN",
        "rpn_head": "RPNHead",
        "bbox_head": "BBoxHead",
        "mask_head": "MaskHead",
        "bbox_post_process": "BBoxPostProcess",
        "mask_post_process": "MaskPostProcess",
    },
    "BBoxHead": {
        "head": "TwoFCHead",
        "roi_extractor": {"resolution": 7, "sampling_ratio": 0, "aligned": True},
        "bbox_assigner": "BBoxAssigner",
    },
    "BBoxAssigner": {
        **{"batch_size_per_im": 512, "fg_fraction": 0.25},
        **{"fg_thresh": 0.5, "bg_thresh": 0.5, "use_random": True},
    },
    "TwoFCHead": {"out_channel": 1024},
    "MaskHead": {
        "head": "MaskFeat",
        "roi_extractor": {"resolution": 14, "sampling_ratio": 0, "aligned": True},
        "mask_assigner": "MaskAssigner",
        "share_bbox_feat": False,
    },
    "MaskFeat": {"num_convs": 4, "out_channel": 256},
    "MaskAssigner": {"mask_resolution": 28},
    "MaskPostProcess": {"binary_thresh": 0.5},
}


class MaskRCNN:
    """A Mask R-CNN that can be trained; parameters are PaddleX's.

    Args:
        num_classes: Number of classes, including the background, as in PaddleX.
        backbone: `ResNet18`, `ResNet34`, `ResNet50`, `ResNet101`, or one of them with `_vd`.
        anchor_sizes: Side of the anchors in pixels, one for each of the five levels.
        sections: Sections of a PaddleDetection configuration that complement or replace those of this class, such as
            `{"MaskFeat": {"num_convs": 2, "out_channel": 64}}`.

    Attributes:
        artifact: The trained model; None before training.

    Raises:
        OptionError: PaddleDetection's network lacks what a parameter asks for.
    """

    def __init__(
        self,
        num_classes: int = 81,
        backbone: str = "ResNet50",
        with_fpn: bool = True,
        aspect_ratios: Sequence[float] = (0.5, 1.0, 2.0),
        anchor_sizes: Sequence[int] = (32, 64, 128, 256, 512),
        with_dcn: bool = False,
        rpn_cls_loss: str = "SigmoidCrossEntropy",
        rpn_focal_loss_alpha: float = 0.25,
        rpn_focal_loss_gamma: float = 2,
        rcnn_bbox_loss: str = "SmoothL1Loss",
        rcnn_nms: str = "MultiClassNMS",
        keep_top_k: int = 100,
        nms_threshold: float = 0.5,
        score_threshold: float = 0.05,
        softnms_sigma: float = 0.5,
        bbox_assigner: str = "BBoxAssigner",
        fpn_num_channels: int = 256,
        input_channel: int = 3,
        rpn_batch_size_per_im: int = 256,
        rpn_fg_fraction: float = 0.5,
        test_pre_nms_top_n: int | None = None,
        test_post_nms_top_n: int = 1000,
        *,
        sections: Mapping[str, Any] | None = None,
    ) -> None:
        only = {
            "with_fpn": (with_fpn, True),
            "with_dcn": (with_dcn, False),
            "rpn_cls_loss": (rpn_cls_loss, "SigmoidCrossEntropy"),
            "rcnn_bbox_loss": (rcnn_bbox_loss, "SmoothL1Loss"),
            "rcnn_nms": (rcnn_nms, "MultiClassNMS"),
            "bbox_assigner": (bbox_assigner, "BBoxAssigner"),
            "input_channel": (input_channel, 3),
        }
        for name, (given, known) in only.items():
            if given != known:
                raise OptionError(
                    f"{name}={given!r}: {known!r} is the only one here",
                    hint="train another network with PaddleDetection, and import its checkpoint: `segexport import`",
                )
        found = _BACKBONE.fullmatch(backbone)
        if found is None:
            raise OptionError(
                f"backbone={backbone!r}: unknown", hint="ResNet18, ResNet34, ResNet50, ResNet101, or ..._vd"
            )
        if num_classes < 2:
            raise OptionError(f"num_classes={num_classes}: the background and a class are 2")
        if len(anchor_sizes) != len(_STRIDES):
            raise OptionError(f"anchor_sizes: {len(anchor_sizes)} of them", cause="one for each of the 5 levels")
        self.num_classes = num_classes
        before = 6000 if test_pre_nms_top_n is None else test_pre_nms_top_n
        own = {
            **_FIXED,
            "num_classes": num_classes - 1,
            "ResNet": {**_RESNET, "depth": int(found[1]), "variant": "d" if found[2] else "b"},
            "FPN": {"out_channel": fpn_num_channels},
            "RPNHead": {
                "anchor_generator": {
                    "aspect_ratios": list(aspect_ratios),
                    "anchor_sizes": [[size] for size in anchor_sizes],
                    "strides": list(_STRIDES),
                },
                "rpn_target_assign": {
                    **{"positive_overlap": 0.7, "negative_overlap": 0.3, "use_random": True},
                    "batch_size_per_im": rpn_batch_size_per_im,
                    "fg_fraction": rpn_fg_fraction,
                },
                "train_proposal": {
                    **_SUPPRESSION,
                    **{"pre_nms_top_n": 2000, "post_nms_top_n": 1000, "topk_after_collect": True},
                },
                "test_proposal": {**_SUPPRESSION, "pre_nms_top_n": before, "post_nms_top_n": test_post_nms_top_n},
            },
            "BBoxPostProcess": {
                "decode": "RCNNBox",
                "nms": {
                    "name": "MultiClassNMS",
                    "keep_top_k": keep_top_k,
                    "score_threshold": score_threshold,
                    "nms_threshold": nms_threshold,
                },
            },
        }
        for name, section in (sections or {}).items():
            own[name] = {**own.get(name, {}), **section} if isinstance(section, Mapping) else section
        self._sections = own
        self.artifact: ModelArtifact | None = None

    def train(
        self,
        num_epochs: int,
        train_dataset: AnyDataset,
        train_batch_size: int = 1,
        eval_dataset: AnyDataset | None = None,
        save_interval_epochs: int = 1,
        log_interval_steps: int = 20,
        save_dir: str | Path = "output",
        pretrain_weights: str | Path | None = None,
        optimizer: None = None,
        learning_rate: float = 1.0 / 800,
        warmup_steps: int = 500,
        warmup_start_lr: float = 1.0 / 2400,
        lr_decay_epochs: Sequence[int] = (8, 11),
        lr_decay_gamma: float = 0.1,
        metric: str | None = None,
        use_vdl: bool = False,
        early_stop: bool = False,
        early_stop_patience: int = 5,
        resume_checkpoint: None = None,
        *,
        image_size: tuple[int, int] | None = None,
        clip_norm: float = 35.0,
        flip: bool = True,
        seed: int = 0,
        threads: int | None = None,
        feedback: Feedback = SILENCE,
    ) -> ModelArtifact:
        """Trains the network; saves the model with the best masks on `eval_dataset` in `save_dir/best_model`.

        `save_dir` also has the weights, `model.pdparams`, and a PaddleDetection configuration, `mask_rcnn.yml`, from
        which `segexport import` makes the same model. Without pretrained weights the normalizations are trained too;
        with them they stay as they are, as in PaddleDetection.

        Args:
            train_dataset, eval_dataset: Images with masks; without `eval_dataset` the last weights are kept.
            save_interval_epochs: After so many epochs, and after the last, the model is exported and evaluated.
            log_interval_steps: After so many steps the losses are reported.
            save_dir: A new folder.
            pretrain_weights: A local `.pdparams` of this network or its backbone, or its URL with `#sha256=DIGEST`.
            metric: `COCO` or `VOC`; None: as the data's form.
            early_stop: Whether to end after `early_stop_patience` evaluations that are not better.
            image_size: (width, height) that images are fitted into, multiples of 32; None: the size of all images.
            clip_norm: Largest norm of all gradients together.
            flip: Whether images are mirrored at random.
            threads: Threads of the training; None: all cores.

        Raises:
            SegexportError: PaddleDetection cannot build the network, data or options cannot be used, the training
                diverged.
        """
        _refuse(pretrain_weights, optimizer, use_vdl, resume_checkpoint)
        data = self._data(train_dataset, "train")
        judged = None if eval_dataset is None else self._data(eval_dataset, "val")
        size = _tensor_size(data, image_size)
        folder = Path(save_dir)
        require_free(folder)
        store = Store()
        pretrained = None if pretrain_weights is None else local_file(pretrain_weights, store, feedback=feedback)
        course = DetectorCourse(
            num_epochs=num_epochs,
            batch_size=train_batch_size,
            learning_rate=learning_rate,
            warmup_steps=warmup_steps,
            warmup_start_lr=warmup_start_lr,
            lr_decay_epochs=tuple(lr_decay_epochs),
            lr_decay_gamma=lr_decay_gamma,
            clip_norm=clip_norm,
            flip=flip,
            seed=seed,
            threads=threads or os.cpu_count() or 1,
        )
        content = self._content(size, frozen=pretrained is not None)
        with tempfile.TemporaryDirectory() as scratch:
            config = _written(content, Path(scratch))
        contract, _ = fitted_into(config.deploy_config(3, None).preprocess, *size)
        examples = Examples(data, contract)
        steps = -(-len(examples) // course.batch_size)
        best, waited, step = -1.0, 0, 0
        made: ModelArtifact | None = None
        with DetectorTraining(config, course, pretrained) as training:
            folder.mkdir(parents=True, exist_ok=True)
            _written(content, folder)
            for note in training.notes:
                feedback.say(note)
            for epoch in range(num_epochs):
                with feedback.progress(f"epoch {epoch + 1}/{num_epochs}", steps) as bar:
                    for batch in batches(examples, course, epoch):
                        losses = training.step(batch, course.rate(step, steps))
                        if step % log_interval_steps == 0:
                            feedback.say(f"step {step}: " + ", ".join(f"{k} {v:.4g}" for k, v in losses.items()))
                        step += 1
                        bar.advance()
                if (epoch + 1) % save_interval_epochs and epoch + 1 < num_epochs:
                    continue
                trained = self._imported(folder, f"epoch_{epoch + 1}", training.weights(), size, data, store)
                score = 0.0 if judged is None else _score(trained, judged, metric)
                if judged is not None:
                    feedback.say(f"epoch {epoch + 1}: average precision of the masks {score:.4f}")
                waited = 0 if score > best else waited + 1
                if judged is None or score > best:
                    best, made = score, trained
                    (folder / f"epoch_{epoch + 1}.pdparams").replace(folder / _WEIGHTS)
                if early_stop and judged is not None and waited >= early_stop_patience:
                    break
        assert made is not None  # the last epoch is saved
        self.artifact = place_artifact(made, folder / _BEST)
        return self.artifact

    def evaluate(
        self,
        eval_dataset: AnyDataset,
        batch_size: int = 1,
        epoch_id: int | None = None,
        metric: str | None = None,
        return_details: bool = False,
    ) -> dict[str, Any] | tuple[dict[str, Any], dict[str, Any]]:
        """Average precision of the trained model, see `segexport.load(...).evaluate`; `epoch_id` has no effect.

        Raises:
            SegexportError: The model was not trained, or the data cannot be used.
        """
        with self._opened() as model:
            return model.evaluate(eval_dataset, batch_size, metric, return_details)

    def predict(self, img_file: Any, transforms: None = None) -> Any:
        """The objects of one image, best score first: `bbox`, `mask`, `category`, `category_id`, `score`.

        Args:
            img_file: A path, or an array in BGR order.
            transforms: None; the preprocessing is part of the trained model.

        Raises:
            SegexportError: The model was not trained, or the image cannot be read.
        """
        (found,) = self.batch_predict([img_file], transforms)
        return found

    def batch_predict(self, img_file_list: Sequence[Any], transforms: None = None) -> list[Any]:
        """The objects of each image; otherwise as `predict`."""
        if transforms is not None:
            raise OptionError("transforms: the preprocessing is part of the trained model", hint="leave it out")
        with self._opened() as model:
            return model.batch_predict(list(img_file_list))

    def _opened(self) -> Any:
        if self.artifact is None:
            raise OptionError("MaskRCNN: not trained yet", hint="call train first")
        return segexport.load(self.artifact.path)

    def _data(self, given: AnyDataset, split: str) -> InstanceData:
        data = given if isinstance(given, Dataset) else open_data(Path(given), split)
        if not isinstance(data, InstanceData):
            raise DataError(
                f"{data.root}: no annotated objects", hint="give a folder with COCO's JSON or Pascal VOC's Annotations"
            )
        classes = len(data.labels or ())
        if classes != self.num_classes - 1:
            raise MismatchError(
                f"{data.source}: {classes} classes, num_classes={self.num_classes} means {self.num_classes - 1}",
                hint=f"num_classes counts the background too: {classes + 1}",
            )
        return data

    def _content(self, size: tuple[int, int], *, frozen: bool) -> dict[str, Any]:
        """The configuration; `frozen`: normalizations and the first stage keep the pretrained weights."""
        reader = copy.deepcopy(_READER)
        reader["sample_transforms"][1]["Resize"]["target_size"] = sorted(size)
        backbone = {"freeze_norm": frozen, "freeze_at": 0 if frozen else -1, **self._sections["ResNet"]}
        return {**self._sections, "ResNet": backbone, "TestReader": reader}

    def _imported(
        self,
        folder: Path,
        name: str,
        weights: Mapping[str, np.ndarray],
        size: tuple[int, int],
        data: InstanceData,
        store: Store,
    ) -> ModelArtifact:
        """The model of these weights, which are written beside the configuration."""
        file = folder / f"{name}.pdparams"
        write_file(file, pickle.dumps(dict(weights), protocol=4))
        options = ImportOptions(config=folder / _CONFIG, input_size=size, labels=data.labels)
        return import_model(file, options, store)


def _written(content: Mapping[str, Any], folder: Path) -> DetectionConfig:
    """Writes a configuration of PaddleDetection."""
    write_file(folder / _CONFIG, yaml.safe_dump(dict(content), sort_keys=False))
    return read_detection_config(folder / _CONFIG)


def _refuse(pretrain_weights: Any, optimizer: Any, use_vdl: Any, resume_checkpoint: Any) -> None:
    """Refuses what PaddleX's `train` could and this cannot."""
    if isinstance(pretrain_weights, str) and pretrain_weights.upper() in _DOWNLOADED:
        raise OptionError(
            f"pretrain_weights={pretrain_weights!r}: no weights are known by a name",
            hint="give a .pdparams of the network or of its backbone, a file or URL#sha256=DIGEST, or None",
        )
    if optimizer is not None:
        raise OptionError(
            f"optimizer={optimizer!r}: a detector is trained by momentum",
            hint="leave it out; learning_rate, warmup_steps, lr_decay_epochs and clip_norm set it",
        )
    if use_vdl:
        raise OptionError("use_vdl=True: the losses of a detector are not written as curves", hint="log_interval_steps")
    if resume_checkpoint is not None:
        raise OptionError(
            f"resume_checkpoint={str(resume_checkpoint)!r}: a detector's training does not resume",
            hint="begin from its weights: pretrain_weights='output/model.pdparams'",
        )


def _tensor_size(data: InstanceData, wanted: tuple[int, int] | None) -> tuple[int, int]:
    """(width, height) of the network's input."""
    if wanted is None:
        sizes = {size_of(data.root / entry.image) for entry in data.entries}
        if len(sizes) != 1:
            raise DataError(
                f"{data.source}: its images have {len(sizes)} sizes",
                hint="fit them into one: image_size=(width, height)",
            )
        width, height = sizes.pop()
        return -(-width // _MULTIPLE) * _MULTIPLE, -(-height // _MULTIPLE) * _MULTIPLE
    if any(side < _MULTIPLE or side % _MULTIPLE for side in wanted):
        raise OptionError(f"image_size={wanted}: both sides have to be multiples of {_MULTIPLE}")
    return wanted


def _score(trained: ModelArtifact, data: InstanceData, metric: str | None) -> float:
    """Average precision of the masks."""
    with segexport.load(trained.path) as model:
        found = cast(InstanceModel, model).evaluate(data, metric=metric)
    assert isinstance(found, dict)  # without details
    return next((float(found[name]) for name in _SCORES if found.get(name) is not None), 0.0)

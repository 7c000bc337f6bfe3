"""A training checkpoint is read without executing it, and each kind of wrong file has a specific error."""

from __future__ import annotations

import os
import pickle
import zipfile
from pathlib import Path

import numpy as np
import pytest

from segexport.errors import InputError
from segexport.importers.checkpoint import find_checkpoint, read_checkpoint
from segexport.importers.checkpoint_fit import require_fit

WEIGHTS = {
    "backbone.conv.weight": np.ones((8, 3, 3, 3), np.float32),
    "backbone.norm.weight": np.ones(8, np.float32),
    "head.conv.weight": np.ones((5, 8, 1, 1), np.float32),
    "head.conv.bias": np.ones(5, np.float32),
}
CONFIG = Path("net.yml")


def written(path: Path, content: object) -> Path:
    path.write_bytes(content if isinstance(content, bytes) else pickle.dumps(content))
    return path


def refused(path: Path) -> InputError:
    with pytest.raises(InputError) as caught:
        read_checkpoint(find_checkpoint(path))
    assert caught.value.what.startswith(str(path))
    return caught.value


def misfit(tmp_path: Path, weights: dict[str, np.ndarray], classes: int = 5) -> InputError:
    """The error for these weights in a network that has those of WEIGHTS."""
    network = {name: (str(value.dtype), value.shape) for name, value in WEIGHTS.items()}
    found = read_checkpoint(written(tmp_path / "model.pdparams", weights))
    with pytest.raises(InputError) as caught:
        require_fit(tmp_path / "model.pdparams", found, network, CONFIG, classes)
    return caught.value


class _Trap:
    def __reduce__(self):
        return os.mkdir, ("run",)


# -- what is read ----------------------------------------------------------------------------------------------------


def test_weights_come_out_by_their_names_without_paddles_own(tmp_path):
    own = {"StructuredToParameterName@@": {"head.conv.bias": "conv2d_1.b_0"}}
    found = read_checkpoint(written(tmp_path / "model.pdparams", {**WEIGHTS, **own}))
    assert list(found) == list(WEIGHTS)
    assert all(type(value) is np.ndarray for value in found.values())
    np.testing.assert_array_equal(found["head.conv.bias"], WEIGHTS["head.conv.bias"])


def test_the_one_checkpoint_of_a_folder_is_found(tmp_path):
    weights = written(tmp_path / "model.pdparams", WEIGHTS)
    written(tmp_path / "model.pdopt", {})
    assert find_checkpoint(tmp_path) == weights


def test_a_folder_of_two_or_of_none(tmp_path):
    with pytest.raises(InputError, match="no checkpoint") as caught:
        find_checkpoint(tmp_path)
    assert caught.value.cause == "it is empty"
    written(tmp_path / "a.pdparams", WEIGHTS)
    written(tmp_path / "b.pdparams", WEIGHTS)
    with pytest.raises(InputError, match=r"2 checkpoints: a.pdparams, b.pdparams"):
        find_checkpoint(tmp_path)


def test_weights_that_fit(tmp_path):
    found = read_checkpoint(written(tmp_path / "model.pdparams", WEIGHTS))
    require_fit(tmp_path, found, {name: ("float32", value.shape) for name, value in WEIGHTS.items()}, CONFIG, 5)


# -- what is no checkpoint -------------------------------------------------------------------------------------------


def test_an_empty_file(tmp_path):
    assert refused(written(tmp_path / "model.pdparams", b"")).what.endswith("the file is empty")


@pytest.mark.parametrize("share", [0.3, 0.95])
def test_a_checkpoint_that_is_cut_off(tmp_path, share):
    whole = pickle.dumps(WEIGHTS)
    cut = whole[: int(share * len(whole))]
    error = refused(written(tmp_path / "model.pdparams", cut))
    assert error.what.endswith(f"the checkpoint is cut off after {len(cut):,} bytes")
    assert error.hint == "copy it or download it again"


def test_the_state_of_an_optimizer_by_its_name_or_by_what_it_holds(tmp_path):
    state = {"conv2d_0.w_0_moment1_0": np.zeros(3, np.float32), "LR_Scheduler": {"last_lr": 0.01}}
    for name in ("model.pdopt", "renamed.pdparams"):
        error = refused(written(tmp_path / name, state))
        assert error.what.endswith("the state of an optimizer, not the weights of a network")
        assert "model.pdparams" in error.hint


@pytest.mark.parametrize("name", ["model.pdmodel", "model.pdiparams", "model.json"])
def test_an_export_needs_no_configuration(tmp_path, name):
    error = refused(written(tmp_path / name, b"\x08\x01"))
    assert error.what.endswith("an export, not a training checkpoint")
    assert error.hint == "leave out --config"


@pytest.mark.parametrize("key", ["model", "state_dict"])
def test_nested_weights_are_named_with_the_line_that_takes_them_out(tmp_path, key):
    error = refused(written(tmp_path / "model.pdparams", {key: WEIGHTS, "epoch": 3}))
    assert error.what.endswith(f"the checkpoint is nested: its weights are under {key!r}")
    assert error.cause == f"it contains {key}, epoch"
    assert f'paddle.load("model.pdparams")["{key}"]' in error.hint


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_weights_that_are_no_numbers(tmp_path, value):
    bad = WEIGHTS["head.conv.bias"].copy()
    bad[2] = value
    error = refused(written(tmp_path / "model.pdparams", {**WEIGHTS, "head.conv.bias": bad}))
    assert error.what.endswith("1 of 4 weights contain NaN or infinity: head.conv.bias")


def test_a_pickle_that_runs_something_is_not_run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    error = refused(written(tmp_path / "model.pdparams", {**WEIGHTS, "w": _Trap()}))
    assert error.cause == f"it contains a {os.mkdir.__module__}.mkdir, which is not plain data; nothing was run"
    assert not (tmp_path / "run").exists()


def test_what_pytorch_writes(tmp_path):
    with zipfile.ZipFile(tmp_path / "model.pdparams", "w") as archive:
        archive.writestr("archive/data.pkl", b"")
    assert refused(tmp_path / "model.pdparams").cause == "a zip archive, as PyTorch and NumPy (.npz) write"
    old = pickle.dumps(0x1950A86A20F9469CFC6C, 2) + pickle.dumps(1001, 2) + pickle.dumps({}, 2) + bytes(64)
    assert refused(written(tmp_path / "old.pdparams", old)).cause == "a checkpoint of PyTorch"


def test_text_and_other_values(tmp_path):
    assert "not a pickle" in refused(written(tmp_path / "a.pdparams", b"weights: none")).cause
    pointer = b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 1\n"
    assert refused(written(tmp_path / "e.pdparams", pointer)).cause == "a git-lfs pointer, not the file itself"
    assert refused(written(tmp_path / "b.pdparams", [1, 2])).cause.startswith("it contains a list")
    assert refused(written(tmp_path / "c.pdparams", {})).what.endswith("the checkpoint contains no weights")
    assert refused(written(tmp_path / "d.pdparams", {**WEIGHTS, "step": 3})).cause == "not weights: step (int)"


# -- checkpoints of another network ----------------------------------------------------------------------------------


def test_another_number_of_classes(tmp_path):
    other = {
        name: np.ones((7, *value.shape[1:]), np.float32) if name.startswith("head") else value
        for name, value in WEIGHTS.items()
    }
    error = misfit(tmp_path, other)
    assert error.what.endswith("the checkpoint has 7 classes, net.yml says 5")
    assert error.cause.startswith("head.conv.weight [7, 8, 1, 1], the network takes [5, 8, 1, 1], head.conv.bias [7]")
    assert error.hint == "set num_classes: 7 in the configuration"


def test_another_width(tmp_path):
    other = {
        "backbone.conv.weight": np.ones((16, 3, 3, 3), np.float32),
        "backbone.norm.weight": np.ones(16, np.float32),
        "head.conv.weight": np.ones((5, 16, 1, 1), np.float32),
        "head.conv.bias": WEIGHTS["head.conv.bias"],
    }
    error = misfit(tmp_path, other)
    assert error.what.endswith("3 of 4 weights have other shapes than in the network of net.yml")
    assert error.cause.startswith("the layers are the same, their widths differ: backbone.conv.weight [16, 3, 3, 3]")


def test_another_backbone(tmp_path):
    other = {name.replace("backbone.", "backbone.stage1."): value for name, value in WEIGHTS.items()}
    error = misfit(tmp_path, other)
    assert error.what.endswith("the checkpoint has another backbone than net.yml")
    assert error.cause == (
        "2 missing: backbone.conv.weight, backbone.norm.weight; "
        "2 left over: backbone.stage1.conv.weight, backbone.stage1.norm.weight"
    )


def test_missing_and_left_over_weights_are_listed(tmp_path):
    other = {**WEIGHTS, "ema.step": np.zeros(1, np.float32)}
    del other["head.conv.bias"]
    error = misfit(tmp_path, other)
    assert error.what.endswith("1 weights are missing and 1 are left over for the network of net.yml")
    assert error.cause == "1 missing: head.conv.bias; 1 left over: ema.step"


def test_another_network(tmp_path):
    error = misfit(tmp_path, {"a": np.ones(3, np.float32)})
    assert error.what.endswith("the checkpoint is of another network than net.yml: it has none of its 4 weights")


def test_names_with_a_prefix(tmp_path):
    error = misfit(tmp_path, {f"_layers.{name}": value for name, value in WEIGHTS.items()})
    assert error.what.endswith("the names of the weights begin with '_layers.'")


@pytest.mark.parametrize("dtype", ["float16", "float64"])
def test_weights_of_another_type(tmp_path, dtype):
    error = misfit(tmp_path, {name: value.astype(dtype) for name, value in WEIGHTS.items()})
    assert error.what.endswith(f"4 of 4 weights are of another type, 'backbone.conv.weight' is {dtype}")
    assert error.cause.startswith("the network computes with float32: backbone.conv.weight, ")

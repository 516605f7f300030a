"""Checkpoints: what is read, what is refused, and what fits a network."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from ocdnet.checkpoint import (
    SPEC_KEY,
    Checkpoint,
    load_exactly,
    load_pretrained,
    read_checkpoint,
)
from ocdnet.errors import DataError
from ocdnet.models.dbnet import DBNet

SPEC = {
    "model": {"backbone": "deformable_resnet50"},
    "dataset": {"train_dataset": {"args": {"img_mode": "RGB"}}},
}


def network(inner=4):
    backbone = nn.Sequential(nn.Linear(3, inner), nn.Linear(inner, 4))
    return DBNet(backbone, nn.Linear(4, 4), nn.Linear(4, 2))


def prefixed(state):
    return {f"model.{key}": value for key, value in state.items()}


def tao_best(state):
    """TAO's model_best.pth."""
    optimizer = {"state": {0: {"step": torch.tensor(3.0)}}, "param_groups": [{"lr": 1e-3}]}
    return {
        "epoch": 3,
        "global_step": 12,
        "state_dict": state,
        "optimizer": optimizer,
        "scheduler": {"last_epoch": 3},
        "config": {"model": {"backbone": "deformable_resnet18"}, "gpus": [0], "note": None},
        "metrics": {"hmean": 0.5},
    }


def epoch_checkpoint(state):
    """Lightning's, as TAO and we write it."""
    extras = {"optimizer_states": [], "lr_schedulers": [], "loops": {}, SPEC_KEY: SPEC}
    return {"epoch": 3, "state_dict": prefixed(state), **extras}


@pytest.mark.parametrize(
    ("wrap", "full"),
    [
        (dict, False),
        (prefixed, False),
        (lambda state: {"state_dict": state}, False),
        (tao_best, False),
        (epoch_checkpoint, True),
    ],
    ids=["flat", "prefixed", "nested", "tao", "epoch"],
)
def test_weights_are_read_whatever_holds_them(tmp_path, wrap, full):
    state = network().state_dict()
    torch.save(wrap(state), tmp_path / "a.pth")
    checkpoint = read_checkpoint(tmp_path / "a.pth")
    assert checkpoint.weights.keys() == state.keys()
    assert all(torch.equal(checkpoint.weights[key], state[key]) for key in state)
    assert checkpoint.full is full


def test_the_prefix_is_taken_off_the_front_only(tmp_path):
    """The reference takes `model.` out of the middle of a key too."""
    torch.save({"model.backbone.model.weight": torch.ones(1)}, tmp_path / "a.pth")
    assert list(read_checkpoint(tmp_path / "a.pth").weights) == ["backbone.model.weight"]


def test_a_checkpoint_of_ours_says_how_it_was_trained(tmp_path):
    torch.save(epoch_checkpoint(network().state_dict()), tmp_path / "ours.pth")
    torch.save(tao_best(network().state_dict()), tmp_path / "tao.pth")
    ours, tao = (read_checkpoint(tmp_path / f"{name}.pth") for name in ("ours", "tao"))
    assert (ours.backbone, ours.img_mode) == ("deformable_resnet50", "RGB")
    assert (tao.backbone, tao.img_mode) == (None, None)


class Opener:
    """Unpickling it creates a file."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return open, (str(self.path), "w")


def test_pickled_code_is_named_and_never_run(tmp_path):
    marker, path = tmp_path / "marker", tmp_path / "a.pth"
    torch.save({"state_dict": network().state_dict(), "extra": Opener(marker)}, path)
    with pytest.raises(DataError) as caught:
        read_checkpoint(path)
    assert caught.value.code == "unsafe-checkpoint"
    assert caught.value.got in ("io.open", "_io.open")
    assert not marker.exists()
    torch.load(path, weights_only=False)["extra"].close()
    assert marker.exists()  # it would have run


def test_a_pickled_module_is_refused_by_its_type(tmp_path):
    """As TAO writes its pruned networks."""
    torch.save(nn.Linear(2, 2), tmp_path / "pruned_0.1.pth")
    with pytest.raises(DataError) as caught:
        read_checkpoint(tmp_path / "pruned_0.1.pth")
    assert caught.value.code == "unsafe-checkpoint"
    assert caught.value.got == "torch.nn.modules.linear.Linear"
    assert str(tmp_path / "pruned_0.1.pth") in caught.value.message


@pytest.mark.filterwarnings("ignore:Detected pickle protocol")
@pytest.mark.parametrize("zipped", [True, False], ids=["zip", "legacy"])
def test_a_file_cut_anywhere_is_refused(tmp_path, zipped):
    whole, path = tmp_path / "whole.pth", tmp_path / "cut.pth"
    torch.save(network().state_dict(), whole, _use_new_zipfile_serialization=zipped)
    content = whole.read_bytes()
    # Cut within a type's name, the legacy format looks like one that holds an unknown type.
    codes = {"bad-checkpoint"} if zipped else {"bad-checkpoint", "unsafe-checkpoint"}
    for kept in range(0, len(content), 1 + len(content) // 150):
        path.write_bytes(content[:kept])
        with pytest.raises(DataError) as caught:
            read_checkpoint(path)
        assert caught.value.code in codes, kept
        assert str(path) in caught.value.message


@pytest.mark.filterwarnings("ignore:Detected pickle protocol")
@pytest.mark.parametrize(
    "content",
    [b"", b"model:\n  backbone: deformable_resnet18\n", b'{"a": 1}', b"1,2,3", b"\xff" * 99],
)
def test_a_file_of_another_kind_is_refused(tmp_path, content):
    (tmp_path / "a.pth").write_bytes(content)
    with pytest.raises(DataError) as caught:
        read_checkpoint(tmp_path / "a.pth")
    assert caught.value.code == "bad-checkpoint"


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ([torch.ones(1)], "a list"),
        ({"epoch": 3}, "no weights"),
        ({"state_dict": {}}, "no weights"),
        ({"state_dict": [torch.ones(1)]}, "a list"),
        (torch.ones(1), "a Tensor"),
    ],
)
def test_a_file_without_weights_says_what_it_holds(tmp_path, content, reason):
    torch.save(content, tmp_path / "a.pth")
    with pytest.raises(DataError, match=reason) as caught:
        read_checkpoint(tmp_path / "a.pth")
    assert caught.value.code == "bad-checkpoint"


@pytest.mark.parametrize("name", ["absent.pth", "."])
def test_no_file_is_no_checkpoint(tmp_path, name):
    with pytest.raises(DataError) as caught:
        read_checkpoint(tmp_path / name)
    assert caught.value.code == "no-checkpoint"
    assert caught.value.got == str(tmp_path / name)


def checkpoint_of(weights, path, spec=None):
    return Checkpoint(path / "a.pth", weights, spec or {}, full=False)


def test_exact_weights_fill_the_network(tmp_path):
    source, target = network().state_dict(), network()
    extra = {"auxiliary.weight": torch.ones(1)}
    load_exactly(target, checkpoint_of(source | extra, tmp_path), "deformable_resnet18")
    assert all(torch.equal(value, source[key]) for key, value in target.state_dict().items())


@pytest.mark.parametrize("spoil", ["missing", "other shape"])
def test_weights_that_do_not_fit_name_the_first_key_and_the_backbone(tmp_path, spoil):
    weights = network().state_dict()
    del weights["neck.weight"]
    if spoil == "other shape":
        weights["neck.weight"] = torch.ones(7)
    with pytest.raises(DataError) as caught:
        load_exactly(network(), checkpoint_of(weights, tmp_path), "deformable_resnet18")
    assert caught.value.code == "checkpoint-mismatch"
    assert caught.value.got == "1 wrong keys, the first neck.weight"
    assert "deformable_resnet18" in caught.value.expected


def test_weights_of_another_backbone_say_which_to_set(tmp_path):
    checkpoint = checkpoint_of(network(inner=9).state_dict(), tmp_path, SPEC)
    with pytest.raises(DataError) as caught:
        load_exactly(network(), checkpoint, "deformable_resnet18")
    assert caught.value.got == "backbone deformable_resnet50"
    assert caught.value.hint == "Set model.backbone=deformable_resnet50."


def test_pretrained_weights_fill_what_fits_and_report_the_rest(tmp_path):
    source, target = network().state_dict(), network()
    before = {key: value.clone() for key, value in target.state_dict().items()}
    given = {key: source[key] for key in ("backbone.0.weight", "backbone.0.bias", "neck.bias")}
    given |= {"neck.weight": torch.ones(7), "fc.weight": torch.ones(2)}
    report = load_pretrained(target, checkpoint_of(given, tmp_path))
    assert report.loaded == ["backbone.0.weight", "backbone.0.bias", "neck.bias"]
    assert report.missing == ["backbone.1.weight", "backbone.1.bias", "head.weight", "head.bias"]
    assert (report.mismatched, report.unexpected) == (["neck.weight"], ["fc.weight"])
    for key, value in target.state_dict().items():
        assert torch.equal(value, (source if key in report.loaded else before)[key]), key


def test_pretrained_weights_with_little_in_common_are_refused(tmp_path):
    """One tensor of the backbone's four, and all of the rest of the network."""
    weights = network().state_dict()
    for key in ("backbone.0.bias", "backbone.1.weight", "backbone.1.bias"):
        del weights[key]
    with pytest.raises(DataError) as caught:
        load_pretrained(network(), checkpoint_of(weights, tmp_path, SPEC))
    assert caught.value.code == "pretrained-mismatch"
    assert caught.value.got == "1 of 4 backbone tensors"
    assert "deformable_resnet50" in caught.value.hint

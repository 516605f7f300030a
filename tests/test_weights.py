"""Checkpoints: what is read, what is refused, and what fits a network."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from ocdnet.checkpoint import SPEC_KEY, Checkpoint
from ocdnet.errors import DataError
from ocdnet.models.dbnet import DBNet
from ocdnet.weights import LoadReport, load_exactly, load_pretrained, read_checkpoint

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


@pytest.mark.filterwarnings("ignore:Validating sparse tensor", "ignore:TypedStorage is deprecated")
@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ([torch.ones(1)], "a list"),
        ({"epoch": 3}, "no weights"),
        ({"state_dict": {}}, "no weights"),
        ({"state_dict": [torch.ones(1)]}, "a list"),
        (torch.ones(1), "a Tensor"),
        ({"state_dict": b"?", "state_dict_encrypted": True}, "encrypted"),
        ({"a": torch.ones(2).to_sparse(), "b": torch.ones(2, device="meta")}, "no weights"),
        ({"a": torch.ones(2, dtype=torch.complex64)}, "no weights"),
    ],
)
def test_a_file_without_weights_says_what_it_holds(tmp_path, content, reason):
    torch.save(content, tmp_path / "a.pth")
    with pytest.raises(DataError, match=reason) as caught:
        read_checkpoint(tmp_path / "a.pth")
    assert caught.value.code == "bad-checkpoint"


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
    report = load_pretrained(target, checkpoint_of(given, tmp_path), "deformable_resnet18")
    assert report.loaded == ["backbone.0.weight", "backbone.0.bias", "neck.bias"]
    assert report.missing == ["backbone.1.weight", "backbone.1.bias", "head.weight", "head.bias"]
    assert (report.mismatched, report.unexpected) == (["neck.weight"], ["fc.weight"])
    for key, value in target.state_dict().items():
        assert torch.equal(value, (source if key in report.loaded else before)[key]), key


def test_pretrained_weights_with_little_in_common_are_refused(tmp_path):
    """Every bias of the backbone, none of its weights, and all of the rest of the network."""
    weights = network().state_dict()
    del weights["backbone.0.weight"], weights["backbone.1.weight"]
    checkpoint = checkpoint_of(weights, tmp_path, SPEC)
    with pytest.raises(DataError) as caught:
        load_pretrained(network(), checkpoint, "deformable_resnet18")
    assert caught.value.code == "pretrained-mismatch"
    assert caught.value.got == "backbone weights: 0 of the 2 it needs"
    assert caught.value.hint == (
        "They are of deformable_resnet50: set model.backbone=deformable_resnet50."
    )


def test_weights_that_fit_no_backbone_say_so(tmp_path):
    weights = {"backbone.fc.weight": torch.ones(2, 2)}
    with pytest.raises(DataError) as caught:
        load_pretrained(network(), checkpoint_of(weights, tmp_path), "deformable_resnet18")
    assert caught.value.hint == "Remove model.pretrained_model_path, or name other weights."


def test_the_log_names_the_first_few_of_what_did_not_fit():
    report = LoadReport("TAO OCDNet", ["a"], [f"m{n}" for n in range(300)], ["u0", "u1"], [])
    assert report.lines() == [
        "1 tensors loaded, 300 missing, 2 unexpected, 0 of another shape.",
        "missing: m0, m1, m2, m3 and 296 more",
        "unexpected: u0, u1",
    ]


@pytest.mark.parametrize("spec", [3, {"model": 3}, {"model": {"backbone": None}}, {"dataset": []}])
def test_a_spec_of_any_shape_says_nothing_at_worst(tmp_path, spec):
    torch.save({"state_dict": network().state_dict(), SPEC_KEY: spec}, tmp_path / "a.pth")
    checkpoint = read_checkpoint(tmp_path / "a.pth")
    assert (checkpoint.backbone, checkpoint.img_mode) == (None, None)


def test_only_what_ocdnet_trained_can_be_resumed(tmp_path):
    """TAO's epoch checkpoints have the same keys, and neither our spec nor our order of samples."""
    content = epoch_checkpoint(network().state_dict())
    del content[SPEC_KEY]
    torch.save(content, tmp_path / "model_epoch_003_step_00012.pth")
    assert not read_checkpoint(tmp_path / "model_epoch_003_step_00012.pth").full

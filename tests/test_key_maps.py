"""Weights of other projects: recognised by their keys, renamed, and in the right place."""

from __future__ import annotations

import pytest
import torch
import torchvision
from torch import nn

from ocdnet.config.model import ModelConfig
from ocdnet.errors import DataError
from ocdnet.key_maps import UNKNOWN, translate
from ocdnet.models.factory import build_model
from ocdnet.weights import fitting_backbone, load_exactly, load_pretrained, read_checkpoint

CLASSIFIERS = {
    "resnet18": "a ResNet of torchvision or timm",
    "resnet34": "a ResNet of torchvision or timm",
    "resnet50": "a ResNet of torchvision or timm",
    "mobilenet_v2": "a MobileNet of torchvision",
    "mobilenet_v3_large": "a MobileNet of torchvision",
}
HEAD_PARTS = ("avgpool", "fc", "classifier")


def network(backbone):
    return build_model(ModelConfig(backbone=backbone))


def classifier(name):
    """torchvision's, with statistics that differ from those of an untrained network."""
    model = getattr(torchvision.models, name)(weights=None)
    for key, value in model.state_dict().items():
        if "running" in key:
            value.uniform_(0.5, 1.5)
    return model


def original_release(state):
    """State dict as MhLiao/DB saves it: a wrapped DataParallel, one decoder, a leftover classifier.

    Names from its backbones/resnet.py, decoders/seg_detector.py and structure/model.py.
    """
    renamed = {}
    for key, value in state.items():
        part, rest = key.split(".", 1)
        name = "backbone" if part == "backbone" else "decoder"
        renamed[f"model.module.{name}.{rest}"] = value
    for leftover, shape in {"fc": (1000, 512), "smooth": (256, 2048, 1, 1)}.items():
        renamed[f"model.module.backbone.{leftover}.weight"] = torch.zeros(shape)
        renamed[f"model.module.backbone.{leftover}.bias"] = torch.zeros(shape[0])
    return renamed


def test_the_original_release_fills_the_whole_network(tmp_path):
    source, target = network("deformable_resnet18"), network("deformable_resnet18")
    keys = original_release(source.state_dict())
    assert "model.module.decoder.out5.0.weight" in keys
    assert "model.module.decoder.binarize.3.bias" in keys
    torch.save(keys, tmp_path / "totaltext_resnet18")
    checkpoint = read_checkpoint(tmp_path / "totaltext_resnet18")
    load_exactly(target, checkpoint, "deformable_resnet18")
    assert all(torch.equal(target.state_dict()[k], v) for k, v in source.state_dict().items())
    report = load_pretrained(target, checkpoint, "deformable_resnet18")
    assert report.source == "the original DB release"
    assert (len(report.loaded), report.missing, report.mismatched) == (170, [], [])
    leftovers = [f"backbone.{name}" for name in ("fc.weight", "fc.bias")]
    assert report.unexpected[:2] == leftovers
    assert len(report.unexpected) == 4


@pytest.mark.parametrize("name", ["resnet18", "resnet50", "mobilenet_v2", "mobilenet_v3_large"])
def test_a_classifier_fills_the_whole_backbone(tmp_path, name):
    theirs, ours = classifier(name), network(name)
    torch.save(theirs.state_dict(), tmp_path / "a.pth")
    report = load_pretrained(ours, read_checkpoint(tmp_path / "a.pth"), name)
    assert report.source == CLASSIFIERS[name]
    assert not [key for key in report.missing if key.startswith("backbone.")]
    assert not report.mismatched
    assert all(".fc." in key or ".classifier." in key for key in report.unexpected)
    image = torch.linspace(-1, 1, 3 * 64 * 64).view(1, 3, 64, 64)
    layers = [layer for part, layer in theirs.named_children() if part not in HEAD_PARTS]
    with torch.inference_mode():
        expected = nn.Sequential(*layers).eval()(image)
        assert torch.equal(ours.backbone.eval()(image)[-1], expected)


@pytest.mark.parametrize("depth", [18, 50])
def test_a_plain_resnet_fills_a_deformable_one(tmp_path, depth):
    theirs, ours = classifier(f"resnet{depth}").state_dict(), network(f"deformable_resnet{depth}")
    torch.save(theirs, tmp_path / "a.pth")
    checkpoint = read_checkpoint(tmp_path / "a.pth")
    report = load_pretrained(ours, checkpoint, f"deformable_resnet{depth}")
    missing = [key for key in report.missing if key.startswith("backbone.")]
    state = ours.state_dict()
    assert missing
    assert all(".conv2_offset." in key and not state[key].any() for key in missing)
    assert torch.equal(state["backbone.layer3.1.conv2.weight"], theirs["layer3.1.conv2.weight"])
    assert report.unexpected == ["backbone.fc.weight", "backbone.fc.bias"]


@pytest.mark.parametrize(
    "wrap",
    [
        lambda state: {"model": state, "epoch": 3},  # torchvision's training scripts
        lambda state: {"arch": "resnet18", "state_dict": state, "state_dict_ema": state},  # timm's
        lambda state: {"model_state_dict": state},
        lambda state: {"state_dict": {f"module.{k}": v for k, v in state.items()}},
        lambda state: {f"_orig_mod.module.{k}": v for k, v in state.items()},
    ],
    ids=["torchvision", "timm", "habit", "parallel", "compiled"],
)
def test_whatever_holds_a_classifier(tmp_path, wrap):
    state = nn.ModuleDict({"conv1": nn.Linear(2, 2), "layer1": nn.Sequential(nn.Linear(2, 2))})
    torch.save(wrap(state.state_dict()), tmp_path / "a.pth")
    weights = read_checkpoint(tmp_path / "a.pth").weights
    assert list(weights) == [f"backbone.{key}" for key in state.state_dict()]


def test_of_an_average_beside_the_weights_the_weights_are_taken():
    """As TAO's own evaluation does with an epoch checkpoint of a run with model_ema."""
    keys = ["model.neck.in5.weight", "model_ema.module.neck.in5.weight"]
    kind, names = translate(keys)
    assert (kind.source, names) == ("TAO OCDNet", {"model.neck.in5.weight": "neck.in5.weight"})


def test_keys_that_say_nothing_stay_as_they_are():
    kind, names = translate(["module.weird.weight"])
    assert (kind.source, names) == (UNKNOWN, {"module.weird.weight": "weird.weight"})


@pytest.mark.parametrize("name", CLASSIFIERS)
def test_the_backbone_that_would_fit_is_found_by_its_shapes(name):
    _, names = translate(state := classifier(name).state_dict())
    assert fitting_backbone({names[key]: value for key, value in state.items()}) == name


@pytest.mark.parametrize(
    ("weights", "backbone", "got"),
    [
        ("resnet34", "resnet18", "backbone weights: 37, of which 20 have a place"),
        ("resnet34", "deformable_resnet50", "backbone weights: 17 of the 66 it needs"),
        ("resnet18", "mobilenet_v2", "backbone weights: 0 of the 52 it needs"),
        ("mobilenet_v2", "deformable_resnet18", "backbone weights: 0 of the 26 it needs"),
    ],
)
def test_weights_of_another_backbone_name_the_one_to_set(tmp_path, weights, backbone, got):
    torch.save(classifier(weights).state_dict(), tmp_path / "a.pth")
    with pytest.raises(DataError) as caught:
        load_pretrained(network(backbone), read_checkpoint(tmp_path / "a.pth"), backbone)
    error = caught.value
    assert error.code == "pretrained-mismatch"
    assert error.message == (
        f"{tmp_path}/a.pth ({CLASSIFIERS[weights]}) is not of the backbone {backbone}"
    )
    assert error.got == got
    assert error.hint == f"They are of {weights}: set model.backbone={weights}."


def test_a_classifier_alone_cannot_be_evaluated(tmp_path):
    torch.save(classifier("resnet18").state_dict(), tmp_path / "a.pth")
    with pytest.raises(DataError) as caught:
        load_exactly(network("resnet18"), read_checkpoint(tmp_path / "a.pth"), "resnet18")
    assert caught.value.code == "checkpoint-mismatch"
    assert "neck.in5.weight" in caught.value.got


@pytest.mark.parametrize(
    ("weights", "backbone"), [("resnet34", "resnet18"), ("deformable_resnet18", "resnet18")]
)
def test_weights_that_would_fill_a_simpler_backbone_are_not_evaluated_in_it(
    tmp_path, weights, backbone
):
    torch.save(network(weights).state_dict(), tmp_path / "a.pth")
    with pytest.raises(DataError) as caught:
        load_exactly(network(backbone), read_checkpoint(tmp_path / "a.pth"), backbone)
    assert caught.value.code == "checkpoint-mismatch"
    assert caught.value.hint == f"Set model.backbone={weights}."

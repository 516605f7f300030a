"""mmocr's detectors give what mmocr gives: its arithmetic is built anew in `mmocr.py`."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from ocdnet.backends.open import check_fit, open_predictor
from ocdnet.config.model import ModelConfig
from ocdnet.data.preprocess import Preprocess
from ocdnet.errors import DataError
from ocdnet.models.factory import build_model
from ocdnet.weights import load_pretrained, read_checkpoint
from zoo import mmocr

SIZE = (96, 64)


@pytest.fixture(scope="module")
def picture():
    """uint8[H, W, 3] in RGB, with a flat part and noise."""
    pixels = np.random.default_rng(0).integers(0, 256, (SIZE[1], SIZE[0], 3), dtype=np.uint8)
    pixels[20:44, 30:70] = (250, 10, 90)
    return pixels


def write(path, state):
    """As mmengine publishes a file."""
    torch.save({"meta": {"epoch": 1200, "cfg": "model = ..."}, "state_dict": state}, path)
    return path


def theirs(state, picture):
    exact = {key: value.double() for key, value in state.items()}
    return mmocr.probability(exact, torch.from_numpy(picture).permute(2, 0, 1)[None])[0].numpy()


def ours(path, backbone, picture):
    predictor = open_predictor(path, ModelConfig(backbone=backbone))
    preprocess = check_fit(predictor, Preprocess(SIZE, "RGB"), path)
    return predictor(preprocess.to_tensor([picture]))[0]


@pytest.mark.parametrize("backbone", mmocr.DEPTHS)
def test_the_maps_are_theirs(tmp_path, picture, backbone):
    state = mmocr.random_state(backbone)
    expected = theirs(state, picture)
    assert expected.std() > 0.1  # or nearly any network would do
    path = write(tmp_path / "dbnet.pth", state)
    difference = np.abs(ours(path, backbone, picture) - expected).max()
    assert difference < 1e-5
    filled = build_model(ModelConfig(backbone=backbone))
    report = load_pretrained(filled, read_checkpoint(path), backbone)
    assert (report.missing, report.unexpected, report.mismatched) == ([], [], [])
    assert report.source == "a DBNet of mmocr"


@pytest.fixture(scope="module")
def resnet18(tmp_path_factory):
    state = mmocr.random_state("resnet18")
    return state, write(tmp_path_factory.mktemp("mmocr") / "by_hand.pth", state)


@pytest.mark.parametrize("mode", ["RGB", "BGR"])
def test_a_training_starts_where_theirs_ended(resnet18, picture, mode):
    """TAO's normalisation, either order of channels: the same but at the picture's borders."""
    state, path = resnet18
    model = build_model(ModelConfig(backbone="resnet18"))
    load_pretrained(model, read_checkpoint(path).for_training(mode), "resnet18")
    given = picture if mode == "RGB" else picture[:, :, ::-1]
    images = torch.from_numpy(Preprocess(SIZE, mode).to_tensor([given]))
    with torch.inference_mode():
        first = model.backbone.eval()
        stem = first.bn1(first.conv1(images))
        found = model.eval()(images)[0, 0].numpy()
    rgb = torch.from_numpy(picture).permute(2, 0, 1)[None].double()
    mean, std = (torch.tensor(v).view(3, 1, 1) for v in (mmocr.MEAN, mmocr.STD))
    exact = {key: value.double() for key, value in state.items()}
    expected = mmocr._conv(exact, "backbone.conv1", (rgb - mean) / std, 2, 3)
    expected = mmocr._norm(exact, "backbone.bn1", expected)
    apart = (stem - expected).abs().amax((0, 1))
    assert apart[2:-2, 2:-2].max() < 1e-4  # three pixels of padding reach two of these
    print(mode, "stem border", float(apart.max()), "map", np.abs(found - theirs(state, picture)).max(), np.abs(found - theirs(state, picture)).mean())
    unfolded = build_model(ModelConfig(backbone="resnet18"))
    load_pretrained(unfolded, read_checkpoint(path), "resnet18")
    with torch.inference_mode():
        as_it_was = unfolded.eval()(images)[0, 0].numpy()
    print("unfolded", np.abs(as_it_was - theirs(state, picture)).max(), np.abs(as_it_was - theirs(state, picture)).mean())
    difference = np.abs(found - theirs(state, picture)).mean()
    assert difference < 0.1 * np.abs(as_it_was - theirs(state, picture)).mean()


def test_dbnet_plus_plus_is_not_taken_for_a_dbnet(tmp_path, resnet18, picture):
    state = {**resnet18[0], "neck.asf_conv.conv.weight": torch.ones(64, 256, 3, 3)}
    with pytest.raises(DataError) as caught:
        ours(write(tmp_path / "plus.pth", state), "resnet18", picture)
    assert "neck.asf_conv" in caught.value.got

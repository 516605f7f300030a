"""mmocr's detectors give what mmocr gives: its arithmetic is built anew in `mmocr.py`."""

from __future__ import annotations

import hashlib
from dataclasses import replace

import numpy as np
import pytest
import torch

from ocdnet import Detector
from ocdnet.backends.open import check_fit, open_model, open_predictor
from ocdnet.config.model import ModelConfig
from ocdnet.data.preprocess import Preprocess
from ocdnet.errors import DataError
from ocdnet.models.factory import build_model
from ocdnet.weights import load_pretrained, read_checkpoint
from ocdnet.zoo import registry
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


@pytest.mark.parametrize(("mode", "mean"), [("RGB", 1e-3), ("BGR", 5e-3)])
def test_a_training_starts_where_theirs_ended(resnet18, picture, mode, mean):
    """At TAO's normalisation, in either order of channels, but for the picture's borders.

    Without folding the maps are 0.08 apart in the mean.
    """
    state, path = resnet18
    model = build_model(ModelConfig(backbone="resnet18")).eval()
    load_pretrained(model, read_checkpoint(path).for_training(mode), "resnet18")
    given = picture if mode == "RGB" else picture[:, :, ::-1]
    images = torch.from_numpy(Preprocess(SIZE, mode).to_tensor([given]))
    with torch.inference_mode():
        stem = model.backbone.bn1(model.backbone.conv1(images))
        found = model(images)[0, 0].numpy()
    apart = (stem - mmocr.stem(state, torch.from_numpy(picture).permute(2, 0, 1)[None])).abs()
    assert apart[..., 2:-2, 2:-2].max() < 1e-4  # three pixels of padding reach two of these
    assert np.abs(found - theirs(state, picture)).mean() < mean


def test_a_detector_is_made_of_the_file_alone(resnet18, picture, monkeypatch):
    """Its network, order of channels and normalisation; of known weights their tested size."""
    state, path = resnet18
    detector = Detector(path, size=SIZE, resize="stretch")
    page = detector(np.ascontiguousarray(picture[:, :, ::-1]))
    assert np.abs(page.probability - theirs(state, picture)).max() < 1e-5
    assert open_model(path).suggested is None
    digest, made = (
        hashlib.sha256(path.read_bytes()).hexdigest(),
        registry.named("dbnet-r18-icdar2015"),
    )
    known = replace(made, url=f"https://nowhere.invalid/dbnet-{digest[:8]}.pth")
    monkeypatch.setattr(registry, "WEIGHTS", (known,))
    assert open_model(path).suggested == made.suggested
    assert Detector(path).size == (1344, 736)


def test_dbnet_plus_plus_is_not_taken_for_a_dbnet(tmp_path, resnet18, picture):
    state = {**resnet18[0], "neck.asf_conv.conv.weight": torch.ones(64, 256, 3, 3)}
    with pytest.raises(DataError) as caught:
        ours(write(tmp_path / "plus.pth", state), "resnet18", picture)
    assert "neck.asf_conv" in caught.value.got

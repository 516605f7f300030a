"""The network that the package brings along: small, finds text, and trainings start from it."""

from __future__ import annotations

import pytest
import torch

from ocdnet import Detector
from ocdnet.config.model import ModelConfig
from ocdnet.data.scenes.dataset import scene_at
from ocdnet.data.scenes.style import SceneStyle
from ocdnet.errors import EnvironmentFault
from ocdnet.metrics import DetectionMetric
from ocdnet.models.factory import build_model
from ocdnet.presets import PRESETS
from ocdnet.weights import load_pretrained, read_checkpoint
from ocdnet.zoo import fetching
from ocdnet.zoo.registry import STARTER, named


def test_it_finds_words_in_scenes_that_it_has_not_seen():
    found, metric = Detector(), DetectionMetric()
    assert found.size == STARTER.suggested.size
    assert found.postprocess.box_thresh == STARTER.suggested.box_thresh
    for number in range(1, 7):
        scene = scene_at(SceneStyle(fonts="bundled"), 77, number)
        metric.update(found(scene.image).polygons, scene.polygons, scene.ignore)
    assert metric.counts.gt_care > 40
    assert metric.counts.hmean > 0.5


def test_it_is_small():
    assert fetching.model_file(STARTER.name).stat().st_size < 6e6
    assert named(STARTER.name) is STARTER


def test_a_training_of_its_preset_starts_from_all_of_it():
    config = ModelConfig(**{key.partition(".")[2]: v for key, v in PRESETS["small"].items()})
    model = build_model(config)
    checkpoint = read_checkpoint(fetching.model_file(STARTER.name))
    assert checkpoint.backbone == STARTER.backbone
    report = load_pretrained(model, checkpoint.for_training("BGR"), STARTER.backbone)
    assert not (report.missing or report.unexpected or report.mismatched)
    assert all(torch.isfinite(value).all() for value in model.state_dict().values())


def test_where_the_file_is_missing(monkeypatch, tmp_path):
    monkeypatch.setattr(fetching, "__file__", str(tmp_path / "fetching.py"))
    with pytest.raises(EnvironmentFault, match="lacks the file"):
        Detector()

"""What is found on the GPU is what is found on the CPU."""

from __future__ import annotations

import json

import numpy as np
import pytest

import support
from gpu.device import DEVICE, without_gpu
from ocdnet.backends.torch import TorchPredictor

pytestmark = [pytest.mark.gpu, pytest.mark.usefixtures("small_network")]


@pytest.fixture(autouse=True)
def used(monkeypatch):
    """Devices that predictors ran on."""
    devices, whole = [], TorchPredictor.__call__

    def call(self, images):
        devices.append(next(self.model.parameters()).device.type)
        return whole(self, images)

    monkeypatch.setattr(TorchPredictor, "__call__", call)
    return devices


@pytest.mark.parametrize("batch", [1, 3])
def test_evaluate_scores_as_on_the_cpu(scenes, detector, tmp_path, used, batch):
    given = f"evaluate.batch_size={batch}"
    found = support.evaluate(scenes / "train", detector, tmp_path / "found", given)
    assert set(used) == {DEVICE}
    with without_gpu():
        expected = support.evaluate(scenes / "train", detector, tmp_path / "expected")
    assert used[-1] == "cpu"
    assert found["hmean"] == pytest.approx(expected["hmean"], abs=1e-6)
    assert found["counts"] == expected["counts"]
    assert expected["hmean"] > 0.5
    rows = [
        json.loads((tmp_path / name / "evaluate" / "results.json").read_text())["per_image"]
        for name in ("found", "expected")
    ]
    assert rows[0] == rows[1]


@pytest.mark.parametrize("polygon", ["false", "true"])
def test_inference_finds_the_cpus_boxes(scenes, detector, tmp_path, used, polygon):
    given, images = f"inference.polygon={polygon}", scenes / "train" / "img"
    found = support.infer(images, detector, tmp_path / "found", given, "inference.batch_size=4")
    assert set(used) == {DEVICE}
    with without_gpu():
        expected = support.infer(images, detector, tmp_path / "expected", given)
    assert found["boxes"] == expected["boxes"] >= 8
    for path in (tmp_path / "expected" / "inference").glob("*.txt"):
        other = tmp_path / "found" / "inference" / path.name
        lines = [file.read_text().splitlines() for file in (other, path)]
        assert len(lines[0]) == len(lines[1])
        for pair in zip(*lines, strict=True):
            (box, score), (cpus, cpu_score) = map(support.box_of, pair)
            assert abs(score - cpu_score) < 1e-2
            np.testing.assert_allclose(box, cpus, atol=1)

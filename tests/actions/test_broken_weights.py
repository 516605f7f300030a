"""A checkpoint with weights that are no numbers: refused before anything is made of it."""

from __future__ import annotations

import pytest
import torch

import support
from ocdnet.actions import export, prune, quantize
from ocdnet.config import spec
from ocdnet.errors import DataError

pytestmark = pytest.mark.usefixtures("small_network")

ACTIONS = {
    "export": (export, "export.checkpoint"),
    "prune": (prune, "prune.checkpoint"),
    "quantize": (quantize, "quantize.model_path"),
}


@pytest.mark.parametrize("value", [float("nan"), float("-inf")])
@pytest.mark.parametrize("name", ACTIONS)
def test_nothing_is_made_of_it(detector, tmp_path, name, value):
    content = torch.load(detector, weights_only=True)
    content["state_dict"]["model.backbone.stem.0.weight"][0, 0, 0, 0] = value
    path = tmp_path / "spoilt.pth"
    torch.save(content, path)
    action, key = ACTIONS[name]
    given = [f"{key}={path}", f"results_dir={tmp_path}"]
    with pytest.raises(DataError, match=r"spoilt\.pth holds weights that are NaN") as caught:
        action.run(spec.load(name, None, given))
    assert caught.value.got == "1 of 2352 values of backbone.stem.0.weight"
    assert list(tmp_path.rglob("*.pth")) == [path]
    assert not list(tmp_path.rglob("*.onnx"))


def test_nor_is_it_evaluated(detector, scenes, tmp_path):
    content = torch.load(detector, weights_only=True)
    content["state_dict"]["model.backbone.stem.0.weight"].fill_(float("nan"))
    torch.save(content, tmp_path / "spoilt.pth")
    with pytest.raises(DataError, match="holds weights that are NaN"):
        support.evaluate(scenes / "test", tmp_path / "spoilt.pth", tmp_path)

"""A lower operator set is kept where the network's operators allow it: the same numbers."""

from __future__ import annotations

import logging

import numpy as np
import onnx
import onnxruntime
import pytest
import torch

from ocdnet.actions import export
from ocdnet.config import spec
from ocdnet.config.model import ModelConfig
from ocdnet.data.preprocess import Preprocess
from ocdnet.errors import SpecError
from ocdnet.models.factory import build_model


@pytest.fixture(scope="module")
def checkpoints(tmp_path_factory):
    folder = tmp_path_factory.mktemp("opsets")
    for backbone in ("resnet18", "mobilenet_v3_large"):
        torch.manual_seed(0)
        state = build_model(ModelConfig(backbone=backbone)).state_dict()
        torch.save({"state_dict": state}, folder / f"{backbone}.pth")
    return folder


def exported(checkpoint, target, opset):
    given = [
        f"model.backbone={checkpoint.stem}",
        f"export.checkpoint={checkpoint}",
        f"export.onnx_file={target}",
        f"export.opset_version={opset}",
        "export.width=64",
        "export.height=64",
        f"results_dir={target.parent}",
    ]
    return export.run(spec.load("export", None, given))


@pytest.mark.parametrize(
    ("backbone", "opset", "ir"),
    [("resnet18", 17, 8), ("resnet18", 13, 7), ("mobilenet_v3_large", 13, 7)],
)
def test_a_plain_network_keeps_it(checkpoints, tmp_path, caplog, backbone, opset, ir):
    caplog.set_level(logging.WARNING, "ocdnet")
    path = tmp_path / "model.onnx"
    result = exported(checkpoints / f"{backbone}.pth", path, opset)
    model = onnx.load(path)
    assert (result.opset, model.opset_import[0].version, model.ir_version) == (opset, opset, ir)
    assert "opset_version" not in caplog.text
    assert result.max_difference < 1e-5
    assert Preprocess.is_in({entry.key: "" for entry in model.metadata_props})
    images = np.zeros((2, 3, 64, 64), np.float32)
    (maps,) = onnxruntime.InferenceSession(path).run(None, {"input": images})
    assert maps.shape == (2, 1, 64, 64)


def test_one_that_does_not_exist(checkpoints, tmp_path):
    with pytest.raises(SpecError, match="opset_version"):
        exported(checkpoints / "resnet18.pth", tmp_path / "model.onnx", 99)

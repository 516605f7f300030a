"""Export: standard ONNX that computes what torch does, or no file at all."""

from __future__ import annotations

import hashlib
import logging

import numpy as np
import onnx
import onnxruntime
import pytest
import torch

import support
from ocdnet.actions import export
from ocdnet.backends.torch import TorchPredictor
from ocdnet.config.model import ModelConfig
from ocdnet.data.preprocess import Preprocess
from ocdnet.errors import DataError, Exit, RunError, SpecError

pytestmark = pytest.mark.usefixtures("small_network")


@pytest.fixture(scope="module")
def graph(detector_onnx):
    return onnx.load(detector_onnx)


def test_a_standard_graph(graph):
    onnx.checker.check_model(graph, full_check=True)
    opsets = {entry.domain: entry.version for entry in graph.opset_import}
    assert opsets[""] == 19
    assert {node.domain for node in graph.graph.node} <= {"", "ai.onnx"}
    assert [node.op_type for node in graph.graph.node].count("DeformConv") == 3
    assert not graph.functions


def test_inputs_and_outputs(graph):
    def shapes(values):
        return {
            value.name: [d.dim_param or d.dim_value for d in value.type.tensor_type.shape.dim]
            for value in values
        }

    assert shapes(graph.graph.input) == {"input": ["batch", 3, 160, 160]}
    assert shapes(graph.graph.output) == {"pred": ["batch", 1, 160, 160]}


@pytest.mark.parametrize("batch", [1, 3])
def test_onnx_runtime_computes_what_torch_does(detector, detector_onnx, batch):
    predictor = TorchPredictor(detector, ModelConfig(), torch.device("cpu"))
    session = onnxruntime.InferenceSession(detector_onnx)
    rng = np.random.default_rng(batch)
    images = rng.uniform(-0.5, 0.5, (batch, 3, 160, 160)).astype(np.float32)
    (maps,) = session.run(None, {"input": images})
    np.testing.assert_allclose(maps[:, 0], predictor(images), atol=1e-4)


def test_the_file_says_how_it_is_fed(graph, detector):
    metadata = {entry.key: entry.value for entry in graph.metadata_props}
    assert Preprocess.from_metadata(metadata) == Preprocess((160, 160), "BGR")
    assert metadata["ocdnet.backbone"] == "deformable_resnet18"
    digest = hashlib.sha256(detector.read_bytes()).hexdigest()
    assert metadata["ocdnet.source_sha256"] == digest


def test_the_default_place_and_a_lower_opset(detector, tmp_path, caplog):
    checkpoint = tmp_path / "model_best.pth"
    checkpoint.write_bytes(detector.read_bytes())
    caplog.set_level(logging.WARNING, "ocdnet")
    result = support.export(
        checkpoint, tmp_path / "x.onnx", "export.onnx_file=''", "export.opset_version=11"
    )
    assert result["onnx_file"] == str(tmp_path / "model_best.onnx")
    assert result["opset"] == 19
    assert "raised from 11 to 19" in caplog.text
    assert onnx.load(result["onnx_file"]).opset_import[0].version == 19
    lines = support.status_lines(tmp_path / "export")
    assert lines[-1]["status"] == "SUCCESS"
    assert 0 <= result["max_difference"] < 1e-4


def test_an_existing_file_is_kept(detector, tmp_path):
    path = tmp_path / "model.onnx"
    path.write_text("precious")
    with pytest.raises(SpecError) as caught:
        support.export(detector, path)
    assert caught.value.exit_code == Exit.SPEC
    assert path.read_text() == "precious"


def test_without_parity_there_is_no_file(detector, tmp_path, monkeypatch):
    monkeypatch.setattr(export, "TOLERANCE", -1)
    with pytest.raises(RunError) as caught:
        support.export(detector, tmp_path / "model.onnx")
    assert (caught.value.code, caught.value.exit_code) == ("no-parity", Exit.RUN)
    assert [path.name for path in tmp_path.iterdir()] == ["export"]
    assert support.leftovers(tmp_path) == []
    assert support.status_lines(tmp_path / "export")[-1]["status"] == "FAILURE"


def test_a_missing_checkpoint(tmp_path):
    with pytest.raises(DataError, match=r"absent\.pth"):
        support.export(tmp_path / "absent.pth", tmp_path / "model.onnx")

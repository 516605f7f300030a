"""A disk that is full while a model is written: exit 6, and no half of a file."""

from __future__ import annotations

import os
import subprocess

import onnx
import pytest
import torch
from onnx import helper, numpy_helper

import support
from ocdnet.config import spec
from ocdnet.errors import Exit, RunError
from ocdnet.models.factory import build_model
from ocdnet.runs.files import RESULTS
from tiny_onnx import write_detector

pytestmark = pytest.mark.usefixtures("small_network")


@pytest.fixture
def disk(tmp_path):
    """A disk of 64 kB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(folder)]
    if os.geteuid() or subprocess.run(mount, check=False, capture_output=True).returncode:
        pytest.skip("mounting a small disk takes root")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


@pytest.fixture
def checkpoint(tmp_path):
    """An untrained detector of the small network."""
    loaded = spec.load("train", None, ["results_dir=x", "dataset.train_dataset.data_path=[x]"])
    path = tmp_path / "model.pth"
    state = build_model(loaded.experiment.model).state_dict()
    tree = spec.dump(loaded)
    torch.save(
        {"state_dict": {f"model.{k}": v for k, v in state.items()}, "ocdnet_spec": tree}, path
    )
    return path


def refused(action, *overrides):
    import importlib

    with pytest.raises(RunError) as raised:
        importlib.import_module(f"ocdnet.actions.{action}").run(spec.load(action, None, overrides))
    assert (raised.value.code, raised.value.exit_code) == ("disk-full", Exit.RUN)


def nothing_half(folder):
    names = [path.name for path in folder.rglob("*") if path.is_file()]
    assert not [
        name for name in names if name.endswith((".pth", ".onnx", ".engine", ".tmp", RESULTS))
    ]


def test_prune(checkpoint, disk):
    refused("prune", f"results_dir={disk}", f"prune.checkpoint={checkpoint}", "prune.round_to=4")
    nothing_half(disk)


def test_quantize_a_checkpoint(checkpoint, disk):
    pytest.importorskip("torchao")
    refused("quantize", f"results_dir={disk}", f"quantize.model_path={checkpoint}")
    nothing_half(disk)


@pytest.fixture
def heavy(tmp_path):
    """An ONNX detector of 300 kB."""
    path = write_detector(tmp_path / "heavy.onnx")
    graph = onnx.load(path)
    weights = torch.rand(1, 3, support.SIDE, support.SIDE).numpy()
    graph.graph.initializer.append(numpy_helper.from_array(weights, "weights"))
    graph.graph.node.insert(0, helper.make_node("Add", ["input", "weights"], ["shifted"]))
    graph.graph.node[1].input[0] = "shifted"
    onnx.save(graph, path)
    return path


@pytest.mark.parametrize("backend", ["onnxruntime", "openvino"])
@pytest.mark.parametrize("full", ["target", "temporary"])
def test_gen_trt_engine(heavy, disk, tmp_path, monkeypatch, backend, full):
    pytest.importorskip(backend)
    if full == "temporary":
        monkeypatch.setattr("tempfile.tempdir", str(disk))
    folder = disk if full == "target" else tmp_path / "engines"
    more = ["gen_trt_engine.tensorrt.data_type=FP16"] if full == "temporary" else []
    refused(
        "gen_trt_engine",
        f"results_dir={tmp_path}",
        f"gen_trt_engine.onnx_file={heavy}",
        f"gen_trt_engine.trt_engine={folder}/a.engine",
        f"gen_trt_engine.backend={backend}",
        f"gen_trt_engine.width={support.SIDE}",
        f"gen_trt_engine.height={support.SIDE}",
        *more,
    )
    nothing_half(folder)

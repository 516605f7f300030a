"""prune and what follows it: the file, its numbers, training it again, exporting it."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

import support
from ocdnet.backends.onnx import OnnxPredictor
from ocdnet.backends.torch import TorchPredictor
from ocdnet.config import spec
from ocdnet.config.model import ModelConfig
from ocdnet.errors import DataError, SpecError
from ocdnet.runs.typed import to_json
from ocdnet.weights import read_checkpoint

pytestmark = pytest.mark.usefixtures("small_network")
CPU = torch.device("cpu")


def prune(checkpoint, out, *more, data=None):
    from ocdnet.actions import prune as action

    given = [f"dataset.validate_dataset.data_path=[{data}]"] if data else []
    overrides = [
        f"results_dir={out}",
        f"prune.checkpoint={checkpoint}",
        "prune.round_to=4",
        "prune.ch_sparsity=0.3",
        f"dataset.validate_dataset.args.pre_processes.0.args.short_size=[{support.SIDE},{support.SIDE}]",
        *given,
        *more,
    ]
    return to_json(action.run(spec.load("prune", None, overrides)))


@pytest.fixture(scope="module")
def pruned(scenes, detector, tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        support.shrink_network(patch)
        out = tmp_path_factory.mktemp("pruned")
        return prune(detector, out, data=scenes / "test")


def test_what_it_tells(pruned, detector):
    before, after = pruned["before"], pruned["after"]
    assert pruned["pruned_model"].endswith("prune/pruned_0.3.pth")
    assert before["hmean"] == 1.0  # the fixture finds every block
    assert after["images"] == 4
    for what in ("parameters", "gflops", "megabytes"):
        assert 0.3 * before[what] < after[what] < 0.8 * before[what]
    written = json.loads(Path(pruned["results"]).read_text())
    assert {row["after"] % 4 for row in written.pop("layers")} == {0}
    assert written == pruned
    lines = support.status_lines(Path(pruned["results"]).parent)
    assert lines[-1]["status"] == "SUCCESS"


def test_the_file(pruned):
    content = support.load(pruned["pruned_model"])
    assert content["ocdnet_pruned"]["ch_sparsity"] == 0.3
    assert content["ocdnet_spec"]["model"]["backbone"] == "deformable_resnet18"
    checkpoint = read_checkpoint(Path(pruned["pruned_model"]))
    assert checkpoint.pruned
    assert not checkpoint.full
    assert checkpoint.img_mode == "BGR"


def test_it_is_trained_again_and_needs_no_more_telling(pruned, scenes, tmp_path):
    """Retrain, resume, evaluate, export: the checkpoints know their channels."""
    graph = [
        "model.load_pruned_graph=true",
        f"model.pruned_graph_path={pruned['pruned_model']}",
        "train.optimizer.args.lr=0.01",
        "train.num_epochs=10",
        "train.checkpoint_interval=5",
        "train.validation_interval=5",
    ]
    trained = support.train(scenes, tmp_path, *graph)
    resumed = support.train(
        scenes,
        tmp_path,
        *graph,
        "train.num_epochs=15",
        f"train.resume_training_checkpoint_path={tmp_path}/train/ocd_model_latest.pth",
    )
    assert resumed["epochs"] == 15
    assert trained["best_metric"]["value"] > 0.5
    best = Path(resumed["best_checkpoint"])
    state = support.load(best)["state_dict"]
    for key, value in support.load(pruned["pruned_model"])["state_dict"].items():
        assert state[f"model.{key}"].shape == value.shape
    scored = support.evaluate(scenes / "test", best, tmp_path)
    assert scored["hmean"] == pytest.approx(resumed["best_metric"]["value"])
    support.export(best, tmp_path / "pruned.onnx")
    images = np.random.default_rng(0).random((1, 3, support.SIDE, support.SIDE), np.float32)
    left = TorchPredictor(best, ModelConfig(), CPU)(images)
    np.testing.assert_allclose(OnnxPredictor(tmp_path / "pruned.onnx")(images), left, atol=1e-4)
    again = prune(best, tmp_path)
    assert again["after"]["parameters"] < pruned["after"]["parameters"]


def test_without_validation_data(detector, tmp_path):
    told = prune(detector, tmp_path)
    assert "hmean" not in told["after"]
    assert told["after"]["milliseconds"] > 0


@pytest.mark.parametrize(
    ("override", "key", "most"),
    [("prune.ch_sparsity=1.0", "ch_sparsity", "0.937"), ("prune.round_to=17", "round_to", "16")],
)
def test_settings_that_fit_no_layer(detector, tmp_path, override, key, most):
    with pytest.raises(SpecError) as raised:
        prune(detector, tmp_path, override)
    assert raised.value.code == "cannot-prune"
    assert f"prune.{key}={most}" in raised.value.hint
    more = "prune.ch_sparsity=0.6" if key == "round_to" else "prune.round_to=1"
    prune(detector, tmp_path / "again", more, f"prune.{key}={most}")  # what it says works
    assert not list((tmp_path / "prune").glob("*.pth"))


def test_settings_that_change_nothing(detector, tmp_path):
    with pytest.raises(SpecError, match="No layer would lose"):
        prune(detector, tmp_path, "prune.ch_sparsity=0.01", "prune.round_to=16")


def test_other_files(detector_onnx, pruned, tmp_path):
    with pytest.raises(DataError, match="exported network") as raised:
        prune(detector_onnx, tmp_path)
    assert raised.value.code == "wrong-model-file"
    (tmp_path / "no.pth").write_bytes(b"nothing")
    for name in ("no.pth", "absent.pth"):
        with pytest.raises(DataError):
            prune(tmp_path / name, tmp_path)
    assert not list((tmp_path / "prune").glob("*.pth"))
    assert support.leftovers(tmp_path) == []

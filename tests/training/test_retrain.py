"""Training goes on from a pruned graph: its channels stay, whoever reads the result."""

from __future__ import annotations

import pytest

import support
from models import pruning
from ocdnet.backends.onnx import OnnxPredictor
from ocdnet.config.model import ModelConfig
from ocdnet.errors import DataError
from ocdnet.models.factory import build_model

pytestmark = pytest.mark.usefixtures("small_network")
LAST = "model_epoch_003_step_00016.pth"


@pytest.fixture
def graph(detector, tmp_path):
    """The detector with three quarters of its blocks' inner channels."""
    model = build_model(ModelConfig())
    state = support.load(detector)["state_dict"]
    model.load_state_dict({key.removeprefix("model."): value for key, value in state.items()})
    return pruning.write(tmp_path / "pruned_0.25.pth", pruning.pruned(model, 0.25)[0])


def asked(graph, *more):
    return ["model.load_pruned_graph=true", f"model.pruned_graph_path={graph}", *more]


def shapes(path):
    state = support.load(path)["state_dict"]
    return {key.removeprefix("model."): value.shape for key, value in state.items()}


def test_the_channels_stay_and_the_checkpoint_knows_them(scenes, graph, tmp_path):
    result = support.train(scenes, tmp_path, *asked(graph, "train.optimizer.args.lr=0.003"))
    best = tmp_path / "train" / "model_best.pth"
    assert result["best_checkpoint"] == str(best)
    assert shapes(best) == shapes(graph)
    graph.unlink()  # nobody needs it any more
    scored = support.evaluate(scenes / "test", best, tmp_path)
    assert scored["hmean"] == pytest.approx(result["best_metric"]["value"], abs=0.02)
    exported = support.export(best, tmp_path / "pruned.onnx")
    assert exported["max_difference"] < 1e-3
    assert OnnxPredictor(tmp_path / "pruned.onnx").size == (support.SIDE, support.SIDE)


def test_a_resumed_run_goes_on_exactly_without_the_graph(scenes, graph, tmp_path):
    support.train(scenes, tmp_path / "whole", *asked(graph, "train.num_epochs=4"))
    support.train(
        scenes, tmp_path / "half", *asked(graph, "train.num_epochs=4", "train.max_minutes=0")
    )
    graph.unlink()
    start = f"train.resume_training_checkpoint_path={tmp_path}/half/train/ocd_model_latest.pth"
    support.train(scenes, tmp_path / "half", *asked(graph, "train.num_epochs=4", start))
    left, right = (support.load(tmp_path / run / "train" / LAST) for run in ("whole", "half"))
    assert support.differences(left["state_dict"], right["state_dict"]) == []
    assert support.differences(left["optimizer_states"], right["optimizer_states"]) == []


def test_a_graph_that_is_not_there(scenes, tmp_path):
    with pytest.raises(DataError) as raised:
        support.train(scenes, tmp_path, *asked(tmp_path / "none.pth"))
    assert str(tmp_path / "none.pth") in raised.value.message


def test_a_checkpoint_that_was_not_pruned(scenes, detector, tmp_path):
    with pytest.raises(DataError) as raised:
        support.train(scenes, tmp_path, *asked(detector))
    assert raised.value.code == "not-pruned"

"""FSDP on two CPU processes: what a GPU machine runs, without its refusal of CPUs and in bf16."""

from __future__ import annotations

import pytest
import torch

import processes
import support
from ocdnet.training.ema import EMA_KEY

ON_CPU = "without_strategy_check tell_share"
FSDP = "train.distributed_strategy=fsdp"
LENGTH = (
    "train.num_epochs=3",
    "train.optimizer.args.lr=0.001",
    "dataset.validate_dataset.loader.batch_size=1",
)
FIRST, LAST = "model_epoch_000_step_00002.pth", "model_epoch_002_step_00006.pth"


def run(scenes, out, *more):
    code, _, errors = processes.trained(
        processes.STANDALONE, scenes, out, *LENGTH, *more, before=ON_CPU
    )
    assert code == 0, errors
    return errors


@pytest.fixture(scope="module")
def scenes(tmp_path_factory):
    """5 images to validate, one at a time: a process has a batch more than the other."""
    folder = tmp_path_factory.mktemp("scenes")
    support.write_blocks(folder / "train", 8, seed=0)
    support.write_blocks(folder / "test", 5, seed=1)
    return folder


@pytest.fixture(scope="module")
def sharded(scenes, tmp_path_factory):
    out = tmp_path_factory.mktemp("sharded")
    errors = run(scenes, out, FSDP)
    assert "fsdp trains in fp16, whatever train.precision says" in errors
    assert errors.count("kept 0.5") == 2
    return out / "train"


def test_split_parameters_learn_as_whole_ones(scenes, sharded, tmp_path):
    run(scenes, tmp_path, "train.precision=bf16")
    split, whole = support.load(sharded / LAST), support.load(tmp_path / "train" / LAST)
    assert split["state_dict"].keys() == whole["state_dict"].keys()
    for key, tensor in whole["state_dict"].items():
        torch.testing.assert_close(split["state_dict"][key], tensor, rtol=0, atol=5e-3, msg=key)


def test_a_checkpoint_is_as_any_other(scenes, sharded, small_network, tmp_path):
    checkpoint = support.load(sharded / LAST)
    assert all(type(tensor) is torch.Tensor for tensor in checkpoint["state_dict"].values())
    states = checkpoint["optimizer_states"][0]["state"]
    assert {name for one in states.values() for name in one} >= {"exp_avg", "max_exp_avg_sq"}
    result = support.evaluate(scenes / "test", sharded / "model_best.pth", tmp_path / "e")
    assert result["images"] == 5
    # By one process without FSDP.
    start = f"train.resume_training_checkpoint_path={sharded / FIRST}"
    support.train(scenes, tmp_path, start, "train.num_epochs=2")


@pytest.mark.parametrize("averaged", [False, True])
def test_resumed_it_is_the_uninterrupted_run(scenes, sharded, tmp_path, averaged):
    """Of a checkpoint that holds an average of weights, the trained weights are taken."""
    checkpoint = support.load(sharded / FIRST)
    if averaged:
        trained = checkpoint["state_dict"]
        checkpoint["state_dict"] = {key: 2 * tensor for key, tensor in trained.items()}
        checkpoint[EMA_KEY] = {"updates": 2, "trained": trained}
    start = sharded / "start.pth"  # beside the best so far
    torch.save(checkpoint, start)
    run(scenes, tmp_path, FSDP, f"train.resume_training_checkpoint_path={start}")
    left, right = (
        {**support.load(folder / LAST), "ocdnet_spec": None}
        for folder in (sharded, tmp_path / "train")
    )
    assert support.differences(left, right) == []

"""Two real processes on the CPU: they share the work, agree on the result, and write once."""

from __future__ import annotations

import json

import pytest
import torch

import processes
import support

SMALL_STEPS = "train.optimizer.args.lr=1e-6"
UNEVEN = "dataset.validate_dataset.loader.batch_size=1"


def state(path):
    return {**support.load(path), "ocdnet_spec": None}


@pytest.fixture(scope="module")
def uneven(tmp_path_factory):
    """7 images to train on and 3 to validate: no number that two processes can halve."""
    folder = tmp_path_factory.mktemp("uneven")
    support.write_blocks(folder / "train", 7, seed=2)
    support.write_blocks(folder / "test", 3, seed=3)
    return folder


@pytest.fixture(scope="module")
def two(uneven, detector, tmp_path_factory):
    """A run of two processes from the weights of a detector; what they read, and stdout."""
    out = tmp_path_factory.mktemp("two")
    start = f"model.pretrained_model_path={detector}"
    code, text, errors = processes.trained(
        processes.STANDALONE,
        uneven,
        out,
        *(start, SMALL_STEPS, UNEVEN, "train.model_ema=true", "train.seed=-1"),
        before="record_images",
        SEEN=str(out),
    )
    assert code == 0, errors
    return out, text, errors


def seen(out, name):
    return [(out / f"{name}.{rank}").read_text().split() for rank in range(2)]


def test_training_shards_cover_the_set_and_are_disjoint(two):
    orders = []
    for epoch in range(2):
        left, right = seen(two[0], f"train{epoch}")
        assert len(left) == len(right) == 4
        # 7 images for 8 places: the first of the order is read twice.
        assert len({*left, *right}) == 7
        assert set(left) & set(right) <= {left[0]}
        orders.append((left, right))
    assert orders[0] != orders[1]


def test_every_image_is_validated_once(two):
    left, right = seen(two[0], "test1")
    assert sorted([*left, *right]) == sorted({*left, *right})
    assert (len(left), len(right)) == (2, 1)


@pytest.mark.usefixtures("small_network")
def test_the_pooled_hmean_is_that_of_one_process(two, uneven, tmp_path):
    out, text, _ = two
    (checkpoint,) = (out / "train").glob("model_epoch_001_*.pth")
    thresh = ["evaluate.post_processing.args.box_thresh=0.55"]
    alone = support.evaluate(uneven / "test", checkpoint, tmp_path, *thresh)
    together = json.loads(text)["last_metrics"]
    assert together["hmean"] > 0.5
    for name in ("hmean", "precision", "recall"):
        assert together[name] == pytest.approx(alone[name], abs=1e-7), name


def test_a_process_may_have_nothing_to_validate(scenes, tmp_path):
    support.write_blocks(tmp_path / "one", 1, seed=5)
    data = f"dataset.validate_dataset.data_path=[{tmp_path}/one]"
    code, text, errors = processes.trained(processes.STANDALONE, scenes, tmp_path, data)
    assert code == 0, errors
    assert json.loads(text)["best_metric"]["name"] == "hmean"


def test_only_rank_0_writes(two):
    out, text, errors = two
    assert json.loads(text)["checkpoints"] == [
        "model_epoch_000_step_00002.pth",
        "model_epoch_001_step_00004.pth",
    ]
    lines = support.status_lines(out / "train")
    assert [line["status"] for line in lines] == ["STARTED", "STARTED", *["RUNNING"] * 6, "SUCCESS"]
    assert errors.count("train_loss_epoch") == 2


@pytest.mark.parametrize(
    ("before", "loss", "weight"),
    [
        ("same_halves", 1e-4, 1e-5),
        # Else each process has its own hardest pixels and batch statistics: close, not the same.
        ("", 0.1, 0.02),
    ],
)
def test_two_processes_do_as_one_with_the_doubled_batch(scenes, tmp_path, before, loss, weight):
    steps = ["shuffle=false", "batch_size={}"]
    more = [
        *("train.optimizer.type=SGD", "train.optimizer.args.lr=0.01"),
        "dataset.validate_dataset.data_path=[]",
    ]
    losses, weights = [], []
    for launcher, batch in ((processes.PLAIN, 4), (processes.STANDALONE, 2)):
        loader = [f"dataset.train_dataset.loader.{step}".format(batch) for step in steps]
        out = tmp_path / str(batch)
        code, text, errors = processes.trained(launcher, scenes, out, *more, *loader, before=before)
        assert code == 0, errors
        losses.append(json.loads(text)["last_metrics"]["train_loss"])
        checkpoint = support.load(out / "train" / "model_epoch_001_step_00004.pth")
        weights.append(checkpoint["state_dict"])
    assert losses[1] == pytest.approx(losses[0], rel=loss)
    for key, tensor in weights[0].items():
        if "running" not in key:
            torch.testing.assert_close(weights[1][key], tensor, rtol=0, atol=weight, msg=key)

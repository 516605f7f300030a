"""Which checkpoints stay, and what a full disk leaves."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import support
from ocdnet.errors import RunError

pytestmark = pytest.mark.usefixtures("small_network")


def kept(folder):
    return sorted(path.name for path in folder.glob("model_epoch_*.pth"))


def test_the_newest_are_kept(scenes, tmp_path):
    result = support.train(scenes, tmp_path, "train.num_epochs=5", "train.keep_checkpoints=2")
    folder = tmp_path / "train"
    assert kept(folder) == ["model_epoch_003_step_00016.pth", "model_epoch_004_step_00020.pth"]
    assert json.loads((folder / "results.json").read_text())["checkpoints"] == kept(folder)
    assert result["best_checkpoint"] == str(folder / "model_best.pth")
    assert support.load(folder / "model_best.pth")["epoch"] == result["best_epoch"]
    assert (folder / "ocd_model_latest.pth").resolve().name == kept(folder)[-1]


def test_the_newest_within_an_epoch_too(scenes, tmp_path):
    steps = ["train.checkpoint_interval=1", "train.checkpoint_interval_unit=step"]
    support.train(scenes, tmp_path, "train.num_epochs=2", "train.keep_checkpoints=3", *steps)
    assert kept(tmp_path / "train") == [f"model_epoch_001_step_0000{n}.pth" for n in (6, 7, 8)]


@pytest.mark.parametrize("name", ["model_epoch_000_step_00004.pth", "ocd_model_latest.pth"])
def test_where_a_run_was_resumed_from_stays(scenes, tmp_path, name):
    folder = tmp_path / "train"
    support.train(scenes, tmp_path, "train.num_epochs=3")
    first = (folder / name).resolve().name
    start = f"train.resume_training_checkpoint_path={folder / name}"
    support.train(scenes, tmp_path, "train.num_epochs=5", "train.keep_checkpoints=1", start)
    assert kept(folder) == [first, "model_epoch_004_step_00020.pth"]


def test_new_ones_outlive_later_epochs_of_before(scenes, tmp_path):
    """A run taken back to its first epoch must not lose to the epochs it gave up."""
    folder = tmp_path / "train"
    support.train(scenes, tmp_path, "train.num_epochs=4")
    start = f"train.resume_training_checkpoint_path={folder / kept(folder)[0]}"
    batch = "dataset.train_dataset.loader.batch_size=4"
    support.train(scenes, tmp_path, "train.num_epochs=2", "train.keep_checkpoints=1", batch, start)
    assert (folder / "ocd_model_latest.pth").resolve().name == "model_epoch_001_step_00006.pth"
    assert kept(folder) == ["model_epoch_000_step_00004.pth", "model_epoch_001_step_00006.pth"]


def test_gathered_gradients_are_no_place_to_stop(scenes, tmp_path):
    """With 4 batches an epoch and 3 a step, the second step is the epoch's last batch."""
    steps = ["train.checkpoint_interval=1", "train.checkpoint_interval_unit=step"]
    support.train(scenes, tmp_path, "train.accumulate_grad_batches=3", *steps)
    folder = tmp_path / "train"
    assert kept(folder) == [f"model_epoch_00{(n - 1) // 2}_step_0000{n}.pth" for n in (1, 2, 3, 4)]
    progress = [line for line in support.status_lines(folder) if "epoch" in line]
    assert [(line["step"], line["max_step"]) for line in progress] == [(2, 4), (4, 4)]
    taken = support.load(folder / kept(folder)[-1])["optimizer_states"][0]["state"][0]["step"]
    assert taken == 4


def test_a_full_disk(scenes, tmp_path, monkeypatch):
    """The second epoch's checkpoint meets the error that the kernel gives for a full disk."""
    whole_open = Path.open

    def full(path, *arguments, **named):
        lacks_space = path.name.startswith(".model_epoch_001") and path.suffix == ".tmp"
        return whole_open(Path("/dev/full") if lacks_space else path, *arguments, **named)

    monkeypatch.setattr(Path, "open", full)
    with pytest.raises(RunError) as caught:
        support.train(scenes, tmp_path, "train.num_epochs=3")
    monkeypatch.setattr(Path, "open", whole_open)
    folder = tmp_path / "train"
    assert caught.value.code == "disk-full"
    assert "model_epoch_001_step_00008.pth" in caught.value.message
    assert "train.keep_checkpoints" in caught.value.hint
    assert "ocd_model_latest.pth" in caught.value.hint
    assert support.leftovers(tmp_path) == []
    last = support.status_lines(folder)[-1]
    assert (last["status"], "No space left" in last["message"]) == ("FAILURE", True)
    assert kept(folder) == ["model_epoch_000_step_00004.pth"]

    start = f"train.resume_training_checkpoint_path={folder / 'ocd_model_latest.pth'}"
    support.train(scenes, tmp_path, "train.num_epochs=3", start)
    support.train(scenes, tmp_path / "whole", "train.num_epochs=3")
    name = "model_epoch_002_step_00012.pth"
    resumed, unbroken = (
        {**support.load(at / "train" / name), "ocdnet_spec": None}
        for at in (tmp_path, tmp_path / "whole")
    )
    assert support.differences(resumed, unbroken) == []

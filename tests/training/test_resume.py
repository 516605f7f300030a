"""A resumed run is the uninterrupted one; the same seed is the same run."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch
from torch.nn.functional import dropout

import support
from ocdnet.errors import DataError, SpecError

pytestmark = pytest.mark.usefixtures("small_network")

FIRST_EPOCH = "model_epoch_000_step_00004.pth"
MID_EPOCH = "model_epoch_002_step_00009.pth"
LAST = "model_epoch_003_step_00016.pth"


@pytest.fixture(scope="module")
def whole(scenes, tmp_path_factory):
    """The folder of 4 epochs of 4 steps, a checkpoint every 3 steps."""
    out = tmp_path_factory.mktemp("whole")
    with pytest.MonkeyPatch.context() as patch:
        support.shrink_network(patch)
        interval = ["train.checkpoint_interval=3", "train.checkpoint_interval_unit=step"]
        support.train(scenes, out, "train.num_epochs=4", *interval)
    return out / "train"


@pytest.fixture
def resume(scenes, tmp_path):
    """Resume from a checkpoint to 4 epochs; the new run's folder."""

    def run(start, *more):
        start = f"train.resume_training_checkpoint_path={start}"
        support.train(scenes, tmp_path, "train.num_epochs=4", start, *more)
        return tmp_path / "train"

    return run


def state(path):
    """All that training goes on from: weights, optimizer, progress, the best so far."""
    checkpoint = support.load(path)
    assert checkpoint["optimizer_states"][0]["state"]
    return {key: value for key, value in checkpoint.items() if key != "ocdnet_spec"}


@pytest.mark.parametrize(
    ("start", "workers"),
    [
        ("model_epoch_001_step_00008.pth", 0),
        ("model_epoch_001_step_00008.pth", 1),
        ("model_epoch_000_step_00003.pth", 0),
        (MID_EPOCH, 1),
        ("model_best.pth", 0),
    ],
)
def test_equals_the_uninterrupted_run(whole, resume, start, workers):
    folder = resume(whole / start, f"dataset.train_dataset.loader.num_workers={workers}")
    states = (state(path / LAST) for path in (whole, folder))
    assert support.differences(*states) == []


@pytest.mark.parametrize(
    "options",
    [
        # 4 batches an epoch: steps of 3 batches and of 1.
        ["model_ema=true", "accumulate_grad_batches=3", "optimizer.type=AdamW"],
        [
            "optimizer.type=SGD",
            "optimizer.args.momentum=0.9",
            "lr_scheduler.args.per_step=true",
            "model_ema=true",
            "precision=bf16",
        ],
    ],
)
def test_equals_the_uninterrupted_run_whatever_its_options(scenes, tmp_path, options):
    more = [f"train.{option}" for option in options]
    each = "train.checkpoint_interval=1", "train.checkpoint_interval_unit=step"
    support.train(scenes, tmp_path / "whole", *each, *more)
    whole = sorted((tmp_path / "whole" / "train").glob("model_epoch_*.pth"))
    best = tmp_path / "whole" / "train" / "model_best.pth"
    at_the_end = support.load(best)["global_step"] == support.load(whole[-1])["global_step"]
    for path in [*whole[:-1:2], *([] if at_the_end else [best])]:
        out = tmp_path / path.stem
        support.train(scenes, out, f"train.resume_training_checkpoint_path={path}", *each, *more)
        pair = (whole[-1], out / "train" / whole[-1].name)
        assert support.differences(*(state(one) for one in pair)) == []


def test_what_the_network_draws_is_drawn_again(scenes, tmp_path, monkeypatch):
    whole = support.SmallBackbone.forward
    monkeypatch.setattr(
        support.SmallBackbone,
        "forward",
        lambda self, x: [dropout(f, 0.2, self.training) for f in whole(self, x)],
    )
    each = "train.checkpoint_interval=3", "train.checkpoint_interval_unit=step"
    support.train(scenes, tmp_path / "whole", *each)
    first, middle, *_, last = sorted((tmp_path / "whole" / "train").glob("model_epoch_*.pth"))
    for path in (first, middle):
        out = tmp_path / path.stem
        support.train(scenes, out, f"train.resume_training_checkpoint_path={path}")
        assert support.differences(state(last), state(out / "train" / last.name)) == []


def test_the_best_before_the_interruption_stays_the_best(whole, resume, tmp_path):
    checkpoint = support.load(whole / FIRST_EPOCH)
    (saved,) = (s for s in checkpoint["callbacks"].values() if "best_epoch" in s)
    saved["best"], saved["best_epoch"] = 2.0, 0  # better than any hmean can be
    before = tmp_path / "before"
    before.mkdir()
    torch.save(checkpoint, before / FIRST_EPOCH)
    torch.save(checkpoint, before / "model_best.pth")
    folder = resume(before / FIRST_EPOCH)
    assert support.load(folder / "model_best.pth")["epoch"] == 0
    result = json.loads((folder / "results.json").read_text())
    assert (result["best_epoch"], result["best_metric"]["value"]) == (0, 2.0)


def test_a_checkpoint_of_an_earlier_release_which_kept_no_loss_of_its_best_resumes(
    whole, resume, tmp_path
):
    checkpoint = support.load(whole / FIRST_EPOCH)
    (saved,) = (s for s in checkpoint["callbacks"].values() if "best_epoch" in s)
    del saved["best_loss"]
    before = tmp_path / "before"
    before.mkdir()
    torch.save(checkpoint, before / FIRST_EPOCH)
    torch.save(checkpoint, before / "model_best.pth")
    result = json.loads((resume(before / FIRST_EPOCH) / "results.json").read_text())
    assert result["epochs"] == 4


def test_a_best_that_is_nowhere_is_not_claimed(whole, resume, tmp_path):
    alone = tmp_path / "alone.pth"
    shutil.copyfile(whole / FIRST_EPOCH, alone)
    folder = resume(alone)
    result = json.loads((folder / "results.json").read_text())
    assert support.load(folder / "model_best.pth")["epoch"] == result["best_epoch"] > 0


@pytest.mark.parametrize("start", [FIRST_EPOCH, MID_EPOCH])
def test_more_epochs_follow_the_new_schedule(whole, resume, start):
    folder = resume(whole / start, "train.num_epochs=6", "train.lr_scheduler.args.warmup_epoch=1")
    rates = {}
    for path in folder.glob("model_epoch_*.pth"):
        checkpoint = support.load(path)
        rates[checkpoint["epoch"]] = checkpoint["optimizer_states"][0]["param_groups"][0]["lr"]
    # TAO's WarmupPolyLR after warm-up: base * ((E - e) / (E - W)) ** 0.9.
    expected = {e: pytest.approx(1e-3 * ((6 - e) / 5) ** 0.9) for e in rates}
    assert rates == expected
    assert set(rates) >= {2, 3, 4, 5}
    moved = support.differences(
        support.load(folder / "model_epoch_004_step_00020.pth")["state_dict"],
        support.load(folder / "model_epoch_005_step_00024.pth")["state_dict"],
    )
    assert moved


def test_fewer_epochs_than_it_has_seen(whole, resume):
    with pytest.raises(SpecError) as caught:
        resume(whole / LAST, "train.num_epochs=3")
    error = caught.value
    assert (error.code, error.got) == ("too-few-epochs", 3)
    assert "train.num_epochs=5 or more" in error.hint


def test_another_batch_size_from_the_next_epoch_on(whole, resume):
    folder = resume(whole / FIRST_EPOCH, "dataset.train_dataset.loader.batch_size=3")
    # 4 steps of 2 images, then three epochs of 3 steps: all images, each time.
    names = sorted(path.name for path in folder.glob("model_epoch_*"))
    assert names == [f"model_epoch_00{n}_step_000{4 + 3 * n:02d}.pth" for n in (1, 2, 3)]


def test_the_epoch_resumed_within_is_timed_from_the_resumption(whole, resume):
    folder = resume(whole / MID_EPOCH)
    progress = [line for line in support.status_lines(folder) if "epoch" in line]
    assert [line["epoch"] for line in progress] == [2, 3]
    assert all(line["time_per_epoch"].startswith("0:00:") for line in progress)


def test_the_seed_decides(scenes, tmp_path):
    seeds = {"a": 1, "b": 1, "c": 2}
    for name, seed in seeds.items():
        support.train(scenes, tmp_path / name, f"train.seed={seed}", "train.num_epochs=1")
    a, b, c = (state(tmp_path / name / "train" / FIRST_EPOCH)["state_dict"] for name in seeds)
    assert support.differences(a, b) == []
    assert support.differences(a, c)


def test_a_drawn_seed_is_written_down(scenes, tmp_path):
    support.train(scenes, tmp_path / "a", "train.seed=-1", "train.num_epochs=1")
    used = support.load(tmp_path / "a" / "train" / FIRST_EPOCH)["ocdnet_spec"]["train"]["seed"]
    support.train(scenes, tmp_path / "b", f"train.seed={used}", "train.num_epochs=1")
    a, b = (state(tmp_path / name / "train" / FIRST_EPOCH)["state_dict"] for name in "ab")
    assert support.differences(a, b) == []


def test_a_drawn_seed_stays(scenes, tmp_path):
    drawn = "train.seed=-1"
    support.train(scenes, tmp_path, drawn, "train.num_epochs=1")
    support.train(scenes, tmp_path / "whole", drawn, "train.num_epochs=1")
    start = f"train.resume_training_checkpoint_path={tmp_path / 'train' / FIRST_EPOCH}"
    support.train(scenes, tmp_path / "on", start, drawn)
    seeds = [
        support.load(at / "train" / name)["ocdnet_spec"]["train"]["seed"]
        for at, name in [
            (tmp_path, FIRST_EPOCH),
            (tmp_path / "on", "model_epoch_001_step_00008.pth"),
            (tmp_path / "whole", FIRST_EPOCH),
        ]
    ]
    assert seeds[0] == seeds[1] != seeds[2]


@pytest.mark.parametrize("held", [FIRST_EPOCH, "model_best.pth", "results.json"])
def test_a_folder_of_another_run_is_left_alone(whole, resume, tmp_path, held):
    other = tmp_path / "train" / held
    other.parent.mkdir()
    other.write_text("precious")
    with pytest.raises(SpecError) as caught:
        resume(whole / FIRST_EPOCH)
    assert (caught.value.code, caught.value.got) == ("results-dir-in-use", held)
    assert other.read_text() == "precious"
    assert [path.name for path in other.parent.iterdir()] == [held]


def test_a_resumption_that_came_to_nothing_may_be_repeated(whole, resume, tmp_path):
    (tmp_path / "train").mkdir()
    shutil.copyfile(whole / "model_best.pth", tmp_path / "train" / "model_best.pth")
    (tmp_path / "train" / "status.json").write_text('{"status": "RUNNING"}\n')
    assert (resume(whole / MID_EPOCH) / LAST).is_file()


def test_a_dry_run_of_a_resumption(whole, resume, tmp_path):
    folder = resume(whole / LAST, "train.is_dry_run=true", "train.num_epochs=9")
    assert not list(folder.glob("model_epoch_*"))
    assert support.status_lines(folder)[-1]["status"] == "SUCCESS"


def test_resuming_within_the_folder_goes_on_in_it(scenes, tmp_path):
    support.train(scenes, tmp_path, "train.num_epochs=1")
    latest = tmp_path / "train" / "ocd_model_latest.pth"
    result = support.train(scenes, tmp_path, f"train.resume_training_checkpoint_path={latest}")
    assert result["epochs"] == 2
    assert result["checkpoints"] == [FIRST_EPOCH, "model_epoch_001_step_00008.pth"]
    states = [line["status"] for line in support.status_lines(tmp_path / "train")]
    assert states.count("SUCCESS") == 2


def test_weights_alone_cannot_be_resumed(whole, resume, tmp_path):
    path = tmp_path / "weights.pth"
    torch.save({"state_dict": support.load(whole / LAST)["state_dict"]}, path)
    with pytest.raises(DataError, match="no state of the optimiser") as caught:
        resume(path)
    assert caught.value.code == "not-resumable"
    assert f"model.pretrained_model_path={path}" in caught.value.hint


def test_a_missing_checkpoint(resume, tmp_path):
    with pytest.raises(DataError) as caught:
        resume(tmp_path / "absent.pth")
    assert (caught.value.code, caught.value.got) == ("no-checkpoint", str(tmp_path / "absent.pth"))
    last = support.status_lines(tmp_path / "train")[-1]
    assert last["status"] == "FAILURE"
    assert "absent.pth" in last["message"]


def test_another_backbone(whole, resume):
    with pytest.raises(DataError) as caught:
        resume(whole / LAST, "model.backbone=deformable_resnet50")
    assert caught.value.code == "checkpoint-mismatch"
    assert (caught.value.got, caught.value.expected) == (
        "deformable_resnet50",
        "deformable_resnet18",
    )


@pytest.mark.parametrize(
    ("override", "key", "before"),
    [
        ("train.optimizer.type=SGD", "train.optimizer.type", "Adam"),
        ("train.optimizer.type=AdamW", "train.optimizer.type", "Adam"),
        ("train.optimizer.args.amsgrad=false", "train.optimizer.args.amsgrad", True),
    ],
)
def test_another_optimiser(whole, resume, override, key, before):
    with pytest.raises(DataError, match=key) as caught:
        resume(whole / FIRST_EPOCH, override)
    assert (caught.value.code, caught.value.expected) == ("checkpoint-mismatch", before)


def test_the_specs_numbers_hold_not_the_checkpoints(whole, resume):
    numbers = {"lr": 0.002, "weight_decay": 0.1, "eps": 1e-6}
    more = [f"train.optimizer.args.{name}={value}" for name, value in numbers.items()]
    folder = resume(whole / FIRST_EPOCH, *more)
    rate = support.load(folder / LAST)["optimizer_states"][0]["param_groups"][0]
    assert {name: rate[name] for name in ("weight_decay", "eps")} == {
        "weight_decay": 0.1,
        "eps": 1e-6,
    }
    assert rate["lr"] == pytest.approx(0.002 * (1 / 4) ** 0.9)


def test_another_network(whole, resume, tmp_path):
    checkpoint = support.load(whole / LAST)
    checkpoint["state_dict"]["model.head.binarize.0.weight"] = torch.zeros(3, 3)
    torch.save(checkpoint, tmp_path / LAST)
    with pytest.raises(DataError) as caught:
        resume(tmp_path / LAST)
    assert caught.value.code == "checkpoint-mismatch"
    assert "head.binarize.0.weight" in str(caught.value)


def test_a_finished_run_is_left_as_it_is(whole, resume):
    folder = resume(whole / LAST)
    result = json.loads((folder / "results.json").read_text())
    assert (result["epochs"], result["checkpoints"]) == (4, [])
    assert Path(result["best_checkpoint"]).is_file()

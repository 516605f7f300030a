"""What a training run leaves behind, what it refuses, and how it fails."""

from __future__ import annotations

import errno
import fcntl
import json
import re
import resource
from pathlib import Path

import pytest

import processes
import support
from ocdnet.config import spec
from ocdnet.errors import DataError, EnvironmentFault, Exit, SpecError
from ocdnet.runs.status import StatusWriter

pytestmark = pytest.mark.usefixtures("small_network")
WARMUP = "'train.lr_scheduler.args.warmup_epoch'"


@pytest.fixture(scope="module")
def finished(scenes, tmp_path_factory):
    """The folder and the result of 2 epochs of 4 steps, and the spec they were given."""
    out = tmp_path_factory.mktemp("finished")
    warm = "train.lr_scheduler.args.warmup_epoch=3"  # lowered to 1
    with pytest.MonkeyPatch.context() as patch:
        support.shrink_network(patch)
        result = support.train(scenes, out, warm, "encryption_key=secret")
    return out / "train", result, spec.load("train", None, support.train_overrides(scenes, out))


def test_files(finished):
    folder, _, _ = finished
    assert sorted(path.name for path in folder.iterdir()) == [
        ".ocdnet_files.jsonl",
        "experiment.yaml",
        "lightning_logs",
        "model_best.pth",
        "model_epoch_000_step_00004.pth",
        "model_epoch_001_step_00008.pth",
        "ocd_model_latest.pth",
        "results.json",
        "samples.json",
        "status.json",
    ]
    assert (folder / "ocd_model_latest.pth").readlink() == Path("model_epoch_001_step_00008.pth")
    assert (folder / "model_best.pth").stat().st_mode & 0o077 == 0o044  # as any file, not 0600


def test_checkpoints_hold_everything(finished):
    folder, _, _ = finished
    for name in ("model_best.pth", "model_epoch_001_step_00008.pth"):
        checkpoint = support.load(folder / name)  # weights_only
        assert all(key.startswith("model.") for key in checkpoint["state_dict"])
        assert checkpoint["optimizer_states"][0]["state"]
        assert checkpoint["ocdnet_spec"]["model"]["backbone"] == "deformable_resnet18"
        assert checkpoint["ocdnet_spec"]["encryption_key"] == "***"


def test_the_resolved_spec_loads_again(finished):
    folder, _, given = finished
    again = spec.load("train", folder / "experiment.yaml")
    assert again.experiment.train.lr_scheduler.args.warmup_epoch == 1
    given.experiment.train.lr_scheduler.args.warmup_epoch = 1
    given.experiment.encryption_key = "***"
    assert again.experiment == given.experiment
    assert "secret" not in (folder / "experiment.yaml").read_text()


def test_status_lines(finished):
    folder, _, _ = finished
    lines = support.status_lines(folder)
    warnings = [line["message"] for line in lines if line["verbosity"] == "WARNING"]
    assert sorted(text.partition(" ")[0] for text in warnings) == ["'encryption_key'", WARMUP]
    lines = [line for line in lines if line["verbosity"] != "WARNING"]
    assert [line["status"] for line in lines] == ["STARTED", "STARTED", *["RUNNING"] * 6, "SUCCESS"]
    for line in lines:
        assert re.fullmatch(r"\d\d/\d\d/\d{4} \d\d:\d\d:\d\d", f"{line['date']} {line['time']}")
    progress = [line for line in lines if "epoch" in line]
    keys = ("epoch", "step", "max_epoch", "max_step")
    assert [tuple(line[key] for key in keys) for line in progress] == [(0, 4, 1, 8), (1, 8, 1, 8)]
    assert progress[-1]["eta"] == "0:00:00"
    kpis = [line["kpi"] for line in lines if "kpi" in line]
    of_epoch = ["binary_loss", "lr", "shrink_loss", "threshold_loss", "train_loss"]
    assert [sorted(kpi) for kpi in kpis] == [["hmean", "precision", "recall"], of_epoch] * 2
    assert all(isinstance(number, float) for kpi in kpis for number in kpi.values())


def test_results(finished):
    folder, result, _ = finished
    assert json.loads((folder / "results.json").read_text()) == result
    assert result["best_metric"]["name"] == "hmean"
    assert result["best_checkpoint"] == str(folder / "model_best.pth")
    assert support.load(folder / "model_best.pth")["epoch"] == result["best_epoch"]
    assert result["checkpoints"] == [
        "model_epoch_000_step_00004.pth",
        "model_epoch_001_step_00008.pth",
    ]
    kpis = [line["kpi"] for line in support.status_lines(folder) if "kpi" in line]
    told = kpis[-2] | kpis[-1]
    last = {name: told[name] for name in ("train_loss", "hmean", "precision", "recall")}
    assert result["last_metrics"] == last


def test_the_log_holds_the_loss_of_each_epoch(scenes, tmp_path, caplog):
    caplog.set_level("INFO", "ocdnet")
    support.train(scenes, tmp_path, "train.num_epochs=1")
    # AutoML's client reads this line.
    (told,) = re.findall(r"train_loss_epoch: ([\d.]+)", caplog.text)
    assert float(told) > 0
    assert "8 images with 16 text regions (0 ignored); validating on 4 images" in caplog.text


@pytest.mark.parametrize(
    "left", ["model_best.pth", "model_epoch_000_step_00004.pth", "results.json"]
)
def test_a_folder_that_holds_a_run_is_left_alone(scenes, tmp_path, left):
    folder = tmp_path / "train"
    folder.mkdir()
    (folder / left).write_text("precious")
    before = {path: (path.read_bytes(), path.stat().st_mtime_ns) for path in folder.iterdir()}
    with pytest.raises(SpecError) as caught:
        support.train(scenes, tmp_path)
    assert (caught.value.code, caught.value.exit_code) == ("results-dir-in-use", Exit.SPEC)
    after = {path: (path.read_bytes(), path.stat().st_mtime_ns) for path in folder.iterdir()}
    assert after == before


def test_a_folder_in_which_a_run_is_under_way_is_left_alone(finished, scenes):
    folder, _, _ = finished
    latest = f"train.resume_training_checkpoint_path={folder / 'ocd_model_latest.pth'}"
    before = {path: path.stat().st_mtime_ns for path in folder.iterdir()}
    with (folder / "status.json").open() as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        with pytest.raises(SpecError, match="Another run is writing") as caught:
            support.train(scenes, folder.parent, latest)
    assert (caught.value.code, caught.value.exit_code) == ("results-dir-in-use", Exit.SPEC)
    assert {path: path.stat().st_mtime_ns for path in folder.iterdir()} == before


def test_a_run_that_was_killed_before_its_first_checkpoint_may_be_repeated(scenes, tmp_path):
    (tmp_path / "train").mkdir()
    (tmp_path / "train" / "status.json").write_text('{"status": "RUNNING"}\n')
    assert support.train(scenes, tmp_path, "train.num_epochs=1")["epochs"] == 1


def test_without_locks_the_status_decides(scenes, tmp_path, monkeypatch, caplog):
    def unknown(*_):
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", unknown)
    (tmp_path / "train").mkdir()
    status = tmp_path / "train" / "status.json"
    status.write_text('{"status": "RUNNING"}\n')
    with pytest.raises(SpecError) as caught:
        support.train(scenes, tmp_path)
    assert caught.value.got == "status.json saying RUNNING"
    assert "has no locks" in caplog.text
    status.write_text('{"status": "FAILURE"}\n')
    support.train(scenes, tmp_path, "train.num_epochs=1")


def test_the_refusal_says_how_to_go_on(finished, scenes):
    folder, _, _ = finished
    with pytest.raises(SpecError) as caught:
        support.train(scenes, folder.parent)
    latest = folder / "ocd_model_latest.pth"
    assert f"train.resume_training_checkpoint_path={latest}" in caught.value.hint


def test_a_run_that_failed_at_once_may_be_repeated(scenes, tmp_path):
    spoilt = support.copied(scenes, tmp_path / "spoilt")
    label = spoilt / "train" / "gt" / "gt_img_3.txt"
    whole = label.read_text()
    label.write_text(whole + "1,2,3\n")
    with pytest.raises(DataError) as caught:
        support.train(spoilt, tmp_path)
    assert f"{label}:3" in str(caught.value)
    label.write_text(whole)
    support.train(spoilt, tmp_path, "train.num_epochs=1")
    states = [line["status"] for line in support.status_lines(tmp_path / "train")]
    assert states[:2] == ["STARTED", "FAILURE"]
    assert states[-1] == "SUCCESS"


@pytest.mark.parametrize("workers", [0, 1])
@pytest.mark.parametrize("split", ["train", "test"])
def test_an_unreadable_image_ends_the_run(scenes, tmp_path, workers, split):
    spoilt = support.copied(scenes, tmp_path / "spoilt")
    image = spoilt / split / "img" / "img_3.png"
    image.write_bytes(image.read_bytes()[:300])
    loaders = [
        f"dataset.{name}.loader.num_workers={workers}"
        for name in ("train_dataset", "validate_dataset")
    ]
    code, text, log = processes.trained(processes.PLAIN, spoilt, tmp_path, *loaders)
    assert code == Exit.DATA, log
    error = json.loads(text)["error"]
    assert error["code"] == "unreadable-image"
    assert str(image) in error["message"]
    last = support.status_lines(tmp_path / "train")[-1]
    assert (last["status"], last["verbosity"]) == ("FAILURE", "ERROR")
    assert str(image) in last["message"]
    assert support.leftovers(tmp_path) == []
    assert not (tmp_path / "train" / "results.json").exists()


@pytest.mark.parametrize("strategy", ["fsdp", "deepspeed_stage_3_offload"])
def test_a_network_is_split_over_gpus_only(scenes, tmp_path, strategy):
    with pytest.raises(EnvironmentFault) as caught:
        support.train(scenes, tmp_path, f"train.distributed_strategy={strategy}")
    assert (caught.value.code, caught.value.got) == ("needs-gpu", strategy)
    assert "train.distributed_strategy=ddp" in caught.value.hint
    assert not (tmp_path / "train").exists()


def test_an_unwritable_folder(scenes, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(EnvironmentFault) as caught:
        support.train(scenes, tmp_path / "file")
    assert caught.value.code == "cannot-write"


def test_a_full_disk(scenes, tmp_path):
    """The file-size limit stands in for it: the writes of a checkpoint fail half-way."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (500_000, hard))
    try:
        with pytest.raises(EnvironmentFault) as caught:
            support.train(scenes, tmp_path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert caught.value.code == "cannot-write"
    assert "model_best.pth" in caught.value.message
    assert support.leftovers(tmp_path) == []
    assert not list((tmp_path / "train").glob("*.pth"))
    assert support.status_lines(tmp_path / "train")[-1]["status"] == "FAILURE"


def test_a_worker_that_is_killed(scenes, tmp_path):
    worker = "dataset.train_dataset.loader.num_workers=1"
    code, text, log = processes.trained(
        processes.PLAIN, scenes, tmp_path, worker, before="workers_are_killed"
    )
    assert code == Exit.RUN, log
    error = json.loads(text)["error"]
    assert error["code"] == "worker-died"
    assert "num_workers" in error["hint"]


def test_other_ranks_write_no_records(scenes, tmp_path, monkeypatch):
    monkeypatch.setenv("LOCAL_RANK", "1")
    status = StatusWriter(tmp_path / "train" / "status.json")
    status.path.parent.mkdir()
    status.write("STARTED", "as rank 0 wrote it")
    support.train(scenes, tmp_path, "train.num_epochs=1")
    assert [line["message"] for line in support.status_lines(tmp_path / "train")] == [
        "as rank 0 wrote it"
    ]
    assert not (tmp_path / "train" / "results.json").exists()
    assert not (tmp_path / "train" / "experiment.yaml").exists()

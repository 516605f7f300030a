"""What goes wrong in practice, by the real command: the exit code, the message, what is left."""

from __future__ import annotations

import errno
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch

import support
from ocdnet.cli import main
from ocdnet.data.dataset import TrainDataset
from ocdnet.errors import Exit
from ocdnet.training.module import DetectionModule

TRAIN = "dataset.train_dataset"
TRAIN_PATH = f"{TRAIN}.data_path"
CROP = f"{TRAIN}.args.pre_processes.0.args"
BATCH = f"{TRAIN}.loader.batch_size"
WORKERS = f"{TRAIN}.loader.num_workers"
ONE_EPOCH = "train.num_epochs=1"


@pytest.fixture
def ocdnet(monkeypatch, capsys, tmp_path):
    """Runs a command as a user does; its exit code and its one document."""

    def run(action, *overrides):
        spec = tmp_path / "spec.yaml"
        spec.write_text("")
        monkeypatch.setattr(sys, "argv", ["ocdnet", action, "-e", str(spec), *overrides])
        with pytest.raises(SystemExit) as caught:
            main.main()
        out, err = capsys.readouterr()
        assert "Traceback" not in err
        return caught.value.code, json.loads(out)

    return run


@pytest.fixture
def train(ocdnet, small_network, scenes, tmp_path):
    """Trains the small network over the scenes, 4 steps an epoch."""

    def run(*overrides, data=scenes):
        return ocdnet("train", *support.train_overrides(data, tmp_path, *overrides))

    return run


@pytest.fixture
def refused(train, tmp_path):
    """Trains, and asserts that it ends in an error of this exit code and slug; the error."""

    def run(code, slug, *overrides, **more):
        exit_code, document = train(*overrides, **more)
        error = document["error"]
        assert (exit_code, error["code"]) == (code, slug), error
        assert support.leftovers(tmp_path) == []
        status = tmp_path / "train" / "status.json"
        if status.exists():
            last = json.loads(status.read_text().splitlines()[-1])
            assert (last["status"], error["message"] in last["message"]) == ("FAILURE", True)
        return error

    return run


def test_warmup_as_long_as_the_run(train, caplog):
    code, result = train("train.num_epochs=2", "train.lr_scheduler.args.warmup_epoch=2")
    assert code == Exit.DONE
    assert result["epochs"] == 2
    told = "'train.lr_scheduler.args.warmup_epoch' is lowered from 2 to 1: 'train.num_epochs' is 2"
    assert told in caplog.text


@pytest.mark.parametrize(
    ("name", "slug"), [("words.tar.gz", "archive-as-path"), ("words", "archive-as-data-path")]
)
def test_an_archive_as_data_path(refused, scenes, tmp_path, name, slug):
    packed = shutil.make_archive(str(tmp_path / "packed"), "gztar", scenes / "train")
    path = Path(packed).rename(tmp_path / name)
    error = refused(Exit.DATA, slug, f"{TRAIN_PATH}=[{path}]")
    assert str(path) in str(error)
    assert "xtract" in error["hint"]


def test_every_label_ignored(refused, scenes, tmp_path):
    data = support.copied(scenes, tmp_path / "data")
    for label in (data / "train" / "gt").iterdir():
        label.write_text(label.read_text().replace("word", "###"))
    (data / "train" / "gt" / "gt_img_1.txt").write_text("5,5,9,9,9,9,5,5,flat\n")
    error = refused(Exit.DATA, "nothing-to-learn", data=data)
    counts = "15 text regions (15 ignored: 14 by ignore_tags, 1 without area)"
    assert error["got"] == f"8 images with {counts}"
    assert "ignore_tags ['*', '###']" in error["expected"]


def test_no_labels_at_all(refused, scenes, tmp_path):
    data = support.copied(scenes, tmp_path / "data")
    for label in (data / "train" / "gt").iterdir():
        label.write_text("")
    error = refused(Exit.DATA, "nothing-to-learn", data=data)
    assert "0 text regions" in error["got"]
    assert "empty" in error["hint"]


def test_crops_without_text_are_told_of(train, caplog):
    code, _ = train(ONE_EPOCH, f"{CROP}.max_tries=0", f"{CROP}.size=[32,32]")
    assert code == Exit.DONE
    assert "Of the first 8 training crops of images with text, " in caplog.text
    assert "8 are the whole image" in caplog.text
    assert "max_tries, 0" in caplog.text


def test_crops_with_text_are_not_told_of(train, caplog):
    assert train(ONE_EPOCH)[0] == Exit.DONE
    assert "training crops" not in caplog.text


def test_a_backbone_typo(refused):
    error = refused(Exit.SPEC, "bad-choice", "model.backbone=deformable_resnet81")
    assert "model.backbone" in error["message"]
    assert "Did you mean 'deformable_resnet" in error["hint"]


@pytest.mark.parametrize(
    "key", ["model.pretrained_model_path", "train.resume_training_checkpoint_path"]
)
def test_a_checkpoint_of_another_backbone(ocdnet, scenes, detector, tmp_path, key):
    """The detector's spec says deformable_resnet18; the network here is the real resnet18."""
    overrides = support.train_overrides(scenes, tmp_path, "train.num_epochs=40")
    code, document = ocdnet("train", *overrides, "model.backbone=resnet18", f"{key}={detector}")
    assert code == Exit.DATA
    assert document["error"]["code"].endswith("-mismatch")
    assert "model.backbone=deformable_resnet18" in document["error"]["hint"]


@pytest.mark.parametrize("place", ["a file", "/proc/results"])
def test_a_results_dir_that_cannot_be_written(refused, tmp_path, place):
    folder = Path(place) if place.startswith("/") else tmp_path / place
    if folder.parent == tmp_path:
        folder.write_text("in the way")
    error = refused(Exit.ENVIRONMENT, "cannot-write", f"results_dir={folder}")
    assert str(folder) in error["message"]
    assert "results_dir" in error["hint"]


def test_a_full_disk(refused, monkeypatch, tmp_path):
    def fail(*_, **__):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(torch, "save", fail)
    error = refused(Exit.RUN, "disk-full")
    assert str(tmp_path / "train") in error["message"]
    assert "Free some space" in error["hint"]
    assert not list((tmp_path / "train").glob("*.pth"))


def test_the_machine_runs_out_of_memory(refused, monkeypatch):
    monkeypatch.setattr(DetectionModule, "training_step", lambda *_: torch.empty(10**15))
    error = refused(Exit.RUN, "out-of-memory")
    assert error["message"] == "The machine ran out of memory"
    assert "allocate" in error["got"]
    assert BATCH in error["hint"]
    assert WORKERS in error["hint"]


def test_a_worker_runs_out_of_memory(refused, monkeypatch):
    monkeypatch.setattr(TrainDataset, "__getitem__", lambda *_: np.empty(10**15))
    error = refused(Exit.RUN, "out-of-memory", f"{WORKERS}=1")
    assert "Unable to allocate" in error["got"]
    assert WORKERS in error["hint"]


def test_the_device_runs_out_of_memory(refused, monkeypatch):
    def fail(*_):
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")

    monkeypatch.setattr(DetectionModule, "training_step", fail)
    error = refused(Exit.RUN, "out-of-memory")
    assert error["message"] == "The GPU ran out of memory"
    assert BATCH in error["hint"]
    assert "EastRandomCropData" in error["hint"]
    assert "train.precision=bf16" in error["hint"]


def test_one_image_trains(train, scenes, tmp_path):
    data = support.copied(scenes, tmp_path / "data")
    for number in range(2, 9):
        (data / "train" / "img" / f"img_{number}.png").unlink()
    code, result = train(ONE_EPOCH, data=data)
    assert code == Exit.DONE
    assert result["checkpoints"] == ["model_epoch_000_step_00001.pth"]


def test_images_smaller_than_the_crop_train(train):
    code, result = train(ONE_EPOCH, f"{CROP}.size=[320,256]")
    assert code == Exit.DONE
    assert result["last_metrics"]["train_loss"] > 0


def test_a_label_file_in_latin1(refused, scenes, tmp_path):
    data = support.copied(scenes, tmp_path / "data")
    label = data / "train" / "gt" / "gt_img_2.txt"
    label.write_bytes(label.read_bytes() + "1,1,9,1,9,9,1,9,café\n".encode("latin-1"))
    error = refused(Exit.DATA, "not-utf8", data=data)
    assert f"{label}:3" in error["message"]
    assert f"iconv -f latin1 -t utf-8 {label}" in error["hint"]


_COMMAND = """
import pytest, support
from ocdnet.cli.main import main
support.shrink_network(pytest.MonkeyPatch())
main()
"""


def test_a_worker_that_is_killed_mid_run(scenes, tmp_path):
    """As the kernel does when memory runs out: the run ends, with its remedy, and does not hang."""
    (tmp_path / "spec.yaml").write_text("")
    overrides = support.train_overrides(scenes, tmp_path, "train.num_epochs=100000", f"{WORKERS}=2")
    tests = Path(support.__file__).parent
    process = subprocess.Popen(
        [sys.executable, "-c", _COMMAND, "train", "-e", tmp_path / "spec.yaml", *overrides],
        env=os.environ
        | {"PYTHONPATH": os.pathsep.join([str(tests), str(tests.parent / "runtime")])},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        end = time.monotonic() + 120
        while not list((tmp_path / "train").glob("model_epoch_001*")):
            assert process.poll() is None, process.communicate()
            assert time.monotonic() < end
            time.sleep(0.02)
        children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
        os.kill(int(children[0]), signal.SIGKILL)
        out, err = process.communicate(timeout=60)
    finally:
        process.kill()
    assert process.returncode == Exit.RUN, err
    assert "Traceback" not in err
    error = json.loads(out)["error"]
    assert error["code"] == "worker-died"
    assert WORKERS in error["hint"]
    assert "--shm-size" in error["hint"]
    last = support.status_lines(tmp_path / "train")[-1]
    assert (last["status"], error["message"] in last["message"]) == ("FAILURE", True)

"""A process that fails, dies or hangs ends the run: with its error, and within a bounded time."""

from __future__ import annotations

import json
import os
import signal
import time

import pytest

import processes
import support
from ocdnet.errors import Exit

FOREVER = "train.num_epochs=100000"
EACH_STEP = ("train.checkpoint_interval=1", "train.checkpoint_interval_unit=step")
BY_LIGHTNING = "two_by_lightning"


def written(out):
    return list((out / "train").glob("model_epoch_*.pth"))


def failures(out):
    lines = support.status_lines(out / "train")
    assert lines[-1]["status"] == "FAILURE"
    return [line["message"] for line in lines if line["status"] == "FAILURE"]


@pytest.fixture
def spoilt(scenes, tmp_path):
    """Of two processes the second alone meets an image that is cut off."""
    folder = support.copied(scenes, tmp_path / "spoilt")
    image = folder / "train" / "img" / "img_2.png"
    image.write_bytes(image.read_bytes()[:300])
    return folder, image


@pytest.mark.parametrize(
    ("launcher", "before", "exit_code"),
    [
        (processes.STANDALONE, "", 1),  # torchrun's own, whatever its processes end with
        (processes.PLAIN, BY_LIGHTNING, Exit.DATA),
    ],
)
def test_an_error_of_one_is_the_error_of_all(spoilt, tmp_path, launcher, before, exit_code):
    folder, image = spoilt
    order = "dataset.train_dataset.loader.shuffle=false"
    code, text, errors = processes.trained(launcher, folder, tmp_path, order, before=before)
    assert code == exit_code, errors
    document = json.loads(text)["error"]
    assert document["code"] == "unreadable-image"
    assert str(image) in document["message"]
    (told,) = failures(tmp_path)
    assert str(image) in told


@pytest.mark.parametrize(
    ("launcher", "before"), [(processes.STANDALONE, ""), (processes.PLAIN, BY_LIGHTNING)]
)
def test_one_that_is_killed_ends_the_others(scenes, tmp_path, launcher, before):
    with processes.training(
        launcher, scenes, tmp_path, FOREVER, *EACH_STEP, before=before
    ) as process:
        processes.wait_until(lambda: len(written(tmp_path)) > 1, process)
        os.kill(processes.process_of(tmp_path, 1), signal.SIGKILL)
        text, errors = process.communicate(timeout=40)
    assert json.loads(text)["error"]["code"] == "process-lost", errors
    assert "Another process" in failures(tmp_path)[-1]
    if launcher is processes.PLAIN:
        assert process.returncode == Exit.RUN


def test_one_that_hangs_is_not_waited_for_forever(scenes, tmp_path):
    with processes.training(
        processes.STANDALONE, scenes, tmp_path, FOREVER, *EACH_STEP, before="be_impatient"
    ) as process:
        processes.wait_until(lambda: len(written(tmp_path)) > 1, process)
        os.kill(processes.process_of(tmp_path, 1), signal.SIGSTOP)
        began = time.monotonic()
        processes.wait_until(
            lambda: "FAILURE" in (tmp_path / "train/status.json").read_text(), process
        )
        assert time.monotonic() - began < 30
    assert "did not answer" in failures(tmp_path)[-1]


def test_a_folder_in_use_is_refused_by_all(scenes, tmp_path):
    folder = tmp_path / "train"
    folder.mkdir()
    (folder / "model_best.pth").write_text("precious")
    began = time.monotonic()
    code, text, errors = processes.trained(processes.STANDALONE, scenes, tmp_path)
    assert (code, json.loads(text)["error"]["code"]) == (1, "results-dir-in-use"), errors
    assert errors.count("error: ") == 2
    assert time.monotonic() - began < 60
    assert [path.name for path in folder.iterdir()] == ["model_best.pth"]

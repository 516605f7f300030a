"""Runs that are killed by the real signals, in real processes, and go on afterwards."""

from __future__ import annotations

import logging
import os
import random
import signal
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path

import pytest

import support
from ocdnet.errors import Exit

pytestmark = pytest.mark.usefixtures("small_network")

LOG = logging.getLogger(__name__)
EPOCHS = 6
LAST = "model_epoch_005_step_00024.pth"
EACH_STEP = ("train.checkpoint_interval=1", "train.checkpoint_interval_unit=step")
TRAIN_SMALL = """
import pytest, support
from ocdnet.cli.main import main
support.shrink_network(pytest.MonkeyPatch())
main()
"""
# Writes half of the tenth checkpoint, says so, and stays there.
SLOW_WRITER = """
import io, pathlib, time, torch
whole, calls = torch.save, []
def save(content, file):
    calls.append(file)
    if len(calls) < 10:
        return whole(content, file)
    buffer = io.BytesIO()
    whole(content, buffer)
    file.write(buffer.getvalue()[: len(buffer.getvalue()) // 2])
    file.flush()
    pathlib.Path(file.name).parent.joinpath("half-way").touch()
    time.sleep(100)
torch.save = save
"""


@contextmanager
def training(scenes, out, *more, before=""):
    """`ocdnet train` as a process; it does not outlive the block."""
    out.mkdir(exist_ok=True)
    (out / "spec.yaml").write_text("")
    overrides = support.train_overrides(scenes, out, f"train.num_epochs={EPOCHS}", *more)
    tests = Path(support.__file__).parent
    process = subprocess.Popen(
        [sys.executable, "-c", before + TRAIN_SMALL, "train", "-e", out / "spec.yaml", *overrides],
        env=os.environ
        | {"PYTHONPATH": os.pathsep.join([str(tests), str(tests.parent / "runtime")])},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def wait_until(true, process):
    end = time.monotonic() + 120
    while not true():
        assert process.poll() is None, process.stderr.read()
        assert time.monotonic() < end, "nothing happened"
        time.sleep(0.005)


def written(folder):
    return list(folder.glob("model_epoch_*.pth"))


def resume(scenes, out, *more):
    start = f"train.resume_training_checkpoint_path={out}/train/ocd_model_latest.pth"
    support.train(scenes, out, f"train.num_epochs={EPOCHS}", start, *more)


def state(path):
    return {**support.load(path), "ocdnet_spec": None}


@pytest.fixture(scope="module")
def unbroken(scenes, tmp_path_factory):
    """Where an average is kept, too, the last checkpoint of the run that nothing befell."""
    out = tmp_path_factory.mktemp("unbroken")
    with pytest.MonkeyPatch.context() as patch:
        support.shrink_network(patch)
        support.train(scenes, out, f"train.num_epochs={EPOCHS}", "train.model_ema=true")
    return state(out / "train" / LAST)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_ends_in_order_when_told_to(scenes, tmp_path, number):
    """Ctrl-C goes to the whole group, as a terminal sends it; SIGTERM to the process alone."""
    folder = tmp_path / "train"
    workers = "dataset.train_dataset.loader.num_workers=1"
    with training(scenes, tmp_path, "train.num_epochs=100000", *EACH_STEP, workers) as process:
        wait_until(lambda: len(written(folder)) > 6, process)
        (os.killpg if number == signal.SIGINT else os.kill)(process.pid, number)
        out, err = process.communicate(timeout=30)
    assert process.returncode == Exit.INTERRUPTED, err
    assert '"interrupted"' in out
    assert "Traceback" not in err
    last = support.status_lines(folder)[-1]
    assert (last["status"], last["message"].partition(" ")[0]) == ("FAILURE", "interrupted")
    assert support.leftovers(folder) == []
    paths = sorted(written(folder))
    assert all(support.load(path)["global_step"] for path in paths)
    # Told to end it has saved; Ctrl-C does not wait for that.
    assert ("everything was saved" in last["message"]) == (number == signal.SIGTERM)
    epochs = f"train.num_epochs={support.load(paths[-1])['epoch'] + 2}"
    start = f"train.resume_training_checkpoint_path={folder / 'ocd_model_latest.pth'}"
    assert support.train(scenes, tmp_path, start, epochs)["best_metric"]


def test_killed_within_an_epoch(scenes, tmp_path, unbroken):
    folder = tmp_path / "train"
    with training(scenes, tmp_path, *EACH_STEP, "train.model_ema=true") as process:
        wait_until(lambda: len(written(folder)) > 9, process)
        process.kill()
        process.wait()
    assert process.returncode == -signal.SIGKILL
    assert all(support.load(path)["global_step"] for path in folder.glob("*.pth"))
    resume(scenes, tmp_path, "train.model_ema=true")
    assert support.differences(state(folder / LAST), unbroken) == []
    assert support.leftovers(folder) == []


def test_killed_while_it_writes_a_checkpoint(scenes, tmp_path, unbroken):
    folder = tmp_path / "train"
    ema = "train.model_ema=true"
    with training(scenes, tmp_path, *EACH_STEP, ema, before=SLOW_WRITER) as process:
        wait_until((folder / "half-way").exists, process)
        process.kill()
        process.wait()
    (half,) = support.leftovers(folder)
    assert (folder / half).stat().st_size > 100_000
    assert all(support.load(path)["global_step"] for path in folder.glob("*.pth"))
    resume(scenes, tmp_path, ema)
    assert support.differences(state(folder / LAST), unbroken) == []
    assert support.leftovers(folder) == []


@pytest.mark.slow
def test_killed_again_and_again(scenes, tmp_path, unbroken):
    """Killed at random moments of its training, and resumed by a new process each time."""
    folder, rng, ema = tmp_path / "train", random.Random(0), "train.model_ema=true"
    latest, kills = folder / "ocd_model_latest.pth", 0
    while not (folder / LAST).exists():
        start = f"train.resume_training_checkpoint_path={latest if latest.exists() else ''}"
        due = min(len(written(folder)) + rng.randint(3, 8), 4 * EPOCHS)
        with training(scenes, tmp_path, *EACH_STEP, ema, start) as process:
            wait_until(lambda due=due: len(written(folder)) >= due, process)
            time.sleep(rng.uniform(0, 0.1))
            process.kill()
            process.wait()
        kills += process.returncode == -signal.SIGKILL
        whole = sorted(folder.glob("*.pth"))
        half = support.leftovers(folder)
        LOG.info("kill %d: %d whole checkpoints, half-written: %s", kills, len(whole), half)
        assert all(support.load(path)["global_step"] for path in whole)
    assert kills >= 3
    resume(scenes, tmp_path, ema)
    assert support.differences(state(folder / LAST), unbroken) == []

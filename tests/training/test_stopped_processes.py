"""Told to end (SIGTERM) or killed, a run of several processes goes on as if nothing had been."""

from __future__ import annotations

import json
import os
import signal
import subprocess

import pytest

import processes
import support
from ocdnet.errors import Exit

EPOCHS = 8
LAST = f"model_epoch_{EPOCHS - 1:03d}_step_{2 * EPOCHS:05d}.pth"
LENGTH = (f"train.num_epochs={EPOCHS}", "train.keep_checkpoints=2", "train.precision=bf16")
SLOWLY = "wait_300_ms"  # between two steps a test has the time to act


def state(path):
    return {**support.load(path), "ocdnet_spec": None}


def latest(out):
    return out / "train" / "ocd_model_latest.pth"


def resume(scenes, out, *more):
    start = f"train.resume_training_checkpoint_path={latest(out)}"
    code, _, errors = processes.trained(processes.STANDALONE, scenes, out, *LENGTH, start, *more)
    assert code == 0, errors
    return state(out / "train" / LAST)


@pytest.fixture(scope="module")
def unbroken(scenes, tmp_path_factory):
    """The last checkpoint of two processes that nothing befell."""
    out = tmp_path_factory.mktemp("unbroken")
    code, _, errors = processes.trained(processes.STANDALONE, scenes, out, *LENGTH)
    assert code == 0, errors
    return state(out / "train" / LAST)


def test_told_to_end_it_saves_and_goes_on_exactly(scenes, tmp_path, unbroken):
    """torchrun hands SIGTERM on to all of its processes, as srun does."""
    rarely = "train.checkpoint_interval=8"
    with processes.training(
        processes.STANDALONE, scenes, tmp_path, *LENGTH, rarely, before=SLOWLY
    ) as process:
        told = tmp_path / "train/status.json"
        processes.wait_until(lambda: told.exists() and '"epoch": 1' in told.read_text(), process)
        process.send_signal(signal.SIGTERM)
        text, errors = process.communicate(timeout=40)
    error = json.loads(text)["error"]
    assert error["code"] == "interrupted", errors
    assert str(latest(tmp_path)) in error["hint"]
    last = support.status_lines(tmp_path / "train")[-1]
    assert (last["status"], "SIGTERM" in last["message"]) == ("FAILURE", True)
    assert 4 <= support.load(latest(tmp_path))["global_step"] < 2 * EPOCHS
    assert support.differences(resume(scenes, tmp_path), unbroken) == []


def test_killed_it_goes_on_exactly(scenes, tmp_path, unbroken):
    each = "train.checkpoint_interval=1", "train.checkpoint_interval_unit=step"
    with processes.training(
        processes.STANDALONE, scenes, tmp_path, *LENGTH, *each, before=SLOWLY
    ) as process:
        written = (tmp_path / "train").glob
        processes.wait_until(
            lambda: any("step_00005" in path.name for path in written("*.pth")), process
        )
        os.killpg(process.pid, signal.SIGKILL)
        for pid in processes.workers(tmp_path):
            os.kill(pid, signal.SIGKILL)
    assert support.differences(resume(scenes, tmp_path, *each), unbroken) == []


@pytest.mark.parametrize("by", ["torchrun", "node ranks"])
def test_two_nodes_are_as_two_processes(scenes, tmp_path, unbroken, by):
    """Two launchers that meet at a port of this machine; by node ranks as pods of Kubernetes."""
    port = processes.free_port()
    running: list[subprocess.Popen[str]] = []
    for node in range(2):
        if by == "torchrun":
            meeting = ["--nnodes=2", f"--node-rank={node}", f"--master-port={port}"]
            launcher = [*processes.TORCHRUN, "--nproc-per-node=1", *meeting, processes.SCRIPT]
            variables, more = {}, ()
        else:
            launcher, more = processes.PLAIN, ("train.num_nodes=2",)
            variables = {"NODE_RANK": str(node), "MASTER_ADDR": "127.0.0.1"}
            variables["MASTER_PORT"] = str(port)
        (tmp_path / "spec.yaml").write_text("")
        command = [*launcher, "train", "-e", str(tmp_path / "spec.yaml")]
        overrides = [*support.train_overrides(scenes, tmp_path), *LENGTH, *more]
        running.append(
            subprocess.Popen(
                [*command, *overrides],
                env=processes.environment(**variables),
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
            )
        )
    try:
        (first, errors), (second, _) = (one.communicate(timeout=150) for one in running)
    finally:
        for one in running:
            one.kill()
    assert [one.returncode for one in running] == [0, 0], errors
    assert json.loads(first)["epochs"] == EPOCHS
    assert second == ""
    assert support.differences(state(tmp_path / "train" / LAST), unbroken) == []


def test_a_second_signal_does_not_wait(scenes, tmp_path):
    with processes.training(processes.PLAIN, scenes, tmp_path, before="hang") as process:
        told = tmp_path / "train/status.json"
        processes.wait_until(lambda: told.exists() and "Loop" in told.read_text(), process)
        process.send_signal(signal.SIGTERM)
        with pytest.raises(subprocess.TimeoutExpired):
            process.communicate(timeout=2)
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=20)
    assert process.returncode == Exit.INTERRUPTED

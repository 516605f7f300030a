"""The batch script that a plan writes, run by a real Slurm: two tasks of one job train together."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
import sys
import time

import pytest

import processes
import support
import tiny_onnx
from ocdnet.errors import Exit

pytestmark = pytest.mark.slurm

EPOCHS = 24
# Two CPU tasks in place of the GPUs that the script asks for.
TASKS = ["--gpus-per-node=0", "--ntasks-per-node=2", "--cpus-per-task=1"]
# TAO's network and intervals, where a plan for few images takes the starter and longer ones.
OWN = (
    "model.backbone=deformable_resnet18",
    "train.checkpoint_interval=1",
    "train.validation_interval=1",
)
SLOWLY = "wait_200_ms"


class Job:
    """A training job, planned by `ocdnet plan` and not yet submitted."""

    def __init__(self, slurm, scenes, out, *overrides, before=""):
        self.slurm, self.out, self.folder = slurm, out, out / "results" / "train"
        program = shlex.join([sys.executable, processes.SCRIPT])
        self.environment = slurm | {"OCDNET_PROGRAM": program, processes.CHANGES: before}
        sets = support.train_overrides(scenes, out / "results", *OWN, *overrides)[1:]
        words = ["--action", "train", "--automl-policy", "off", "--platform", "slurm"]
        words += ["--results-dir", str(out / "results"), "--write", str(out / "plan")]
        for override in sets:
            words += ["--set", override]
        plan = json.loads(self.call(sys.executable, "-m", "ocdnet.cli.main", "plan", *words))
        self.make, submit = map(shlex.split, plan["commands"])
        self.submit = [submit[0], "--parsable", *TASKS]
        self.script = submit[1:]

    def call(self, *command):
        done = subprocess.run(
            command, env=self.environment, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    def start(self, *options):
        self.call(*self.make)
        self.number = self.call(*self.submit, *options, *self.script).strip()
        return self

    def field(self, name):
        told = self.call("scontrol", "show", "job", self.number)
        return re.search(rf"\b{name}=(\S+)", told)[1]

    def until(self, true, seconds=120):
        end = time.monotonic() + seconds
        while not true():
            assert time.monotonic() < end, self.log() + self.call("scontrol", "show", "job")
            time.sleep(0.2)

    def ended(self):
        return self.field("JobState") not in ("PENDING", "RUNNING", "COMPLETING")

    def trains(self):
        status = self.folder / "status.json"
        return status.exists() and '"epoch": 1' in status.read_text()

    def log(self):
        found = self.out.glob("results/slurm-*.out")
        return "".join(path.read_text() for path in found)


@pytest.fixture
def job(slurm, scenes, tmp_path):
    started = []

    def planned(*overrides, before=""):
        started.append(Job(slurm, scenes, tmp_path, *overrides, before=before))
        return started[-1]

    yield planned
    for one in started:
        subprocess.run(["scancel", one.number], env=slurm, check=False)
        one.until(one.ended, 60)


def states(folder):
    return [line["status"] for line in support.status_lines(folder)]


def epochs(folder):
    return [line["epoch"] for line in support.status_lines(folder) if "epoch" in line]


def test_two_tasks_train_together(job):
    done = job().start()
    done.until(done.ended)
    assert (done.field("JobState"), done.field("ExitCode")) == ("COMPLETED", "0:0"), done.log()
    # 8 images, 2 for each of 2 tasks a step.
    written = sorted(path.name for path in done.folder.glob("model_epoch_*"))
    assert written == ["model_epoch_000_step_00002.pth", "model_epoch_001_step_00004.pth"]
    assert done.log().count('"action": "train"') == 1
    assert states(done.folder).count("SUCCESS") == 1


def test_the_exit_code_is_that_of_the_task_that_failed(job, scenes, tmp_path):
    spoilt = support.copied(scenes, tmp_path / "spoilt")
    image = spoilt / "train" / "img" / "img_2.png"
    image.write_bytes(image.read_bytes()[:300])
    data = f"dataset.train_dataset.data_path=[{spoilt}/train]"
    failed = job(data, "dataset.train_dataset.loader.shuffle=false").start()
    failed.until(failed.ended)
    assert failed.field("ExitCode") == f"{int(Exit.DATA)}:0", failed.log()
    assert str(image) in support.status_lines(failed.folder)[-1]["message"]


def test_a_preempted_job_saves_and_goes_on(job, slurm):
    rarely = "train.checkpoint_interval=1000", f"train.num_epochs={EPOCHS}"
    run = job(*rarely, before=SLOWLY).start()
    run.until(run.trains)
    log = f"--output={run.out}/urgent.out"
    urgent = ["sbatch", "--parsable", "-p", "urgent", "-n2", log, "--wrap", "sleep 3"]
    run.call(*urgent)
    run.until(lambda: "FAILURE" in states(run.folder))
    assert "SIGTERM" in support.status_lines(run.folder)[-1]["message"]
    run.until(run.ended, 180)
    assert (run.field("JobState"), run.field("Restarts")) == ("COMPLETED", "1"), run.log()
    assert "Resuming training from checkpoint" in run.log()
    # Each epoch once, but for the one that was cut.
    assert epochs(run.folder) == list(range(EPOCHS))


def test_a_job_that_is_cancelled_is_not_queued_again(job):
    run = job("train.num_epochs=100000", before=SLOWLY).start()
    run.until(run.trains)
    run.call("scancel", run.number)
    run.until(run.ended)
    assert (run.field("JobState"), run.field("Restarts")) == ("CANCELLED", "0")
    assert "SIGTERM" in support.status_lines(run.folder)[-1]["message"]


@pytest.mark.slow
def test_a_job_whose_time_is_up_gets_more(job):
    """The script has Slurm tell it two minutes before; here one, of a limit of two."""
    run = job("train.num_epochs=4000", before=SLOWLY).start("--time=2", "--signal=TERM@60")
    run.until(lambda: run.field("Restarts") == "1", 200)
    run.until(lambda: "Resuming training from checkpoint" in run.log(), 200)
    assert "FAILURE" in states(run.folder)


def test_parts_of_an_array_are_merged(slurm, tmp_path):
    support.write_blocks(tmp_path, 5, seed=3)
    model = tiny_onnx.write_detector(tmp_path / "light.onnx")
    ocdnet = [sys.executable, "-m", "ocdnet"]
    environment = slurm | {"OCDNET_PROGRAM": shlex.join(ocdnet), "SBATCH_GPUS_PER_NODE": "0"}
    out = tmp_path / "o \"u' $t %j"
    words = f"--action inference --set inference.checkpoint={model} --platform slurm --shards 3"
    words += f" --set inference.num_threads=1 --inference-dataset {tmp_path} --results-dir"
    command = [*ocdnet, "plan", *words.split(), out, "--write", out / "plan"]
    lines = "\n".join(json.loads(subprocess.check_output(command, env=environment))["commands"])
    merged = out / "inference/predictions.jsonl"

    def submit(lines):
        lines = lines.replace("sbatch --", "sbatch --cpus-per-task=1 --")
        subprocess.run(["bash", "-ec", lines], check=True, env=environment, capture_output=True)
        end = time.monotonic() + 300
        while subprocess.check_output(["squeue", "-h"], env=environment):
            assert time.monotonic() < end
            time.sleep(0.3)

    spoilt = tmp_path / "img/img_3.png"
    good = spoilt.read_bytes()
    spoilt.write_bytes(b"")
    submit(lines)
    assert not merged.exists()
    told = subprocess.run([*ocdnet, "merge", out], capture_output=True, check=False)
    array = re.search(r"--array=\S+", told.stdout.decode())[0]
    spoilt.write_bytes(good)
    submit(lines.replace("--parsable", f"--parsable {array}"))
    images = [json.loads(line)["image"] for line in merged.open()]
    assert images == [f"{tmp_path}/img/img_{number}.png" for number in range(1, 6)]

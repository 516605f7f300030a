"""A stand-in for `ocdnet train`: the files of a run whose loss follows from its settings, at once.

FAKE_TRAIN in the environment, JSON: `seconds` an epoch; `fail_above`: a learning rate from which
it fails as if memory ran out; `fail`: an error that every run fails with, and its `exit` code;
`die`: a signal that it dies of.
"""

import json
import math
import os
import signal
import sys
import time
from pathlib import Path

from ocdnet.runs.status import StatusWriter, read_status
from ocdnet.runs.status_line import Kpi
from ocdnet.tree import yaml_io

LATEST = "ocd_model_latest.pth"


def loss(rate: float, epoch: int) -> float:
    """Least at a rate of 1e-3."""
    return (math.log10(rate) + 3) ** 2 + 1 + 1 / epoch


def main() -> None:
    """Train as the command line and FAKE_TRAIN say."""
    spec = yaml_io.read(Path(sys.argv[2]))
    given = dict(argument.partition("=")[::2] for argument in sys.argv[3:])
    how = json.loads(os.environ.get("FAKE_TRAIN", "{}"))
    folder = Path(given["train.results_dir"])
    folder.mkdir(parents=True, exist_ok=True)
    status = StatusWriter(folder / "status.json")
    status.write("STARTED", "Starting OCDNet train.")
    # What a test looks at: who ran, with what, and what it was given.
    with (folder / "runs.jsonl").open("a") as runs:
        names = ("CUDA_VISIBLE_DEVICES", "OMP_NUM_THREADS", "SLURM_NTASKS")
        seen = {name: os.environ.get(name) for name in names}
        runs.write(json.dumps({"given": given, "environment": seen, "pid": os.getpid()}) + "\n")
    rate = float(given.get("train.optimizer.args.lr", spec["train"]["optimizer"]["args"]["lr"]))
    if "die" in how:
        os.kill(os.getpid(), how["die"])
    if "fail" in how:
        fail(status, how["fail"], how.get("exit", 6))
    if rate >= how.get("fail_above", 2):
        fail(status, "out-of-memory", 6)
    signal.signal(signal.SIGTERM, lambda *_: fail(status, "interrupted", 130))
    first, total = 0, int(spec["train"]["num_epochs"])
    if "train.resume_training_checkpoint_path" in given:
        first = int(Path(given["train.resume_training_checkpoint_path"]).read_text())
    for epoch in range(first, total):
        time.sleep(how.get("seconds", 0))
        status.write("RUNNING", "Eval metrics generated.", Kpi(hmean=1 / loss(rate, epoch + 1)))
        status.write("RUNNING", "Training loop in progress", epoch=epoch, max_epoch=total - 1)
        kpi = Kpi(train_loss=loss(rate, epoch + 1))
        status.write("RUNNING", "Train metrics generated.", kpi)
        (folder / "model_best.pth").write_text(str(epoch))
        (folder / LATEST).write_text(str(epoch + 1))
    status.write("SUCCESS", "train finished successfully.")


def fail(status: StatusWriter, code: str, exit_code: int) -> None:
    """End as a command of ours does."""
    status.write("FAILURE", code)
    error = {"code": code, "message": f"It says {code}", "got": None, "expected": None}
    print(json.dumps({"error": error | {"hint": "Mend it."}}))  # noqa: T201
    sys.exit(exit_code)


def epochs_in(folder: Path) -> list[int]:
    """The epochs that were trained in a folder, in order."""
    lines = read_status(folder / "status.json").lines
    return [line.epoch for line in lines if line.epoch is not None]


if __name__ == "__main__":
    main()

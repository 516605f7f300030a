"""What hmean a few minutes on a GPU reach on ICDAR2015, from random weights and few pictures.

    python benchmarks/accuracy.py prepare .gpu/data
    python benchmarks/accuracy.py train .gpu/data --minutes 8 --out "$OUT"
    python benchmarks/accuracy.py score fetched/ --data ../shared/data/icdar2015/test

`train` has two stages, both the ordinary `ocdnet train` on accuracy.yaml. The first, of a part of
the minutes and at a nearly constant learning rate, sees rendered scenes, altered pictures (other
colours, blur, more words painted between their own) and the pictures; its pace sets how many epochs
the second has, on the altered and the plain pictures, so that its learning rate is down just before
the minutes are over. DIR gets curve.json and the best weights so far, in fp16 and parts, as they
improve. `--set model.backbone=resnet18 ...` changes the recipe.
`score` judges these on all test pictures, and on those that did not choose the best epoch.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import datetime
from pathlib import Path
from statistics import mean, median
from typing import Any

import torch

from altered import Images, rendered
from ocdnet.checkpoint import SPEC_KEY
from ocdnet.data.annotations import index_dataset
from ocdnet.hardware import cpus
from ocdnet.metrics import Counts
from ocdnet.runs.files import BEST, LATEST, RESULTS, STATUS
from ocdnet.runs.progress import seconds_in
from ocdnet.runs.status import VALIDATED, read_status
from ocdnet.runs.status_line import StatusLine
from ocdnet.weights import read_checkpoint

CHOOSING = 60
"""Of the test pictures the first so many choose the best epoch, as in references/tuning.md."""
RECIPE = Path(__file__).with_suffix(".yaml")
OCDNET = (sys.executable, "-m", "ocdnet.cli.main")
PART_BYTES = 15 << 20
RESERVE = 15.0
"""Seconds at the end that no training may use."""
VALIDATE_EVERY = 25.0
IGNORED = ("*", "###")
_PACE = re.compile(r"([\d.]+) images a second, ([\d.]+) % of the time waiting")


def prepare(given: argparse.Namespace) -> None:
    """Copy the training pictures and the first test pictures, with their labels."""
    for split, most in (("train", None), ("test", CHOOSING)):
        for kind in ("img", "gt"):
            target = given.folder / split / kind
            target.mkdir(parents=True, exist_ok=True)
            for path in sorted((given.data / split / kind).iterdir(), key=_number)[:most]:
                shutil.copyfile(path, target / path.name)
    files = [path for path in given.folder.rglob("*") if path.is_file()]
    print(f"{len(files)} files, {sum(path.stat().st_size for path in files) / 2**20:.1f} MiB")


def _number(path: Path) -> int:
    return int(re.sub(r"\D", "", path.stem))


class Run:
    """One stage: its process, and what its status file tells."""

    def __init__(self, name: str, data: Sequence[Images], work: Path) -> None:
        self.name, self.began = name, 0.0
        self.paths = [str(one.path) for one in data]
        self.images = sum(one.number for one in data)
        self.folder, self.log = work / name / "train", work / f"{name}.txt"

    @contextmanager
    def process(self, *overrides: object) -> Iterator[subprocess.Popen[bytes]]:
        """Its process, stopped gently at the end, and with all its workers."""
        self.began = time.time()
        paths, folder = json.dumps(self.paths), self.folder.parent
        workers = f"dataset.train_dataset.loader.num_workers={max(1, cpus() - 1)}"
        given = (f"dataset.train_dataset.data_path={paths}", workers, f"results_dir={folder}")
        with self.log.open("wb") as log:
            process = subprocess.Popen(
                [*OCDNET, "train", "-e", str(RECIPE), *given, *map(str, overrides)],
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        try:
            yield process
        finally:
            if process.poll() is None:
                process.terminate()  # it saves after its step, and ends
                with suppress(subprocess.TimeoutExpired):
                    process.wait(RESERVE / 2)
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)

    def lines(self) -> list[StatusLine]:
        """Those written so far."""
        with suppress(OSError):
            return read_status(self.folder / STATUS).lines
        return []

    @property
    def epochs(self) -> list[float]:
        """Seconds of each, validation included."""
        return [s for line in self.lines() if (s := seconds_in(line.time_per_epoch)) is not None]

    @property
    def validations(self) -> list[tuple[float, dict[str, float]]]:
        """When (seconds since the epoch) and what."""
        return [
            (
                datetime.strptime(f"{line.date} {line.time}", "%m/%d/%Y %H:%M:%S").timestamp(),
                {name: getattr(line.kpi, name) for name in ("hmean", "precision", "recall")},
            )
            for line in self.lines()
            if line.message == VALIDATED and line.kpi
        ]

    @property
    def startup(self) -> float:
        """Seconds before the first epoch, and in it more than in the others."""
        ends = self.began + sum(self.epochs)
        changed = (self.folder / STATUS).stat().st_mtime
        return max(0.0, changed - ends) + max(0.0, self.epochs[0] - median(self.epochs))

    @property
    def pace(self) -> float:
        """Images a second, validations included."""
        return self.images / mean(self.epochs[1:] or self.epochs)

    def summary(self) -> dict[str, Any]:
        """For people and curve.json."""
        if not self.epochs:
            return {"stage": self.name, "epochs": 0}
        text = self.log.read_text(errors="replace")
        told = [(float(pace), float(share)) for pace, share in _PACE.findall(text)]
        return {
            "stage": self.name,
            "images": self.images,
            "epochs": len(self.epochs),
            "startup_seconds": round(self.startup, 1),
            "images_per_second": round(self.images / median(self.epochs), 1),
            "images_per_second_with_validation": round(self.pace, 1),
            "waiting_percent": round(mean(share for _, share in told), 1) if told else None,
        }


class Record:
    """What is kept of all stages: the curve, and the best weights."""

    def __init__(self, given: argparse.Namespace, start: float) -> None:
        self.out, self.start, self.runs = given.out, start, list[Run]()
        self.recipe = {name: str(value) for name, value in vars(given).items() if name != "do"}
        self.best, self._seen = -1.0, 0.0

    def update(self) -> None:
        """Write curve.json, and the weights where a stage has better ones than are written."""
        run = self.runs[-1]
        path = run.folder / BEST
        changed = path.stat().st_mtime if path.exists() else 0.0
        if changed > self._seen:
            self._seen = changed
            hmean = max((scores["hmean"] for _, scores in run.validations), default=0.0)
            if hmean > self.best:
                self.best = hmean
                write_parts(path, self.out)
        (self.out / "curve.json").write_text(json.dumps(self.content(), indent=1) + "\n")

    def content(self) -> dict[str, Any]:
        """What curve.json holds."""
        points = [
            {"stage": run.name, "seconds": round(when - self.start, 1), **scores}
            for run in self.runs
            for when, scores in run.validations
        ]
        stages = [run.summary() for run in self.runs]
        return {"recipe": self.recipe, "best": self.best, "stages": stages, "validations": points}

    def table(self) -> str:
        """The curve for people."""
        content = self.content()
        rows = [
            f"{row['stage']:>9} {row['seconds']:7.0f} s  hmean {row['hmean']:.4f}  "
            f"precision {row['precision']:.4f}  recall {row['recall']:.4f}"
            for row in content["validations"]
        ]
        return "\n".join([*map(json.dumps, content["stages"]), *rows, f"best {self.best:.4f}"])


def write_parts(checkpoint: Path, out: Path) -> None:
    """The checkpoint's network in fp16, in parts that together are a file `ocdnet` reads."""
    content, buffer = read_checkpoint(checkpoint), io.BytesIO()
    state = {key: t.half() if t.ndim > 1 else t for key, t in content.weights.items()}
    torch.save({"state_dict": state, SPEC_KEY: dict(content.spec)}, buffer)
    data = buffer.getvalue()
    for number, at in enumerate(range(0, len(data), PART_BYTES)):
        (out / f"weights.part{number}").write_bytes(data[at : at + PART_BYTES])


def follow(run: Run, record: Record, until: float, *overrides: object) -> None:
    """Run a stage to its end or the time's, and keep what it reaches."""
    record.runs.append(run)
    with run.process(*overrides) as process:
        while process.poll() is None and time.time() < until:
            time.sleep(1)
            record.update()
    record.update()
    if process.returncode != 0:
        print(f"{run.name} ended with {process.returncode}:", run.log.read_text()[-3000:])


def train(given: argparse.Namespace) -> None:
    """Render, train both stages, tell the curve."""
    start = time.time()
    until = start + 60 * given.minutes - RESERVE
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # so that what is running is stopped
    given.out.mkdir(parents=True, exist_ok=True)
    record = Record(given, start)
    with tempfile.TemporaryDirectory(prefix="accuracy-") as scratch:
        work = Path(scratch)
        source = index_dataset([str(given.folder / "train")], IGNORED)
        real = rendered("real", len(source), source, work)
        more = rendered("altered", given.altered, source, work)
        scenes = rendered("scenes", given.scenes, source, work)
        first = Run("first", [scenes, more, real], work)
        second = Run("second", [more, *[real] * given.repeat], work)
        shared = (f"dataset.validate_dataset.data_path=[{given.folder / 'test'}]", *given.set)
        try:
            follow(first, record, until, *_first_stage(given, first), *shared)
            if not first.epochs:
                sys.exit("No epoch of the first stage has ended: raise --minutes.")
            follow(second, record, until, *_second_stage(given, first, second, until), *shared)
        finally:
            print(record.table(), flush=True)


def _first_stage(given: argparse.Namespace, run: Run) -> tuple[str, ...]:
    return (
        "train.num_epochs=100000",
        f"train.max_minutes={given.minutes * given.first_share}",
        f"train.validation_interval={max(1, round(VALIDATE_EVERY * given.pace / run.images))}",
    )


def _second_stage(
    given: argparse.Namespace, first: Run, second: Run, until: float
) -> tuple[str, ...]:
    """As many epochs as fit in, the last of them validated."""
    seconds = max(1.0, until - time.time() - first.startup) * given.margin
    epochs = max(1, int(seconds * first.pace / second.images))
    interval = min(max(1, round(VALIDATE_EVERY * first.pace / second.images)), epochs)
    epochs -= epochs % interval
    print(f"second stage: {epochs} epochs of {second.images} images", flush=True)
    return (
        f"model.pretrained_model_path={first.folder / LATEST}",
        f"train.num_epochs={epochs}",
        f"train.validation_interval={interval}",
    )


def score(given: argparse.Namespace) -> None:
    """Evaluate the joined parts on the test pictures, at TAO's thresholds and at box_thresh .45."""
    parts = sorted(given.parts.glob("weights.part*"), key=lambda path: int(path.name[12:]))
    with tempfile.TemporaryDirectory(prefix="accuracy-") as scratch:
        weights = Path(scratch) / "weights.pth"
        weights.write_bytes(b"".join(part.read_bytes() for part in parts))
        backbone = read_checkpoint(weights).backbone
        for threshold in (0.55, 0.45):
            overrides = (
                f"results_dir={scratch}/{threshold}",
                f"model.backbone={backbone}",
                f"dataset.validate_dataset.data_path=[{given.data}]",
                f"evaluate.checkpoint={weights}",
                f"evaluate.post_processing.args.box_thresh={threshold}",
            )
            command = [*OCDNET, "evaluate", "-e", str(RECIPE), *overrides]
            subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
            results = Path(scratch) / str(threshold) / "evaluate" / RESULTS
            rows = json.loads(results.read_text())["per_image"]
            unseen = [row for row in rows if _number(Path(row["image"])) > CHOOSING]
            print(f".3/{threshold}: {_scores(rows)}; {_scores(unseen)} (not of the first 60)")


def _scores(rows: Sequence[dict[str, Any]]) -> str:
    names = ("matched", "gt_care", "det_care")
    pooled = Counts(*(sum(row[name] for row in rows) for name in names))
    return (
        f"{len(rows)} pictures: hmean {pooled.hmean:.4f}, precision {pooled.precision:.4f}, "
        f"recall {pooled.recall:.4f}"
    )


def main() -> None:
    """Read the arguments and do it."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    commands = parser.add_subparsers(required=True)
    icdar = Path(__file__).parents[2] / "shared" / "data" / "icdar2015"
    one = commands.add_parser("prepare", help="copy the pictures to a folder that travels")
    one.set_defaults(do=prepare)
    one.add_argument("folder", type=Path)
    one.add_argument("--data", type=Path, default=icdar, help="ICDAR2015: train/ and test/")
    one = commands.add_parser("train", help="render and train, on the machine with the GPU")
    one.set_defaults(do=train)
    one.add_argument("folder", type=Path, help="what prepare made")
    one.add_argument("--out", type=Path, required=True, help="for curve.json and the weights")
    one.add_argument("--minutes", type=float, default=8, help="for everything")
    one.add_argument("--scenes", type=int, default=2000, help="rendered scenes")
    one.add_argument("--altered", type=int, default=2000, help="altered pictures")
    one.add_argument("--repeat", type=int, default=6, help="each picture in an epoch of stage 2")
    one.add_argument("--first-share", type=float, default=0.3, help="of the minutes: stage 1")
    one.add_argument("--margin", type=float, default=0.94, help="share of what is left: stage 2")
    one.add_argument("--pace", type=float, default=700, help="images a second to expect")
    one.add_argument("--set", nargs="*", default=[], metavar="KEY=VALUE", help="of the recipe")
    one = commands.add_parser("score", help="join the parts, and evaluate them")
    one.set_defaults(do=score)
    one.add_argument("parts", type=Path, help="folder with weights.part0 ...")
    one.add_argument("--data", type=Path, default=icdar / "test")
    given = parser.parse_args()
    given.do(given)


if __name__ == "__main__":
    main()

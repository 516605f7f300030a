"""What hmean a few minutes on a GPU reach on ICDAR2015, from random weights and few pictures.

    python benchmarks/accuracy.py prepare .gpu/data
    python benchmarks/accuracy.py train .gpu/data --minutes 8 --out "$OUT"
    python benchmarks/accuracy.py score fetched/ --data ../shared/data/icdar2015/test

`train` has two stages, both the ordinary `ocdnet train`. The first, of a part of the minutes and at
a nearly constant learning rate, sees rendered scenes, altered pictures (other colours, blur, more
words painted between their own) and the pictures; its pace sets how many epochs the second has, on
the altered and the plain pictures, so that its learning rate is down just before the minutes are
over. DIR gets curve.json and the best weights so far, in fp16 and parts, as they improve.
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
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from datetime import datetime
from functools import partial
from pathlib import Path
from statistics import mean, median
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from ocdnet.data.annotations import Annotation, index_dataset
from ocdnet.data.synthetic import Scene, SceneStyle, add_text, label_lines, render_scene
from ocdnet.metrics import Counts
from ocdnet.ranks import cpus
from ocdnet.runs.files import BEST, LATEST, RESULTS, STATUS
from ocdnet.runs.progress import seconds_in
from ocdnet.runs.status import VALIDATED, read_status
from ocdnet.runs.status_line import StatusLine
from ocdnet.weights import SPEC_KEY, read_checkpoint

CHOOSING = 60
"""Of the test pictures the first so many choose the best epoch, as in references/tuning.md."""
PART_BYTES = 15 << 20
RESERVE = 15.0
"""Seconds at the end that no training may use."""
VALIDATE_EVERY = 25.0
IGNORED = ("*", "###")
# Words as ICDAR2015 has them: small, blurred, of little contrast, many not to be read.
SCENES = SceneStyle(
    size=(768, 768), words=(4, 24), height=(8, 44), ignored=0.2, contrast=35, blur=1.6, noise=10
)
PAINTED = replace(SCENES, words=(1, 8), ignored=0.1, contrast=30, plates=0.2)
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


def altered(image: NDArray[np.uint8], rng: np.random.Generator) -> NDArray[np.uint8]:
    """A picture under another light and through another camera."""
    levels = np.linspace(0, 1, 256)[:, None] ** np.exp(rng.uniform(-0.5, 0.5))
    gain, shift = rng.uniform(0.6, 1.3) * rng.uniform(0.85, 1.15, 3), rng.uniform(-25, 25)
    table = np.clip(255 * levels * gain + shift, 0, 255).astype(np.uint8)
    if rng.random() < 0.3:
        image = image[:, :, rng.permutation(3)]
    image = cv2.LUT(np.ascontiguousarray(image), table[:, None, :])
    if rng.random() < 0.4:
        image = cv2.GaussianBlur(image, (0, 0), rng.uniform(0.4, 1.4))
    return _as_jpeg(image, rng)


def _as_jpeg(image: NDArray[np.uint8], rng: np.random.Generator) -> NDArray[np.uint8]:
    quality = [cv2.IMWRITE_JPEG_QUALITY, int(rng.integers(40, 96))]
    return np.asarray(cv2.imdecode(cv2.imencode(".jpg", image, quality)[1], 1), np.uint8)


def render(number: int, kind: str, source: Sequence[Annotation], folder: Path) -> None:
    """Write image `number` of `scenes`, `altered` or `real` with its labels.

    As .bmp: in 8 minutes each is read hundreds of times, and decoding a JPEG costs 3 ms more.
    """
    cv2.setNumThreads(0)
    rng = np.random.default_rng([number, len(kind)])
    if kind == "scenes":
        scene = render_scene(SCENES, rng)
        scene = replace(scene, image=_as_jpeg(scene.image, rng))
    else:
        given = source[number % len(source)]
        image = np.asarray(cv2.imread(str(given.image)), np.uint8)
        scene = Scene(image, [*given.polygons], [*given.texts], given.ignore.tolist())
        if kind == "altered":
            if rng.random() < 0.6:
                add_text(scene, PAINTED, rng)
            scene = replace(scene, image=altered(scene.image, rng))
    cv2.imwrite(str(folder / "img" / f"img_{number}.bmp"), scene.image)
    label = "".join(f"{line}\n" for line in label_lines(scene))
    (folder / "gt" / f"gt_img_{number}.txt").write_text(label, encoding="utf-8")


@dataclass(frozen=True)
class Images:
    """A data path and how many images it has."""

    path: Path
    number: int


def rendered(kind: str, number: int, source: Sequence[Annotation], folder: Path) -> Images:
    """A data path of `number` images, made on all CPUs."""
    start, folder = time.monotonic(), folder / kind
    for part in ("img", "gt"):
        (folder / part).mkdir(parents=True)
    with ProcessPoolExecutor(cpus()) as pool:
        work = partial(render, kind=kind, source=source, folder=folder)
        list(pool.map(work, range(number), chunksize=8))
    print(f"{number} {kind} in {time.monotonic() - start:.1f} s", flush=True)
    return Images(folder, number)


def spec_of(given: argparse.Namespace, data: Sequence[Images], folder: Path) -> dict[str, Any]:
    """The recipe that both stages share."""
    side = [given.crop, given.crop]
    augment = [
        {"type": "Fliplr", "args": {"p": 0.5}},
        {"type": "Affine", "args": {"rotate": [-12, 12], "p": 0.7}},
        {"type": "Resize", "args": {"size": given.scale, "p": 1}},
        {"type": "GaussianBlur", "args": {"sigma": [0.3, 1.3], "p": 0.15}},
    ]
    steps = [
        {"type": "IaaAugment", "args": augment},
        {"type": "WordCrop", "args": {"size": side}},
        {"type": "MakeBorderMap"},
        {"type": "MakeShrinkMap", "args": {"min_text_size": 8}},
    ]
    workers = max(1, cpus() - 1)
    train_loader = {"batch_size": given.batch, "num_workers": workers, "shuffle": True}
    test_loader = {"batch_size": 4, "num_workers": min(6, workers), "pin_memory": True}
    return {
        "results_dir": str(folder),
        "model": {"backbone": given.backbone},
        "dataset": {
            "train_dataset": {
                "data_path": [str(one.path) for one in data],
                "args": {"pre_processes": steps, "ignore_tags": list(IGNORED)},
                "loader": {**train_loader, "pin_memory": True},
            },
            "validate_dataset": {
                "data_path": [str(given.folder / "test")],
                "loader": test_loader,
            },
        },
        "train": {
            "precision": given.precision,
            "checkpoint_interval": 100_000,
            "keep_checkpoints": 1,
            "model_ema": True,
            "model_ema_decay": 0.999,
            "cudnn": {"benchmark": True, "deterministic": False},
            "optimizer": {
                "type": "AdamW",
                "args": {"lr": given.lr, "weight_decay": given.weight_decay, "amsgrad": False},
            },
            "lr_scheduler": {"args": {"warmup_epoch": 1, "per_step": True}},
        },
    }


class Run:
    """One stage: its process, and what its status file tells."""

    def __init__(self, name: str, spec: dict[str, Any], images: int) -> None:
        self.name, self.images, self.began = name, images, time.time()
        self.folder = Path(spec["results_dir"]) / "train"
        self.file, self.log = (self.folder.parent / kind for kind in ("spec.yaml", "log.txt"))
        self.file.parent.mkdir(parents=True)
        self.file.write_text(json.dumps(spec))  # JSON is YAML

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


@contextmanager
def running(run: Run, until: float) -> Iterator[subprocess.Popen[bytes]]:
    """The stage's process, stopped gently at the end, and with all its workers."""
    command = [sys.executable, "-m", "ocdnet.cli.main", "train", "-e", str(run.file)]
    with run.log.open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log, start_new_session=True)
    try:
        yield process
    finally:
        if process.poll() is None:
            process.terminate()  # it saves after its step, and ends
            with suppress(subprocess.TimeoutExpired):
                process.wait(max(1.0, until + RESERVE / 2 - time.time()))
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)


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


def follow(run: Run, record: Record, until: float) -> None:
    """Run a stage to its end or the time's, and keep what it reaches."""
    record.runs.append(run)
    with running(run, until) as process:
        while process.poll() is None and time.time() < until:
            time.sleep(1)
            record.update()
    record.update()
    if process.returncode != 0:
        print(f"{run.name} ended with {process.returncode}:", run.log.read_text()[-3000:])


def train(given: argparse.Namespace) -> None:
    """Render, train both stages, tell the curve."""
    start = time.time()
    end = start + 60 * given.minutes
    until = end - RESERVE
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # so that what is running is stopped
    given.out.mkdir(parents=True, exist_ok=True)
    record = Record(given, start)
    with tempfile.TemporaryDirectory(prefix="accuracy-") as scratch:
        work = Path(scratch)
        source = index_dataset([str(given.folder / "train")], IGNORED)
        real = rendered("real", len(source), source, work)
        more = rendered("altered", given.altered, source, work)
        scenes = rendered("scenes", given.scenes, source, work)
        try:
            first = _first_stage(given, [scenes, more, real], work)
            follow(first, record, until)
            if not first.epochs:
                sys.exit("No epoch of stage 1 has ended: raise --minutes or --pretrain-share.")
            second = _second_stage(given, [more, *[real] * given.repeat], first, until)
            follow(second, record, until)
        finally:
            print(record.table() if record.runs else "nothing trained", flush=True)


def _first_stage(given: argparse.Namespace, data: Sequence[Images], work: Path) -> Run:
    images, spec = sum(one.number for one in data), spec_of(given, data, work / "first")
    spec["train"] |= {
        "num_epochs": 100_000,
        "max_minutes": given.minutes * given.pretrain_share,
        "validation_interval": max(1, round(VALIDATE_EVERY * given.pace / images)),
    }
    return Run("scenes", spec, images)


def _second_stage(
    given: argparse.Namespace, data: Sequence[Images], first: Run, until: float
) -> Run:
    """As many epochs as fit in, the last of them validated."""
    images = sum(one.number for one in data)
    seconds = max(1.0, until - time.time() - first.startup) * given.margin
    interval = max(1, round(VALIDATE_EVERY * first.pace / images))
    epochs = max(1, int(seconds * first.pace / images))
    interval = min(interval, epochs)
    spec = spec_of(given, data, first.folder.parents[1] / "second")
    spec["model"]["pretrained_model_path"] = str(first.folder / LATEST)
    spec["train"] |= {"num_epochs": epochs // interval * interval, "validation_interval": interval}
    print(f"stage 2: {spec['train']['num_epochs']} epochs of {images} images", flush=True)
    return Run("pictures", spec, images)


def score(given: argparse.Namespace) -> None:
    """Evaluate the joined parts on the test pictures, at TAO's thresholds and at box_thresh .45."""
    parts = sorted(given.parts.glob("weights.part*"), key=lambda path: int(path.name[12:]))
    with tempfile.TemporaryDirectory(prefix="accuracy-") as scratch:
        weights = Path(scratch) / "weights.pth"
        weights.write_bytes(b"".join(part.read_bytes() for part in parts))
        file = Path(scratch) / "spec.yaml"
        backbone = read_checkpoint(weights).backbone
        for threshold in (0.55, 0.45):
            folder = Path(scratch) / str(threshold)
            spec = {
                "results_dir": str(folder),
                "model": {"backbone": backbone},
                "dataset": {"validate_dataset": {"data_path": [str(given.data)]}},
                "evaluate": {
                    "checkpoint": str(weights),
                    "post_processing": {"args": {"box_thresh": threshold}},
                },
            }
            file.write_text(json.dumps(spec))
            command = [sys.executable, "-m", "ocdnet.cli.main", "evaluate", "-e", str(file)]
            subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
            rows = json.loads((folder / "evaluate" / RESULTS).read_text())["per_image"]
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
    one.add_argument("--backbone", default="deformable_resnet18")
    one.add_argument("--precision", default="bf16")
    one.add_argument("--scenes", type=int, default=2000, help="rendered scenes")
    one.add_argument("--altered", type=int, default=1400, help="altered pictures")
    one.add_argument("--repeat", type=int, default=4, help="each picture in an epoch of stage 2")
    one.add_argument("--pretrain-share", type=float, default=0.3, help="of the minutes: stage 1")
    one.add_argument("--margin", type=float, default=0.94, help="share of what is left: stage 2")
    one.add_argument("--pace", type=float, default=700, help="images a second to expect")
    one.add_argument("--crop", type=int, default=640)
    one.add_argument("--batch", type=int, default=16)
    one.add_argument("--scale", type=float, nargs=2, default=[0.6, 1.9], help="Resize's range")
    one.add_argument("--lr", type=float, default=1e-3)
    one.add_argument("--weight-decay", type=float, default=0.02)
    one = commands.add_parser("score", help="join the parts, and evaluate them")
    one.set_defaults(do=score)
    one.add_argument("parts", type=Path, help="folder with weights.part0 ...")
    one.add_argument("--data", type=Path, default=icdar / "test")
    given = parser.parse_args()
    given.do(given)


if __name__ == "__main__":
    main()

"""The files that a job leaves in its folder, by their names."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from ocdnet.catalogue_entry import Model

STATUS, EXPERIMENT, RESULTS = "status.json", "experiment.yaml", "results.json"
SAMPLES, REPORT = "samples.json", "report.html"
EXPLAINED, PREDICTIONS = "explained.jsonl", "predictions.jsonl"
PART = ".ocdnet_part.json"
"""What a part of an inference has read, by which all parts are known to be of one."""
BEST, LATEST = "model_best.pth", "ocd_model_latest.pth"
EPOCHS = "model_epoch_*_step_*.pth"
"""Glob pattern of the epochs' checkpoints."""
EPOCH_PATTERN = r"^model_epoch_\d{3,}_step_\d{5,}\.pth$"
"""What their names match as we write them."""
BEST_SPEC = "best_spec.yaml"
TRIALS = "trial_*"
"""Glob pattern of the folders of a search's trials."""
_EPOCH = re.compile(r"model_epoch_(\d{1,6})_step_(\d{1,9})\.pth", re.ASCII)
_NAMES: Mapping[Model, re.Pattern[str]] = {
    "pruned": re.compile(r"pruned_.*\.pth"),
    "quantized": re.compile(r"quantized_.*\.pth"),
    "onnx": re.compile(r".+\.onnx"),
    "engine": re.compile(r".+\.(engine|trt)"),
}
_MOST = 100_000
_DEEPEST = 3
_BOTTOM = 20


@dataclass(frozen=True, kw_only=True)
class RunFiles:
    """A job's files.

    Attributes:
        best: model_best.pth.
        checkpoints: model_epoch_<EEE>_step_<SSSSS>.pth, in order of epoch and step.
        latest: the checkpoint that the link ocd_model_latest.pth means.
        pruned: pruned_<ch_sparsity>.pth.
        quantized: quantized_model_*.pth.
        onnx: ONNX files.
        engines: TensorRT engines.
        predictions: images with a text file of boxes.
    """

    best: Path | None = None
    checkpoints: tuple[Path, ...] = ()
    latest: Path | None = None
    pruned: tuple[Path, ...] = ()
    quantized: tuple[Path, ...] = ()
    onnx: tuple[Path, ...] = ()
    engines: tuple[Path, ...] = ()
    predictions: int = 0

    def models(self, kind: Model) -> tuple[Path, ...]:
        """Those of a kind."""
        best = () if self.best is None else (self.best,)
        by_kind: dict[Model, tuple[Path, ...]] = {
            "checkpoint": (*best, *self.checkpoints),
            "full checkpoint": self.checkpoints,
            "pruned": self.pruned,
            "quantized": self.quantized,
            "engine": self.engines,
            "onnx": self.onnx,
        }
        return by_kind[kind]

    @property
    def names(self) -> list[str]:
        """Names of the models among them."""
        best = () if self.best is None else (self.best,)
        groups = (best, self.pruned, self.quantized, self.onnx, self.engines, self.checkpoints)
        return [path.name for group in groups for path in group]


def epoch_name(epoch: int, step: int) -> str:
    """Name of the checkpoint of an epoch, which counts from 0, after so many steps in all."""
    return f"model_epoch_{epoch:03d}_step_{step:05d}.pth"


def trial_name(number: int) -> str:
    """Name of the folder of a search's trial."""
    return f"trial_{number:03d}"


def epoch_of(path: Path) -> int | None:
    """The epoch in a checkpoint's name, which counts from 0; None where it names none."""
    match = _EPOCH.fullmatch(path.name)
    return int(match[1]) if match else None


def files_in(folder: Path, *, below: bool = False) -> RunFiles:
    """The files of a folder; of one that holds very many, the first 100,000.

    Args:
        folder: a job's.
        below: whether ONNX files and engines in its subfolders count, too.

    Raises:
        OSError: the folder can't be listed.
    """
    with os.scandir(folder) as entries:
        names = {entry.name for entry in islice(entries, _MOST) if _holds_data(entry)}
    files = [folder / name for name in sorted(names)]
    deep = list(islice(_below(folder, _DEEPEST), _MOST)) if below else files
    checkpoints = sorted((path for path in files if _EPOCH.fullmatch(path.name)), key=_order)
    return RunFiles(
        best=folder / BEST if BEST in names else None,
        checkpoints=tuple(checkpoints),
        latest=_latest(folder, checkpoints),
        pruned=_named("pruned", files),
        quantized=_named("quantized", files),
        onnx=_named("onnx", deep),
        engines=_named("engine", deep),
        predictions=sum(
            name.endswith(".txt") and f"{name.removesuffix('.txt')}_result.jpg" in names
            for name in names
        ),
    )


def models_below(folder: Path, kind: Model) -> tuple[Path, ...]:
    """The files below a folder, at any depth, whose names are those of a kind of model.

    Checkpoints and what links to folders lead to are not looked for; of very many files the first
    100,000 are.
    """
    return _named(kind, islice(_below(folder, _BOTTOM), _MOST)) if kind in _NAMES else ()


def onnx_beside(checkpoint: str) -> str:
    """Where an export writes that is not told where: beside its checkpoint, of the same name."""
    return os.path.splitext(checkpoint)[0] + ".onnx"  # noqa: PTH122 - may be an untrusted text


def is_results(folder: Path) -> bool:
    """Whether a run of ours wrote to a folder: its pictures are no input."""
    return (folder / EXPERIMENT).is_file() and (folder / STATUS).is_file()


def is_file(path: Path) -> bool:
    """Whether a file is there, for any path that an untrusted file may name."""
    try:
        return path.is_file()
    except (OSError, ValueError):
        return False


def _named(kind: Model, paths: Iterable[Path]) -> tuple[Path, ...]:
    return tuple(path for path in paths if _NAMES[kind].fullmatch(path.name))


def _holds_data(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_file()
    except OSError:  # a link to itself
        return False


def _below(folder: Path, levels: int) -> Iterator[Path]:
    """Files of a folder and of those below it, links to folders not followed."""
    try:
        entries = sorted(os.scandir(folder), key=lambda entry: entry.name)
    except OSError:
        return
    for entry in entries:
        if entry.is_dir(follow_symlinks=False):
            yield from _below(Path(entry), levels - 1) if levels else ()
        elif _holds_data(entry):
            yield Path(entry)


def _order(path: Path) -> tuple[int, int]:
    match = _EPOCH.fullmatch(path.name)
    return (int(match[1]), int(match[2])) if match else (-1, -1)


def _latest(folder: Path, checkpoints: list[Path]) -> Path | None:
    """What the link names where it is one of the checkpoints, else the highest epoch."""
    try:
        meant = folder / Path((folder / LATEST).readlink()).name
    except OSError:
        meant = None
    if meant in checkpoints:
        return meant
    return checkpoints[-1] if checkpoints else None

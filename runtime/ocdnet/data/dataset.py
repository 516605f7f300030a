"""Datasets, collation and workers for torch's DataLoader."""

from __future__ import annotations

import multiprocessing
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields, replace
from multiprocessing.context import BaseContext
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ocdnet import findings
from ocdnet.data.annotations import Annotation
from ocdnet.data.preprocess import Prepared, Preprocess, pad_to
from ocdnet.data.reading import Image, read_image, set_limit
from ocdnet.data.targets import text_and_background
from ocdnet.data.transforms import CropResult, TrainSample, TrainTransform
from ocdnet.errors import UserError
from ocdnet.findings import Finding
from ocdnet.geometry import Frame
from ocdnet.hardware import machine_cpus
from ocdnet.ranks import launched
from ocdnet.spec_keys import MEGAPIXELS

MAX_AUTO_WORKERS = 15
"""At 4 to 10 ms a sample they make 1,500 to 3,700 a second; what a GPU takes is not measured."""

_T = TypeVar("_T")
TrainItem = tuple[TrainSample, Path, list[Finding]]
EvalItem = tuple[Prepared, Annotation, list[Finding]]


class TrainDataset(torch.utils.data.Dataset):
    """Training samples with their image files by (epoch, index), as EpochSampler yields them.

    Beside them stands what was noted while the image was read, which may be in another process.

    An item may be the UserError that reading it raised (see `check_batch`).
    """

    def __init__(
        self,
        annotations: Sequence[Annotation],
        transform: TrainTransform,
        img_mode: str,
        seed: int,
    ) -> None:
        self.annotations, self.transform = annotations, transform
        self.img_mode, self.seed = img_mode, seed

    def __len__(self) -> int:
        return len(self.annotations)

    def __getitem__(self, key: tuple[int, int]) -> TrainItem | UserError:
        """The sample; its randomness is a function of (seed, epoch, index) alone."""
        epoch, index = key
        annotation = self.annotations[index]
        try:
            image, seen = _read(annotation, self.img_mode)
        except UserError as error:
            return error
        rng = np.random.default_rng([self.seed, epoch, index])
        sample = self.transform(image, annotation.polygons, annotation.ignore, rng)
        return sample, annotation.image, seen


class EvalDataset(torch.utils.data.Dataset):
    """Prepared images with their annotations; an item may be a UserError, as in TrainDataset."""

    def __init__(self, annotations: Sequence[Annotation], preprocess: Preprocess) -> None:
        self.annotations, self.preprocess = annotations, preprocess

    def __len__(self) -> int:
        return len(self.annotations)

    def __getitem__(self, index: int) -> EvalItem | UserError:
        """The image at the network's size and its annotation."""
        annotation = self.annotations[index]
        try:
            image, seen = _read(annotation, self.preprocess.img_mode)
        except UserError as error:
            return error
        return self.preprocess.prepare(image), annotation, seen


def _read(annotation: Annotation, img_mode: str) -> tuple[Image, list[Finding]]:
    with findings.collecting() as seen:
        return read_image(annotation.image, img_mode), seen.rows()


@dataclass(frozen=True, slots=True)
class _Batch:
    """Images with what belongs to them; torch pins all tensors at once, Lightning moves them.

    Without these methods torch would pin nothing, and Lightning refuse a frozen dataclass.
    """

    images: Tensor
    seen: list[Finding]

    def pin_memory(self) -> Self:
        """The batch in page-locked memory."""
        return self._with_tensors(Tensor.pin_memory)

    def to(self, device: torch.device) -> Self:
        """The batch on a device; from page-locked memory the copy overlaps with computation."""
        return self._with_tensors(lambda tensor: tensor.to(device, non_blocking=True))

    def ready_for(self, stream: torch.cuda.Stream, uploads: torch.cuda.Stream) -> None:
        """Let a stream wait for the copies that another one makes."""
        stream.wait_stream(uploads)
        # So that the memory is not given to the next batch while this one is computed.
        self._with_tensors(lambda tensor: tensor.record_stream(stream) or tensor)

    def _with_tensors(self, change: Callable[[Tensor], Tensor]) -> Self:
        values = ((field.name, getattr(self, field.name)) for field in fields(self))
        changed = {name: change(value) for name, value in values if isinstance(value, Tensor)}
        return replace(self, **changed)


@dataclass(frozen=True, slots=True)
class TrainBatch(_Batch):
    """Training crops of one size and their label maps.

    Attributes:
        images: torch uint8[B, h, w, 3], not normalised: that is done on the device.
        seen: what was noted while they were read.
        shrink_maps: uint8[B, h, w]; the four maps are `Targets`', stacked.
        shrink_masks: uint8[B, h, w].
        threshold_maps: float32[B, h, w].
        threshold_masks: uint8[B, h, w].
        pixels: how many of the whole batch are text, and how many background; see `balanced_bce`.
        paths: the file of each image.
        crops: what each crop came to.
    """

    shrink_maps: Tensor
    shrink_masks: Tensor
    threshold_maps: Tensor
    threshold_masks: Tensor
    pixels: tuple[int, int]
    paths: list[str]
    crops: list[CropResult]


@dataclass(frozen=True, slots=True)
class EvalBatch(_Batch):
    """Prepared images and what brings their boxes back.

    Attributes:
        images: torch uint8[B, h, w, 3], padded right and below to the batch's largest. Only as
            many count as there are annotations.
        seen: what was noted while they were read.
        frames: of each image: its part of the batch's pixels, and the way to the original image.
        annotations: of each image.
    """

    frames: list[Frame]
    annotations: list[Annotation]


def collate_train(items: Sequence[TrainItem | UserError]) -> TrainBatch | UserError:
    """Stack training items to a TrainBatch; the first error among them takes its place."""
    pairs: list[TrainItem] = []
    for item in items:
        if isinstance(item, UserError):
            return item
        pairs.append(item)
    samples = [sample for sample, _, _ in pairs]
    maps = _stacked([sample.targets.shrink_map for sample in samples])
    masks = _stacked([sample.targets.shrink_mask for sample in samples])
    return TrainBatch(
        images=_stacked([sample.image for sample in samples]),
        shrink_maps=maps,
        shrink_masks=masks,
        threshold_maps=_stacked([sample.targets.threshold_map for sample in samples]),
        threshold_masks=_stacked([sample.targets.threshold_mask for sample in samples]),
        pixels=text_and_background(maps, masks),
        seen=[finding for *_, seen in pairs for finding in seen],
        paths=[str(path) for _, path, _ in pairs],
        crops=[sample.crop for sample in samples],
    )


def collate_eval(items: Sequence[EvalItem | UserError]) -> EvalBatch | UserError:
    """Stack evaluation items to an EvalBatch; of none, one black image that is not counted."""
    pairs: list[EvalItem] = []
    for item in items:
        if isinstance(item, UserError):
            return item
        pairs.append(item)
    images = [prepared.image for prepared, _, _ in pairs] or [np.zeros((64, 64, 3), np.uint8)]
    height = max(image.shape[0] for image in images)
    width = max(image.shape[1] for image in images)
    return EvalBatch(
        images=_stacked([pad_to(image, height, width) for image in images]),
        seen=[finding for *_, seen in pairs for finding in seen],
        frames=[prepared.frame for prepared, _, _ in pairs],
        annotations=[annotation for _, annotation, _ in pairs],
    )


def _stacked(arrays: Sequence[NDArray[Any]]) -> Tensor:
    return torch.from_numpy(np.stack(arrays))


def check_batch(batch: _T | UserError) -> _T:
    """The batch; raises the UserError that a worker met in its place, notes what it has noted.

    torch rebuilds an exception raised in a worker from one string, which would lose the error's
    fields and its exit code; so workers return the error as their batch.
    """
    if isinstance(batch, UserError):
        raise batch
    for seen in batch.seen if isinstance(batch, _Batch) else ():
        for file in seen.files:
            findings.note(
                seen.code, seen.message, key=seen.key, file=file, count=seen.count, once=True
            )
    return batch


def worker_count(requested: int, local_world_size: int = 1) -> int:
    """Number of DataLoader workers of one process; -1 chooses.

    The automatic number is one less than this process's CPUs (those that srun gave it, else its
    share of the machine's), as one trains: at least 1, at most MAX_AUTO_WORKERS. On two CPUs a
    second worker was measured to be no faster: a sample takes 10 ms.

    Args:
        requested: of the spec.
        local_world_size: training processes that share this machine.
    """
    if requested >= 0:
        return requested
    run = launched()
    if run is not None and run.cpus is not None:
        return max(1, min(MAX_AUTO_WORKERS, run.cpus - 1))
    return max(1, min(MAX_AUTO_WORKERS, machine_cpus() // local_world_size - 1))


class _Flag:
    """The part of multiprocessing's Event that torch uses, without a lock.

    A worker may be killed while it holds the lock; whoever asks the Event then waits for ever.
    """

    def __init__(self, context: BaseContext) -> None:
        self._value = context.RawValue("b", 0)

    def set(self) -> None:
        self._value.value = 1

    def is_set(self) -> bool:
        return bool(self._value.value)


def worker_context() -> BaseContext:
    """The DataLoader's `multiprocessing_context`: the system's own, except for its events."""

    def event(own: BaseContext) -> _Flag:
        return _Flag(own)

    kind = type(multiprocessing.get_context(multiprocessing.get_start_method()))
    context: BaseContext = type("WorkerContext", (kind,), {"Event": event})()
    return context


def init_worker(worker_id: int, megapixels: int = MEGAPIXELS) -> None:
    """The DataLoader's `worker_init_fn`: OpenCV keeps to the worker's own thread.

    The limit of `pixel_limit` is this process's, so a worker is told.

    A worker whose main process ends prints no traceback: the main process has said why it ended.
    """
    cv2.setNumThreads(0)
    set_limit(megapixels)
    sys.excepthook = _unless_hung_up  # also of the thread that sends samples


def _unless_hung_up(
    kind: type[BaseException], error: BaseException, trace: TracebackType | None
) -> None:
    if not issubclass(kind, ConnectionError | EOFError):
        sys.__excepthook__(kind, error, trace)

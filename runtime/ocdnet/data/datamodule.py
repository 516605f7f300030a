"""The spec's `dataset` section as a LightningDataModule."""

from __future__ import annotations

import math
from functools import partial
from typing import Any

import pytorch_lightning as pl
import torch
from torch.utils.data import DataLoader

from ocdnet.config.dataset import DatasetConfig, Loader
from ocdnet.data.annotations import Annotations, index_dataset
from ocdnet.data.crop_watch import CropWatch
from ocdnet.data.dataset import (
    EvalDataset,
    TrainBatch,
    TrainDataset,
    check_batch,
    collate_eval,
    collate_train,
    init_worker,
    worker_context,
    worker_count,
)
from ocdnet.data.preprocess import Preprocess
from ocdnet.data.reading import limit
from ocdnet.data.sampler import EpochSampler, ShardBatches
from ocdnet.data.steps import eval_preprocess, train_transform
from ocdnet.errors import DataError, SpecError
from ocdnet.spec_keys import TRAIN_DATA, VALIDATE_STEPS


class DetectionData(pl.LightningDataModule):
    """Training and validation batches; all labels are read when this is made.

    Args:
        config: the `dataset` section.
        seed: of the run; order and augmentation depend on it, the epoch and the index alone.

    Attributes:
        census: what the training data holds.

    Raises:
        UserError: bad labels, paths or pre-processing steps; no text to learn from.
    """

    def __init__(self, config: DatasetConfig, seed: int) -> None:
        super().__init__()
        train, validate = config.train_dataset, config.validate_dataset
        self.seed, self._train_loader, self._eval_loader = seed, train.loader, validate.loader
        self._uploads: torch.cuda.Stream | None = None
        transform = train_transform(train.args)
        annotations = index_dataset(train.data_path, train.args.ignore_tags, TRAIN_DATA)
        _require_text(annotations, train.args.ignore_tags)
        self.census = annotations.census
        self._crops = CropWatch(transform)
        self.train_set = TrainDataset(annotations, transform, train.args.img_mode, seed)
        self.eval_set: EvalDataset | None = None
        if validate.data_path:
            labelled = index_dataset(validate.data_path, validate.args.ignore_tags)
            self.eval_set = EvalDataset(labelled, _whole(eval_preprocess(validate.args)))

    def reseed(self, seed: int) -> None:
        """Take the seed that all processes have agreed on."""
        self.seed = self.train_set.seed = seed

    def train_dataloader(self) -> DataLoader[Any]:
        """Batches of this rank; a run resumed within an epoch gets that epoch's remaining ones."""
        trainer = self.trainer
        sampler = EpochSampler(
            len(self.train_set),
            self.seed,
            self._train_loader.shuffle,
            trainer.global_rank,
            trainer.world_size,
        )
        config = self._train_loader
        loader = self._loader(
            self.train_set, config, collate_train, sampler=sampler, batch_size=config.batch_size
        )
        # Workers read ahead as soon as Lightning has the loader, before it sets the epoch.
        sampler.set_epoch(trainer.fit_loop.epoch_progress.current.processed)
        # "Processed": a checkpoint is written before its own batch counts as completed.
        batches = trainer.fit_loop.epoch_loop.batch_progress
        seen = 0 if batches.is_last_batch else batches.current.processed
        sampler.skip(seen * self._train_loader.batch_size)
        return loader

    def val_dataloader(self) -> DataLoader[Any] | list[Any]:
        """Validation batches of this rank; an empty list without validation data."""
        if self.eval_set is None:
            return []
        config, rank, world = self._eval_loader, self.trainer.global_rank, self.trainer.world_size
        batches = ShardBatches(len(self.eval_set), config.batch_size, rank, world)
        return self._loader(self.eval_set, config, collate_eval, batch_sampler=batches)

    def batches(self, ranks: int) -> tuple[int, int]:
        """Training and validation batches of an epoch on each of several ranks."""
        images = len(self.eval_set) if self.eval_set is not None else 0
        train, validate = self._train_loader.batch_size, self._eval_loader.batch_size
        return (
            math.ceil(len(self.train_set) / (train * ranks)),
            math.ceil(images / (validate * ranks)),
        )

    def _loader(
        self, dataset: Any, config: Loader, collate: Any, **samplers: Any
    ) -> DataLoader[Any]:
        workers = worker_count(config.num_workers, self.trainer.num_devices)
        return DataLoader(
            dataset,
            **samplers,
            num_workers=workers,
            collate_fn=collate,
            # Whatever config.pin_memory, TAO's switch, says: it costs nothing.
            pin_memory=torch.cuda.is_available(),
            persistent_workers=workers > 0,
            worker_init_fn=partial(init_worker, megapixels=limit()),
            multiprocessing_context=worker_context() if workers else None,
        )

    def transfer_batch_to_device(
        self, batch: Any, device: torch.device, dataloader_idx: int
    ) -> Any:
        """Move the tensors; raise a worker's error, and warn of useless crops."""
        batch = check_batch(batch)
        if isinstance(batch, TrainBatch) and self.trainer.is_global_zero:
            self._crops.see(batch.crops, len(self.train_set) // self.trainer.world_size)
        if device.type != "cuda":
            return super().transfer_batch_to_device(batch, device, dataloader_idx)
        # On a stream of its own: the GPU still computes the step before.
        self._uploads = self._uploads or torch.cuda.Stream(device)
        with torch.cuda.stream(self._uploads):
            moved = super().transfer_batch_to_device(batch, device, dataloader_idx)
        moved.ready_for(torch.cuda.current_stream(device), self._uploads)
        return moved


def _whole(preprocess: Preprocess) -> Preprocess:
    """A preprocessing that makes one input of a picture."""
    if preprocess.resize != "tile":
        return preprocess
    raise SpecError(
        "no-tiles",
        f"Validation during a training does not cut pictures into tiles ({VALIDATE_STEPS})",
        got="mode tile",
        expected="stretch | fit | auto",
        hint="Evaluate has tiles: validate with stretch, and evaluate the best checkpoint.",
    )


def _require_text(annotations: Annotations, ignore_tags: list[str]) -> None:
    census = annotations.census
    if census.cared:
        return
    raise DataError(
        "nothing-to-learn",
        "No text region of the training data is left to learn from",
        got=str(census),
        expected="regions whose transcription is none of "
        f"dataset.train_dataset.args.ignore_tags {ignore_tags}",
        hint="Label readable text with its transcription, or shorten ignore_tags."
        if census.regions
        else "The label files are empty: a line a text region.",
    )

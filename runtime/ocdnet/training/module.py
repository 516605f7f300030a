"""The LightningModule: wires network, loss, optimiser and metric."""

from __future__ import annotations

import math
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

import numpy as np
import pytorch_lightning as pl
import torch
from torch import Tensor

from ocdnet.checkpoint import SPEC_KEY, START_KEY
from ocdnet.config.train import TrainConfig
from ocdnet.data.dataset import EvalBatch, TrainBatch
from ocdnet.data.preprocess import MEAN
from ocdnet.data.resizing import note_stretch
from ocdnet.errors import RunError, SpecError
from ocdnet.metrics import Counts, DetectionMetric
from ocdnet.models.cpu_forms import use_cpu_forms
from ocdnet.models.dbnet import DBNet
from ocdnet.models.fan_neck import FANNeck
from ocdnet.models.losses import DBLoss
from ocdnet.postprocess import DBPostprocessor
from ocdnet.runs.names import SCORES
from ocdnet.spec_keys import VALIDATE_STEPS
from ocdnet.training import epoch_means
from ocdnet.training.optimizer import build_optimizer, optimizer_arguments
from ocdnet.training.schedule import steps_per_epoch, warmup_poly_factor
from ocdnet.training.strategy import FSDP, shard, share_buffers


class _Computed:
    """A loss on its way from the device, and the images that it belongs to."""

    def __init__(self, loss: Tensor, paths: list[str]) -> None:
        self.paths = paths
        self._loss = loss.detach().to("cpu", non_blocking=True)
        self._arrived = torch.cuda.Event() if loss.is_cuda else None
        if self._arrived is not None:
            self._arrived.record()

    def value(self) -> float:
        """The loss, once it has arrived; what the device does after it goes on."""
        if self._arrived is not None:
            self._arrived.synchronize()
        return float(self._loss)


class DetectionModule(pl.LightningModule):
    """Trains and validates a DBNet.

    Args:
        model: the network; its parameters appear under `model.` in checkpoints.
        config: the `train` section.
        spec: the resolved spec, stored in every checkpoint.
        start: the weights from which it starts, stored, too; empty: random ones.
    """

    def __init__(
        self,
        model: DBNet,
        config: TrainConfig,
        spec: dict[str, Any],
        start: Mapping[str, str] = MappingProxyType({}),
    ) -> None:
        super().__init__()
        # Channels last: 1.6 times (fp32) and 2.5 times (bf16) the speed of a CPU step.
        self.model = model.to(memory_format=torch.channels_last)
        self.config, self.spec, self.start = config, spec, start
        loss = config.loss
        self.loss = DBLoss(loss.alpha, loss.beta, loss.ohem_ratio, loss.eps)
        polygon = config.metric.args.is_output_polygon
        self.postprocess = DBPostprocessor.from_spec(config.post_processing, polygon, "train")
        self.metric = DetectionMetric()
        self.register_buffer("mean", torch.tensor(MEAN).view(3, 1, 1), persistent=False)
        self._last: _Computed | None = None
        self._before: dict[str, list[float]] = {}
        self._validated = False

    def setup(self, stage: str) -> None:
        """Take rank 0's seed: where none is given each process has drawn its own."""
        self.config.seed = self.trainer.strategy.broadcast(self.config.seed)
        self.trainer.datamodule.reseed(self.config.seed)

    def configure_model(self) -> None:
        """Prepare the network for the run's processes, which are connected by now.

        FAN's neck takes its batch statistics over the images of all GPUs, as TAO's.
        """
        several, gpu = self.trainer.world_size > 1, self.trainer.strategy.root_device.type == "cuda"
        if several and gpu and isinstance(self.model.neck, FANNeck):
            self.model = torch.nn.SyncBatchNorm.convert_sync_batchnorm(self.model)
        if not gpu and not self.config.compile:
            use_cpu_forms(self.model)
        if self.config.distributed_strategy != "ddp":
            self.model.to(memory_format=torch.contiguous_format)  # only this format can be split
        if self.config.distributed_strategy == FSDP:
            shard(self.model, self.device_mesh)
        if self.config.compile:
            self.model.compile()  # in place, which leaves the state dict's keys as they are

    def forward(self, images: Tensor) -> Tensor:
        """uint8[B, H, W, 3] -> the network's maps; see `DBHead.forward`."""
        return self.model((images.permute(0, 3, 1, 2) - self.mean) / 255)

    def on_train_start(self) -> None:
        """Replace the optimiser's arguments that a checkpoint has restored by the spec's.

        Also sets the learning rate: Lightning starts no epoch when it resumes within one.
        """
        for group in self.trainer.optimizers[0].param_groups:
            group.update(optimizer_arguments(self.config.optimizer), fused=self._fused or None)
        self.on_train_epoch_start()

    def on_train_epoch_start(self) -> None:
        """Set the epoch's learning rate."""
        self._set_rate(self.current_epoch)

    def on_train_batch_start(self, batch: TrainBatch, batch_idx: int) -> None:
        """Seed torch, and set the learning rate if it changes with each step.

        Dropout then depends on seed, epoch, batch and rank alone: a resumed run draws the same.
        """
        key = [self.config.seed, self.current_epoch, batch_idx, self.global_rank]
        torch.manual_seed(int(np.random.SeedSequence(key).generate_state(1)[0]))
        if self.config.lr_scheduler.args.per_step:
            step = batch_idx // self.trainer.accumulate_grad_batches
            self._set_rate(self.current_epoch + step / steps_per_epoch(self.trainer))

    def _set_rate(self, epoch: float) -> None:
        warmup = self.config.lr_scheduler.args.warmup_epoch
        factor = warmup_poly_factor(epoch, self.config.num_epochs, warmup)
        for group in self.trainer.optimizers[0].param_groups:
            group["lr"] = self.config.optimizer.args.lr * factor

    def training_step(self, batch: TrainBatch, batch_idx: int) -> Tensor:
        """Loss of one batch; `on_train_batch_end` looks at it."""
        terms = self.loss(
            self(batch.images),
            batch.shrink_maps,
            batch.shrink_masks,
            batch.threshold_maps,
            batch.threshold_masks,
            batch.pixels,
        )
        self._last = _Computed(terms.total, batch.paths)
        self.log(
            "train_loss",
            terms.total.detach(),
            prog_bar=True,
            on_step=True,
            on_epoch=True,
            batch_size=len(batch.paths),
            sync_dist=True,
        )
        self.log_dict(
            {
                "lr": self.trainer.optimizers[0].param_groups[0]["lr"],
                "shrink_loss": terms.shrink.detach(),
                "threshold_loss": terms.threshold.detach(),
                "binary_loss": terms.binary.detach(),
            },
            on_step=True,
            on_epoch=True,
            batch_size=len(batch.paths),
            sync_dist=True,
        )
        if self._before and batch_idx:  # the run was resumed within this epoch
            epoch_means.go_on(self.trainer, self._before)
        self._before = {}
        return terms.total

    def on_train_batch_end(self, *_: Any) -> None:
        """Raise RunError, which names the images, if the batch's loss is not finite.

        Not before: a GPU would have nothing to do while the processor looks.
        """
        if self._last is None:
            return
        loss, paths = self._last.value(), self._last.paths
        self._last = None
        if not math.isfinite(loss):
            raise RunError(
                "non-finite-loss",
                f"The loss is {loss} in epoch {self.current_epoch}",
                got=paths,
                expected="a finite loss",
                hint="Lower train.optimizer.args.lr, or train with precision fp32 or bf16.",
            )

    def on_validation_start(self) -> None:
        """Make every process validate the network that is saved."""
        if self.trainer.world_size > 1:
            share_buffers(self.model)

    def on_validation_epoch_start(self) -> None:
        """Count from zero."""
        self.metric = DetectionMetric()

    def validation_step(self, batch: EvalBatch, batch_idx: int) -> dict[str, list[Any]]:
        """Find text in one batch and count it against the labels, in pixels of the originals.

        Returns:
            For callbacks, of each image: `found`, its polygons, and `matches`, an ImageMatch.
        """
        maps = self(batch.images)[: len(batch.annotations), 0].float().cpu().numpy()
        scored: dict[str, list[Any]] = {"found": [], "matches": []}
        for probability, frame, annotation in zip(
            maps, batch.frames, batch.annotations, strict=True
        ):
            if not self._validated:
                note_stretch(frame.scale, annotation.image, VALIDATE_STEPS)
            detections = self.postprocess(probability, frame, annotation.image)
            match = self.metric.update(detections.polygons, annotation.polygons, annotation.ignore)
            scored["found"].append(detections.polygons)
            scored["matches"].append(match)
        return scored

    def on_validation_epoch_end(self) -> None:
        """Log hmean, precision and recall of the counts pooled over all ranks."""
        self._validated = True
        counts = self.metric.counts
        pooled = self.trainer.strategy.reduce(
            torch.tensor(
                [counts.matched, counts.gt_care, counts.det_care],
                dtype=torch.float64,
                device=self.device,
            ),
            reduce_op="sum",
        )
        total = Counts(*(int(count) for count in pooled.tolist()))
        for name in SCORES:
            self.log(name, getattr(total, name), prog_bar=name == "hmean", rank_zero_only=False)

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """The spec's optimiser over all parameters."""
        return build_optimizer(self.config.optimizer, self.model, fused=self._fused)

    @property
    def _fused(self) -> bool:
        """Whether the optimiser updates all parameters in one kernel: on GPUs, if possible."""
        plain = self.config.distributed_strategy == "ddp" and self.config.precision != "fp16"
        # Under fp16 a fused optimiser unscales the gradients itself, too late to clip them.
        return plain and self.trainer.strategy.root_device.type == "cuda"

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Store spec and start in the checkpoint; raise RunError rather than broken weights."""
        self.on_train_batch_end()  # a checkpoint within an epoch is written before it is called
        checkpoint[SPEC_KEY] = self.spec
        if self.start:
            checkpoint[START_KEY] = dict(self.start)
        checkpoint[epoch_means.KEY] = epoch_means.so_far(self.trainer, self.device)

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Refuse, as a SpecError, a checkpoint that has seen more epochs than the spec asks for."""
        self._before = epoch_means.read(checkpoint)
        done = checkpoint["loops"]["fit_loop"]["epoch_progress"]["current"]["processed"]
        if done > self.config.num_epochs:
            raise SpecError(
                "too-few-epochs",
                "The checkpoint to resume from has seen more epochs than 'train.num_epochs'",
                got=self.config.num_epochs,
                expected=f"at least {done}",
                hint=f"Train longer: train.num_epochs={done + 1} or more.",
            )

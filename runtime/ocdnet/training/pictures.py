"""Pictures of validation: a few fixed images with their maps, and the worst and the best of all."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytorch_lightning as pl
import torch
from numpy.typing import NDArray
from pytorch_lightning.callbacks import Callback
from torch import Tensor, nn

from ocdnet.data.dataset import EvalBatch
from ocdnet.geometry import Points
from ocdnet.metrics import ImageMatch
from ocdnet.runs.files import SAMPLES
from ocdnet.runs.names import rank
from ocdnet.runs.samples import Showcase, by_role, read_samples
from ocdnet.training.loggers import log_picture
from ocdnet.visualize import draw_roles, fitted, probability_image

PICTURED = 3
"""Images that are pictured at every validation."""
_MOST_VALIDATIONS = 100
_TILE = 480


class WorstAndBest(Callback):
    """Writes samples.json (see `ocdnet.runs.samples`) of the best epoch, which `rank` tells."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._showcase = Showcase()
        self._validated = False

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Remove what an earlier, failed run left in the folder."""
        if trainer.is_global_zero and trainer.ckpt_path is None:
            (self.folder / SAMPLES).unlink(missing_ok=True)

    def on_validation_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Start with no images."""
        self._showcase = Showcase()

    def on_validation_batch_end(
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        outputs: Any,
        batch: EvalBatch,
        *_: Any,
    ) -> None:
        """Compare the batch's images with the worst and best so far."""
        rows = zip(batch.annotations, outputs["found"], outputs["matches"], strict=True)
        for annotation, polygons, match in rows:
            self._showcase.add(annotation, polygons, match)

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Merge the images of all ranks."""
        for other in _of_other_ranks(trainer, self._showcase):
            self._showcase.merge(other)
        self._validated = True

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Write the images, unless an earlier epoch was better; the loss is known only now."""
        validated, self._validated = self._validated, False
        if not validated or not trainer.is_global_zero:
            return
        hmean, loss = (float(trainer.callback_metrics[name]) for name in ("hmean", "train_loss"))
        before = read_samples(self.folder)  # of a run that is resumed, too
        if (
            before is None
            or before.epoch == trainer.current_epoch
            or rank("hmean", hmean, loss) > rank("hmean", before.hmean, before.train_loss)
        ):
            self._showcase.write(self.folder, hmean, trainer.current_epoch, loss)


class MapPictures(Callback):
    """Shows images with labels and detections, and their shrink, threshold and binary maps.

    Of rank 0 the first image of the first, the middle and the last batch; at most about a hundred
    validations of a run are shown. Costs the head's threshold branch on these images.
    """

    def __init__(self) -> None:
        self._hook: Any = None
        self._seen: tuple[Tensor, Tensor] | None = None

    def on_validation_batch_start(
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        batch: EvalBatch,
        batch_idx: int,
        *_: Any,
    ) -> None:
        """Record input and output of the head if the batch is to be shown."""
        if trainer.is_global_zero and batch_idx in _shown_batches(trainer):
            self._hook = pl_module.model.head.register_forward_hook(self._see)

    def on_validation_batch_end(
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        outputs: Any,
        batch: EvalBatch,
        *_: Any,
    ) -> None:
        """Draw the batch's first image."""
        if self._hook is None or self._seen is None:
            return
        self._hook.remove()
        # Maps are as large as the batch's largest image, this one's part at the top left.
        maps = [batch.frames[0].cut(one) for one in _maps(pl_module.model.head, *self._seen)]
        self._hook = self._seen = None
        mode = trainer.datamodule.eval_set.preprocess.img_mode
        overlay = _overlay(batch, outputs["found"][0], outputs["matches"][0], mode)
        name = f"validation/{batch.annotations[0].image.stem}"
        log_picture(trainer.loggers, name, _mosaic(overlay, maps), trainer.global_step)

    def _see(self, head: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        self._seen = inputs[0][:1], output[:1]


def _of_other_ranks(trainer: pl.Trainer, own: Showcase) -> list[Showcase]:
    if trainer.world_size == 1:
        return []
    gathered: list[Any] = [None] * trainer.world_size
    torch.distributed.all_gather_object(gathered, own)
    return [one for rank, one in enumerate(gathered) if rank != trainer.global_rank]


def _shown_batches(trainer: pl.Trainer) -> set[int]:
    """Indices of the batches of this validation of which an image is shown."""
    interval = trainer.check_val_every_n_epoch or 1
    stride = math.ceil((trainer.max_epochs or 1) / interval / _MOST_VALIDATIONS)
    if (trainer.current_epoch + 1) // interval % stride:
        return set()
    batches = int(trainer.num_val_batches[0])
    return {round(number * (batches - 1) / (PICTURED - 1)) for number in range(PICTURED)}


def _maps(head: Any, features: Tensor, probability: Tensor) -> list[NDArray[np.uint8]]:
    """Shrink, threshold and binary map (arXiv 1911.08947, equation 2) as grey images [H, W]."""
    threshold = head.thresh(features.float()).sigmoid()
    binary = torch.sigmoid(head.k * (probability - threshold))
    maps = torch.cat((probability, threshold, binary), dim=1)[0].float().cpu().numpy()
    return [probability_image(one) for one in maps]


def _overlay(
    batch: EvalBatch, polygons: list[Points], match: ImageMatch, img_mode: str
) -> NDArray[np.uint8]:
    """The first image at the network's size or below, BGR, with its labels and detections."""
    frame = batch.frames[0]
    image = frame.cut(batch.images[0].cpu().numpy())
    image = np.ascontiguousarray(image[:, :, ::-1]) if img_mode == "RGB" else image
    image, factor = fitted(image, _TILE)
    scale = factor / np.array(frame.scale)
    roles = by_role(batch.annotations[0], polygons, match)
    scaled = {role: [polygon * scale for polygon in group] for role, group in roles.items()}
    return draw_roles(image, scaled, thickness=1)


def _mosaic(overlay: NDArray[np.uint8], maps: list[NDArray[np.uint8]]) -> NDArray[np.uint8]:
    """Overlay and shrink map above threshold and binary map: uint8[2h, 2w, 3]."""
    height, width = overlay.shape[:2]
    grey = [cv2.resize(one, (width, height), interpolation=cv2.INTER_AREA) for one in maps]
    tiles = [overlay, *(cv2.cvtColor(one, cv2.COLOR_GRAY2BGR) for one in grey)]
    return np.vstack([np.hstack(tiles[:2]), np.hstack(tiles[2:])]).astype(np.uint8)

"""Checkpoints through PyTorch, on the CPU or a CUDA device."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from pydantic import TypeAdapter
from torch import Tensor

from ocdnet.backends.base import Batch, BatchSizes
from ocdnet.checkpoint import Checkpoint
from ocdnet.config.dataset import DatasetArgs
from ocdnet.config.model import ModelConfig
from ocdnet.data.preprocess import Normalisation
from ocdnet.data.reading import Image
from ocdnet.data.steps import eval_preprocess
from ocdnet.devices import fit_threads
from ocdnet.errors import UserError
from ocdnet.files import sha256
from ocdnet.models.factory import build_model
from ocdnet.models.folding import fold_batch_norms
from ocdnet.networks import network_of, own_model
from ocdnet.tree import keys
from ocdnet.weights import load_exactly, read_checkpoint
from ocdnet.zoo.registry import Weights, of_digest

_EVALUATED = "dataset.validate_dataset.args"


def own_size(checkpoint: Checkpoint) -> tuple[int, int] | None:
    """Width and height at which a checkpoint's training was evaluated; None: it does not say."""
    args = keys.get(checkpoint.spec, _EVALUATED)
    try:
        size = eval_preprocess(TypeAdapter(DatasetArgs).validate_json(json.dumps(args))).size
    except (ValueError, TypeError, UserError):
        return None
    return size if isinstance(size, tuple) else None


def public(checkpoint: Checkpoint) -> Weights | None:
    """The public weights that a checkpoint is, whatever its file is called; None of others."""
    if checkpoint.input is None or checkpoint.spec:
        return None
    return of_digest(sha256(checkpoint.path))


class TorchPredictor:
    """Predictor of a .pth checkpoint; its network cannot be trained any more.

    Args:
        path: checkpoint of ours, of TAO or of mmocr.
        config: the `model` section, over which goes what the checkpoint says of its network;
            None: that alone.
        device: where to run.

    Raises:
        DataError: the checkpoint cannot be read or does not fit the network.
    """

    backend = "torch"
    size: tuple[int, int] | None = None
    batch: BatchSizes | None = None

    def __init__(self, path: Path, config: ModelConfig | None, device: torch.device) -> None:
        self.path = path
        checkpoint = read_checkpoint(path)
        known = public(checkpoint)
        config = network_of(checkpoint, config) if config else own_model(checkpoint, known)
        self.backbone = config.backbone
        model = build_model(config)
        load_exactly(model, checkpoint, config.backbone)
        self.img_mode = checkpoint.img_mode
        self.normalisation: Normalisation | None = checkpoint.normalisation
        self.suggested = known.suggested if known else None
        size = self.suggested.size if self.suggested else None
        self.advised = own_size(checkpoint) or size
        self.device, self.device_type = device, str(device.type)
        model.eval()
        if device.type == "cpu":
            fit_threads()
        self.threads = torch.get_num_threads()
        fold_batch_norms(model)
        # Folded and channels last: 1.6 times the speed on a CPU (docs/performance.md).
        self.model = model.to(device, memory_format=torch.channels_last)

    @torch.inference_mode()
    def __call__(self, images: Batch) -> Batch:
        """float32[B, 3, H, W] -> probability float32[B, H, W]."""
        if torch.get_num_threads() != self.threads:  # a thread of its own has all of them
            torch.set_num_threads(self.threads)
        batch = torch.from_numpy(images).to(self.device, memory_format=torch.channels_last)
        maps: Batch = self.model(batch)[:, 0].cpu().numpy()
        return maps


class CudaPredictor(TorchPredictor):
    """The same on a CUDA device, where copies go beside the computation; a DevicePredictor."""

    def upload(self, images: Sequence[Image], normalisation: Normalisation) -> Tensor:
        """Take images of one size to the device and normalise them there; called in threads.

        uint8[H, W, 3] each -> float32[B, 3, H, W]: a quarter of the bytes on the way.
        """
        host = torch.empty((len(images), *images[0].shape), dtype=torch.uint8, pin_memory=True)
        for row, image in zip(host, images, strict=True):
            row.copy_(torch.from_numpy(image))
        mean, divisor = (torch.from_numpy(column) for column in normalisation.columns())
        stream = torch.cuda.Stream(self.device)
        with torch.cuda.stream(stream):
            batch = host.to(self.device, non_blocking=True).permute(0, 3, 1, 2)
            batch = (batch - mean.to(self.device)) / divisor.to(self.device)
        stream.synchronize()
        return batch

    @torch.inference_mode()
    def start(self, images: Tensor) -> Callable[[], Batch]:
        """Begin a prediction of uploaded images; what it returns waits for it, as `__call__`."""
        images.record_stream(torch.cuda.current_stream(self.device))
        maps = self.model(images)[:, 0].to("cpu", non_blocking=True)
        done = torch.cuda.Event()
        done.record(torch.cuda.current_stream(self.device))

        def wait() -> Batch:
            done.synchronize()
            found: Batch = maps.numpy()
            return found

        return wait


def torch_predictor(path: Path, config: ModelConfig | None, device: torch.device) -> TorchPredictor:
    """The predictor for a device; raises as `TorchPredictor`."""
    kind = CudaPredictor if device.type == "cuda" else TorchPredictor
    return kind(path, config, device)

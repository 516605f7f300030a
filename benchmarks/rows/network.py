"""The network: a training step, a forward pass, the exported graph against what a CPU can do."""

from __future__ import annotations

import copy
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode
from torchvision.ops import deform_conv2d

from ocdnet.actions import export
from ocdnet.backends.onnx import optimise
from ocdnet.backends.torch import TorchPredictor
from ocdnet.config import spec
from ocdnet.config.model import ModelConfig
from ocdnet.models import deform_conv
from ocdnet.models.cpu_forms import use_cpu_forms
from ocdnet.models.dbnet import DBNet
from ocdnet.models.factory import build_model
from ocdnet.models.losses import DBLoss
from timing import Row, medians, thread_counts, threads

BATCH, SIDE = 4, 640
HEIGHT, WIDTH = 736, 1280
DEFAULT = "deformable_resnet18"


def torchvision_operator(
    x: Tensor,
    offset: Tensor,
    mask: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    **geometry: int,
) -> Tensor:
    """The baseline of `deform_conv2d_cpu`: torchvision's kernel, in full precision."""
    with torch.autocast("cpu", enabled=False):
        x, offset, mask = x.float(), offset.float(), mask.float()
        return deform_conv2d(x, offset, weight, bias, mask=mask, **geometry)


def with_torchvision(work: Callable[[], Any]) -> Callable[[], Any]:
    """The same work with torchvision's operator in place of ours."""

    def replaced() -> Any:
        ours, deform_conv.deform_conv2d_cpu = deform_conv.deform_conv2d_cpu, torchvision_operator
        try:
            return work()
        finally:
            deform_conv.deform_conv2d_cpu = ours

    return replaced


def training_step(ours: bool, precision: torch.dtype) -> Callable[[], None]:
    """Forward, loss, backward, clipping and TAO's Adam on one batch.

    Args:
        ours: as `ocdnet train` computes it on a CPU: channels last, layers in their CPU forms.
        precision: of the network.
    """
    torch.manual_seed(0)
    model, loss = build_model(ModelConfig(backbone=DEFAULT)).train(), DBLoss()
    layout = torch.channels_last if ours else torch.contiguous_format
    model = model.to(memory_format=layout)
    if ours:
        use_cpu_forms(model)
    optimizer = torch.optim.Adam(model.parameters(), 1e-3, amsgrad=True)
    images = torch.randn(BATCH, 3, SIDE, SIDE).to(memory_format=layout)
    kernels = (torch.rand(BATCH, SIDE, SIDE) > 0.85).to(torch.uint8)
    everywhere, borders = torch.ones_like(kernels), torch.rand(BATCH, SIDE, SIDE)

    def step() -> None:
        with torch.autocast("cpu", precision, enabled=precision != torch.float32):
            maps = model(images)
        loss(maps, kernels, everywhere, borders, everywhere).total.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 5.0)
        optimizer.step()
        optimizer.zero_grad()

    return step


def step(rounds: int) -> Iterator[Row]:
    """A training step of the default network, 4 images of 640x640."""
    classic = with_torchvision(training_step(False, torch.float32))
    full = training_step(True, torch.float32)
    half = training_step(True, torch.bfloat16)
    for number in thread_counts():
        with threads(number):
            slow, fp32, bf16 = medians(classic, full, half, rounds=max(1, rounds // 2))
        # On one thread our convolutions alone, at the CPU's peak, take a third of the classic step.
        least = (3, 5) if number > 1 else (None, None)
        against = "torchvision's operator, NCHW, fp32"
        yield Row("training step, fp32", fp32, slow, number, least[0], against)
        yield Row("training step, bf16", bf16, slow, number, least[1], against)


def forward(rounds: int) -> Iterator[Row]:
    """A forward pass of TorchPredictor's network against plain eager execution."""
    image = torch.randn(1, 3, HEIGHT, WIDTH)
    for backbone in (DEFAULT, "resnet18"):
        with tempfile.TemporaryDirectory() as folder:
            model = build_model(ModelConfig(backbone=backbone)).eval()
            ours = TorchPredictor(
                _saved(model, Path(folder)), ModelConfig(backbone=backbone), torch.device("cpu")
            )

        @torch.inference_mode()
        def plain(model: DBNet = model) -> Tensor:
            return model(image)

        for number in thread_counts():
            with threads(number):
                slow, fast = medians(
                    with_torchvision(plain),
                    lambda ours=ours: ours(image.numpy()),
                    rounds=rounds,
                )
            what = f"forward {WIDTH}x{HEIGHT}, {backbone}"
            yield Row(what, fast, slow, number, 1.5, "plain eager, torchvision's operator")


def onnx(rounds: int) -> Iterator[Row]:
    """ONNX Runtime's fp32 engine of a plain network, as a share of the convolution peak."""
    import onnxruntime as ort

    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "engine.onnx"
        optimise(exported("resnet18", Path(folder)), file)
        model = build_model(ModelConfig(backbone="resnet18")).eval()
        operations = flops(copy.deepcopy(model))
        image = np.random.default_rng(0).standard_normal((1, 3, HEIGHT, WIDTH), np.float32)
        for number in thread_counts():
            options = ort.SessionOptions()
            options.intra_op_num_threads = number
            session = ort.InferenceSession(file, options, providers=["CPUExecutionProvider"])
            with threads(number):
                seconds, peak = medians(
                    lambda session=session: session.run(None, {"input": image}),
                    peak_convolution,
                    rounds=rounds,
                    rest=0.5,
                )
            share = operations / seconds / (PEAK_FLOPS / peak)
            note = f"{operations / 1e9 / seconds:.0f} of {PEAK_FLOPS / 1e9 / peak:.0f} GFLOP/s"
            ideal = operations / (PEAK_FLOPS / peak)
            yield Row(
                "ONNX Runtime fp32, resnet18", seconds, ideal, number, 0.85,
                "the measured convolution peak", f"{share:.0%} of the peak: {note}",
            )  # fmt: skip


PEAK_CHANNELS, PEAK_SIZE = 256, (92, 160)
PEAK_FLOPS = 2 * PEAK_CHANNELS**2 * 9 * PEAK_SIZE[0] * PEAK_SIZE[1]
_PEAK = torch.nn.Conv2d(PEAK_CHANNELS, PEAK_CHANNELS, 3, padding=1, bias=False).to(
    memory_format=torch.channels_last
)
_PEAK_INPUT = torch.randn(1, PEAK_CHANNELS, *PEAK_SIZE).to(memory_format=torch.channels_last)


@torch.inference_mode()
def peak_convolution() -> None:
    """A 3x3 convolution of 256 channels by oneDNN: what this CPU's units can do."""
    _PEAK(_PEAK_INPUT)


def flops(model: torch.nn.Module) -> int:
    """Floating-point operations of one forward pass at 736x1280."""
    with torch.inference_mode(), FlopCounterMode(display=False) as counter:
        model(torch.zeros(1, 3, HEIGHT, WIDTH))
    return int(counter.get_total_flops())


def exported(backbone: str, folder: Path, checkpoint: Path | None = None) -> Path:
    """The ONNX of a checkpoint, or of a new network, at 1280x736, by `ocdnet export`."""
    checkpoint = checkpoint or _saved(build_model(ModelConfig(backbone=backbone)), folder)
    file = folder / f"{backbone}.onnx"
    overrides = [
        f"results_dir={folder}",
        f"model.backbone={backbone}",
        f"export.checkpoint={checkpoint}",
        f"export.onnx_file={file}",
    ]
    export.run(spec.load("export", None, overrides))
    return file


def _saved(model: DBNet, folder: Path) -> Path:
    path = folder / "new.pth"
    torch.save({"state_dict": model.state_dict()}, path)
    return path

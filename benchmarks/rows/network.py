"""The network: a training step, a forward pass, the exported graph against what a CPU can do."""

from __future__ import annotations

import copy
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode
from torchvision.ops import deform_conv2d

from ocdnet.actions import export
from ocdnet.backends.onnx import optimise
from ocdnet.backends.open import open_predictor
from ocdnet.config import spec
from ocdnet.config.model import ModelConfig
from ocdnet.hardware import has_bf16
from ocdnet.heap import keep_freed_memory
from ocdnet.models import deform_conv
from ocdnet.models.cpu_forms import use_cpu_forms
from ocdnet.models.dbnet import DBNet
from ocdnet.models.factory import build_model
from ocdnet.models.losses import DBLoss
from timing import Row, apart, medians, thread_counts, threads

BATCH, SIDE = 4, 640
HEIGHT, WIDTH = 736, 1280
DEFAULT = "deformable_resnet18"
PRECISIONS = {"fp32": torch.float32, "bf16": torch.bfloat16}


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
        ours: as `ocdnet train` computes it on a CPU: channels last, layers in their CPU forms,
            memory kept.
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

    if ours:
        keep_freed_memory()

    def step() -> None:
        with torch.autocast("cpu", precision, enabled=precision != torch.float32):
            maps = model(images)
        loss(maps, kernels, everywhere, borders, everywhere).total.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 5.0)
        optimizer.step()
        optimizer.zero_grad()

    return step


def classic_step() -> Callable[[], None]:
    """The baseline's, with torchvision's operator."""
    return with_torchvision(training_step(False, torch.float32))


def step(rounds: int) -> Iterator[Row]:
    """A training step of the default network, 4 images of 640x640; each in a process of its own."""
    least = {"fp32": (4.0, 3.0), "bf16": (6.5, 5.0)}  # on one thread, on more
    if not has_bf16():
        del least["bf16"]
    for number in thread_counts():
        with ExitStack() as stack:
            classic = stack.enter_context(apart(number, classic_step))
            works = [
                stack.enter_context(apart(number, training_step, True, PRECISIONS[precision]))
                for precision in least
            ]
            # What is kept grows for some steps, until the heap has a place for everything.
            slow, *taken = medians(classic, *works, rounds=max(1, rounds // 2), warm_up=3)
        for (precision, limits), seconds in zip(least.items(), taken, strict=True):
            against = "torchvision's operator, NCHW, fp32"
            what, limit = f"training step, {precision}", limits[number > 1]
            yield Row(what, seconds, slow, number, limit, against)


def plain_forward(backbone: str) -> Callable[[], Tensor]:
    """A forward pass as eager execution has it."""
    model = build_model(ModelConfig(backbone=backbone)).eval()
    image = torch.randn(1, 3, HEIGHT, WIDTH)
    return with_torchvision(torch.inference_mode()(lambda: model(image)))


def our_forward(backbone: str) -> Callable[[], Any]:
    """A forward pass as `ocdnet evaluate` has it."""
    config = ModelConfig(backbone=backbone)
    with tempfile.TemporaryDirectory() as folder:
        predictor = open_predictor(_saved(build_model(config), Path(folder)), config)
    image = np.random.default_rng(0).standard_normal((1, 3, HEIGHT, WIDTH), np.float32)
    return lambda: predictor(image)


def forward(rounds: int) -> Iterator[Row]:
    """A forward pass of an evaluation's network against plain eager execution."""
    for backbone in (DEFAULT, "resnet18"):
        for number in thread_counts():
            with (
                apart(number, plain_forward, backbone) as plain,
                apart(number, our_forward, backbone) as ours,
            ):
                slow, fast = medians(plain, ours, rounds=rounds, warm_up=3)
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

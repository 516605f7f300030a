"""What only a GPU can judge; without one there are no rows.

The training step, each choice against its alternative and all against the classic formulation; the
real training's pace; inference of the network alone and from JPEG files to boxes. `profile` writes
where a step's time goes.
"""

from __future__ import annotations

import contextlib
import os
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest import mock

import torch
from torch.utils.flop_counter import FlopCounterMode

import scenes
from ocdnet.actions import inference, train
from ocdnet.config import spec
from ocdnet.config.model import ModelConfig
from ocdnet.data.preprocess import MEAN
from ocdnet.data.targets import text_and_background
from ocdnet.models import deform_conv, fpn
from ocdnet.models.factory import BACKBONES, build_model
from ocdnet.models.losses import DBLoss
from ocdnet.training import pace
from ocdnet.training.pace import Pace
from timing import Row, medians

BATCH, SIDE = 16, 640
HEIGHT, WIDTH = 736, 1280
DEFAULT = "deformable_resnet18"
DATA_WAIT = 0.02
IMAGES_A_SECOND = {DEFAULT: 400, "small": 1000}
"""From JPEG to boxes."""


@dataclass(frozen=True)
class Choice:
    """How a training step is done; the defaults are what the trainer does in bf16."""

    channels_last: bool = True
    precision: torch.dtype = torch.bfloat16
    fused: bool = True
    compiled: bool = False
    bytes_up: bool = True
    """Images go up as pinned uint8 and are normalised there; else as float32, not pinned."""
    counted: bool = True
    """The batch brings its numbers of pixels; else the processor waits for the GPU's."""
    torchvision: bool = False
    """The deformable convolutions are torchvision's operator."""
    searched: bool = False
    """cuDNN times its algorithms (train.cudnn.benchmark, not deterministic)."""
    products: int = 0
    """Transposed convolutions of at most so many output channels are matrix products."""
    expanded: bool = False
    """Nearest neighbours by expansion, not by F.interpolate."""


CLASSIC = Choice(
    channels_last=False, precision=torch.float32, fused=False, bytes_up=False, counted=False,
    torchvision=True,
)  # fmt: skip
"""The reference's formulation."""
ALTERNATIVES = {
    "contiguous instead of channels last": Choice(channels_last=False),
    "fp32 instead of bf16": Choice(precision=torch.float32),
    "fp16 instead of bf16": Choice(precision=torch.float16, fused=False),
    "an optimiser of one kernel a tensor": Choice(fused=False),
    "float32 images from the host": Choice(bytes_up=False),
    "pixels counted on the GPU": Choice(counted=False),
    "torchvision's deformable convolution": Choice(torchvision=True),
    "cuDNN's search (train.cudnn.benchmark)": Choice(searched=True),
    "products for the head's last layers": Choice(products=1),
    "products for all transposed convolutions": Choice(products=1000),
    "upsampling by expansion": Choice(expanded=True),
    "torch.compile (train.compile)": Choice(compiled=True),
}


@contextlib.contextmanager
def under(choice: Choice) -> Iterator[None]:
    """What a choice sets for the whole process."""
    cudnn, works = torch.backends.cudnn, deform_conv.triton_works
    before = cudnn.benchmark, cudnn.deterministic
    cudnn.benchmark, cudnn.deterministic = choice.searched, not choice.searched
    if choice.torchvision:
        deform_conv.triton_works = lambda: False
    doubling, upsample = torch.nn.ConvTranspose2d.forward, fpn._upsample

    def product(self: torch.nn.ConvTranspose2d, x: torch.Tensor) -> torch.Tensor:
        if self.out_channels > choice.products:
            return doubling(self, x)
        weight = self.weight.permute(2, 3, 1, 0).reshape(4 * self.out_channels, -1)
        y = torch.nn.functional.linear(x.permute(0, 2, 3, 1), weight, self.bias.repeat(4))
        b, h, w, _ = y.shape
        y = y.view(b, h, w, 2, 2, -1).transpose(2, 3).reshape(b, 2 * h, 2 * w, -1)
        return y.permute(0, 3, 1, 2)

    def expanded(x: torch.Tensor, factor: int) -> torch.Tensor:
        x = x.permute(0, 2, 3, 1)
        b, h, w, c = x.shape
        x = x[:, :, None, :, None].expand(b, h, factor, w, factor, c)
        return x.reshape(b, h * factor, w * factor, c).permute(0, 3, 1, 2)

    torch.nn.ConvTranspose2d.forward = product if choice.products else doubling
    fpn._upsample = expanded if choice.expanded else upsample
    try:
        yield
    finally:
        torch.nn.ConvTranspose2d.forward, fpn._upsample = doubling, upsample
        cudnn.benchmark, cudnn.deterministic = before
        deform_conv.triton_works = works


def training_step(choice: Choice, device: str, batch: int = BATCH, side: int = SIDE) -> Callable:
    """Upload, forward, loss, backward, clipping and Adam on one batch."""
    torch.manual_seed(0)
    model, loss = build_model(ModelConfig(backbone=DEFAULT)).train(), DBLoss()
    for name, module in model.named_modules():
        if name.endswith("conv2_offset"):
            torch.nn.init.normal_(module.weight, 0, 0.01)  # a trained one's: they are not zero
    layout = torch.channels_last if choice.channels_last else torch.contiguous_format
    model = model.to(device, memory_format=layout)
    if choice.compiled:
        model.compile()
    optimizer = torch.optim.Adam(model.parameters(), 1e-3, amsgrad=True, fused=choice.fused or None)
    scaler = torch.amp.GradScaler(device, enabled=choice.precision == torch.float16)
    mean = torch.tensor(MEAN, device=device).view(3, 1, 1)
    pictures = torch.randint(0, 256, (batch, side, side, 3), dtype=torch.uint8)
    normalised = (pictures.permute(0, 3, 1, 2) - mean.cpu()) / 255
    host = pictures if choice.bytes_up else normalised.contiguous()
    host = host.pin_memory() if device == "cuda" and choice.bytes_up else host
    kernels = (torch.rand(batch, side, side, device=device) > 0.85).to(torch.uint8)
    everywhere, borders = torch.ones_like(kernels), torch.rand(batch, side, side, device=device)
    pixels = text_and_background(kernels, everywhere) if choice.counted else None

    def step() -> None:
        with under(choice):
            images = host.to(device, non_blocking=True)
            if choice.bytes_up:
                images = (images.permute(0, 3, 1, 2) - mean) / 255
            images = images.contiguous(memory_format=layout)
            half = choice.precision != torch.float32
            with torch.autocast(device, choice.precision if half else None, enabled=half):
                maps = model(images)
            total = loss(maps, kernels, everywhere, borders, everywhere, pixels).total
            scaler.scale(total).backward()
            scaler.unscale_(optimizer)
            torch.nn.utils.clip_grad_norm_(model.parameters(), 5.0)
            scaler.step(optimizer)
            scaler.update()
            optimizer.zero_grad()

    return step


def of_steps(step: Callable, number: int = 5) -> Callable[[], None]:
    """Several steps in a row, until the GPU has done them."""

    def run() -> None:
        for _ in range(number):
            step()
        torch.cuda.synchronize()

    return run


def operations(backbone: str = DEFAULT) -> int:
    """Floating-point operations of convolutions and products in one image's training step."""
    model = build_model(ModelConfig(backbone=backbone)).train()
    with FlopCounterMode(display=False) as counter:
        model(torch.zeros(2, 3, SIDE // 2, SIDE // 2)).sum().backward()
    return 2 * int(counter.get_total_flops())  # a quarter of the pixels, and two images


def ceilings() -> tuple[float, float]:
    """This card's bf16 matrix product in FLOP/s, and its memory in bytes a second."""
    a, b = (torch.randn(8192, 8192, device="cuda", dtype=torch.bfloat16) for _ in range(2))
    source = torch.empty(1 << 30, dtype=torch.uint8, device="cuda").random_()
    target = torch.empty_like(source)

    def of(work: Callable, times: int = 10) -> float:
        (seconds,) = medians(of_steps(work, times), rounds=3)
        return seconds / times

    return 2 * 8192**3 / of(lambda: a @ b), 2 * source.numel() / of(lambda: target.copy_(source))


def step(rounds: int) -> Iterator[Row]:
    """The trainer's step, 16 and 32 images of 640x640."""
    if not torch.cuda.is_available():
        return
    print(torch.cuda.get_device_name(), torch.__version__, flush=True)
    peak, bandwidth = ceilings()
    flops = operations()
    yield Row("GPU: bf16 matrix product 8192^3", peak / 1e12, None, 1, None, unit="TFLOP/s")
    yield Row("GPU: copy, read and written", bandwidth / 1e12, None, 1, None, unit="TB/s")
    for batch in (BATCH, 2 * BATCH):
        torch.cuda.reset_peak_memory_stats()
        works = [of_steps(training_step(one, "cuda", batch)) for one in (Choice(), CLASSIC)]
        memory = []
        for work in works:
            torch.cuda.reset_peak_memory_stats()
            work()
            memory.append(torch.cuda.max_memory_allocated() / 1e9)
        ours, theirs = (seconds / 5 for seconds in medians(*works, rounds=max(2, rounds // 2)))
        share = flops * batch / ours / peak
        note = (
            f"{batch / ours:.0f} against {batch / theirs:.0f} images a second; {share:.0%} of the "
            f"card's bf16; {memory[0]:.1f} GB, {memory[1]:.1f} GB with the other's beside"
        )
        what = f"GPU step in bf16, {batch} images of {SIDE}x{SIDE}"
        yield Row(what, ours, theirs, 1, 3, "the classic formulation in fp32", note)
        del works
        torch.cuda.empty_cache()


def choices(rounds: int) -> Iterator[Row]:
    """The trainer's step against one that differs in a single choice, 16 images of 640x640."""
    if not torch.cuda.is_available():
        return
    ours = of_steps(training_step(Choice(), "cuda"))
    for what, other in ALTERNATIVES.items():
        if other.compiled and os.environ.get("GPU_NO_COMPILE"):
            continue
        start = time.perf_counter()
        works = ours, of_steps(training_step(other, "cuda"))
        here, there = (s / 5 for s in medians(*works, rounds=rounds))
        pace = f"{BATCH / here:.0f} images a second, with the other {BATCH / there:.0f}"
        note = f"{pace} ({time.perf_counter() - start:.0f} s)"
        yield Row(f"GPU step, against {what}", here, there, 1, None, note=note)


def training(rounds: int) -> Iterator[Row]:
    """`ocdnet train` itself: images a second, and the share of the time waiting for data."""
    if not torch.cuda.is_available():
        return
    made: list[Pace] = []

    class Kept(Pace):
        """Within reach after the run."""

        def __init__(self) -> None:
            super().__init__()
            made.append(self)

    images = 960 * max(2, rounds // 2)
    with tempfile.TemporaryDirectory() as name, mock.patch.object(pace, "Pace", Kept):
        data = many(Path(name), images)
        settings = [
            f"results_dir={name}",
            f"dataset.train_dataset.data_path=[{data}]",
            f"dataset.train_dataset.loader.batch_size={BATCH}",
            "train.num_epochs=2",  # the first warms up
            "train.lr_scheduler.args.warmup_epoch=0",
            "train.precision=bf16",
        ]
        train.run(spec.load("train", None, settings))
    (measured,) = made
    note = f"{images} images of 640x640 an epoch, batch {BATCH}, {os.cpu_count()} CPUs"
    rate = "GPU: ocdnet train, images a second"
    yield Row(rate, measured.images_per_second, None, 1, None, note=note, unit="")
    what = "GPU: ocdnet train, share waiting for data"
    yield Row(what, measured.waiting, None, 1, DATA_WAIT, unit="share")


def many(folder: Path, number: int) -> Path:
    """A data path of so many pictures: those that are here, again and again."""
    few = scenes.folder_of(min(number, 300), folder / "few", "train")
    (folder / "many" / "img").mkdir(parents=True)
    (folder / "many" / "gt").mkdir()
    pictures = sorted((few / "img").iterdir())
    for count in range(number):
        picture = pictures[count % len(pictures)]
        label = few / "gt" / f"gt_{picture.stem}.txt"
        (folder / "many" / "img" / f"{count}{picture.suffix}").symlink_to(picture.resolve())
        (folder / "many" / "gt" / f"gt_{count}.txt").symlink_to(label.resolve())
    return folder / "many"


def forward(rounds: int) -> Iterator[Row]:
    """The network alone, 8 images of 1280x736, in the ways a GPU offers."""
    if not torch.cuda.is_available():
        return
    batch = 8
    torch.manual_seed(0)
    from ocdnet.models.folding import fold_batch_norms

    model = build_model(ModelConfig(backbone=DEFAULT)).eval()
    fold_batch_norms(model)
    model = model.to("cuda", memory_format=torch.channels_last)
    image = torch.randn(batch, 3, HEIGHT, WIDTH, device="cuda").to(
        memory_format=torch.channels_last
    )

    def run(precision: torch.dtype) -> Any:
        half = precision != torch.float32
        with torch.inference_mode(), torch.autocast("cuda", precision, enabled=half):
            return model(image)

    def classic() -> None:
        with under(CLASSIC):
            run(torch.float32)

    def captured(precision: torch.dtype) -> Callable:
        for _ in range(3):
            run(precision)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            run(precision)
        return graph.replay

    ways: dict[str, Callable] = {
        "fp32": lambda: run(torch.float32),
        "bf16": lambda: run(torch.bfloat16),
        "fp16": lambda: run(torch.float16),
        "bf16, CUDA graph": captured(torch.bfloat16),
    }
    for what, work in ways.items():
        torch.cuda.reset_peak_memory_stats()
        ours, theirs = (
            s / 5 for s in medians(of_steps(work), of_steps(classic), rounds=max(2, rounds // 2))
        )
        note = f"{batch / ours:.0f} images a second"
        yield Row(f"GPU forward 1280x736, {what}", ours, theirs, 1, None,
                  "fp32 with torchvision's operator", note)  # fmt: skip


def pictures(rounds: int) -> Iterator[Row]:
    """`ocdnet inference` on a folder of JPEG files: images a second, from file to boxes."""
    if not torch.cuda.is_available():
        return
    number = 100 * rounds
    for backbone in (DEFAULT, "small"):
        if backbone not in BACKBONES:
            print(f"{backbone} is not built yet: no row", flush=True)
            continue
        with tempfile.TemporaryDirectory() as name:
            data = many(Path(name), number)
            checkpoint = Path(name) / "network.pth"
            torch.save({"state_dict": build_model(ModelConfig(backbone=backbone)).state_dict()},
                       checkpoint)  # fmt: skip
            settings = [
                f"results_dir={name}", f"model.backbone={backbone}",
                f"inference.checkpoint={checkpoint}", f"inference.input_folder={data}/img",
                "inference.batch_size=8", f"inference.width={WIDTH}", f"inference.height={HEIGHT}",
            ]  # fmt: skip
            for _ in range(2):  # the first compiles kernels
                start = time.perf_counter()
                inference.run(spec.load("inference", None, settings))
                seconds = time.perf_counter() - start
        rate = number / seconds
        # As a time, so that "at most" is the limit.
        yield Row(f"GPU: JPEG to boxes, {backbone}", seconds / number, None, os.cpu_count() or 1,
                  1 / IMAGES_A_SECOND[backbone], note=f"{rate:.0f} images a second")  # fmt: skip


def profile(folder: Path) -> None:
    """Write where a step's time goes: kernels by their time, and how busy the GPU was.

    Args:
        folder: gets a file for ours, for ours with cuDNN's search, and for the classic one.
    """
    from torch.profiler import ProfilerActivity
    from torch.profiler import profile as recording

    for name, choice in (
        ("ours", Choice()),
        ("searched", Choice(searched=True)),
        ("classic", CLASSIC),
    ):
        work = of_steps(training_step(choice, "cuda"), 3)
        work()
        start = time.perf_counter()
        work()
        plain = time.perf_counter() - start
        with recording(activities=[ProfilerActivity.CPU, ProfilerActivity.CUDA]) as recorded:
            work()
        events = recorded.key_averages()
        kernels = [e for e in events if e.device_type == torch.autograd.DeviceType.CUDA]
        kernels.sort(key=lambda e: -e.self_device_time_total)
        busy = sum(e.self_device_time_total for e in kernels) / 1e6
        times = f"3 steps {plain * 1e3:.1f} ms, kernels {busy * 1e3:.1f} ms ({busy / plain:.0%})"
        lines = [f"{name}: {times}"]
        lines += [
            f"{e.self_device_time_total / 3e3:8.3f} ms a step {e.count // 3:5d} x  {e.key[:150]}"
            for e in kernels[:70]
        ]
        lines += ["", "The processor's side:"]
        lines += [
            f"{e.self_cpu_time_total / 3e3:8.3f} ms a step {e.count // 3:5d} x  {e.key[:100]}"
            for e in sorted(events, key=lambda e: -e.self_cpu_time_total)[:50]
        ]
        (folder / f"profile_{name}.txt").write_text("\n".join(lines) + "\n")
        print("\n".join(lines[:18]), flush=True)

"""mmocr's DBNet in plain torch functions, from a state dict with its names: nothing of ours.

The shape of the network, the names and the normalisation are those of mmocr's configs/textdet/dbnet
(branch main): ResNet of torchvision's layout, FPNC without batch norms, levels concatenated from
stride 4 to 32, DBHead; DCNv2 with 18 offsets and nine mask logits from one convolution.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor
from torchvision.ops import deform_conv2d

MEAN, STD = (123.675, 116.28, 103.53), (58.395, 57.12, 57.375)  # RGB
DEPTHS = {"resnet18": (2, 2, 2, 2), "resnet50": (3, 4, 6, 3), "deformable_resnet50": (3, 4, 6, 3)}

State = dict[str, Tensor]


def random_state(backbone: str, seed: int = 0) -> State:
    """Weights and statistics that no training gave, all of them different."""
    made = _Made(seed)
    bottleneck = backbone != "resnet18"
    made.conv("backbone.conv1", 64, 3, 7)
    made.norm("backbone.bn1", 64)
    channels, outputs = 64, []
    for stage, depth in enumerate(DEPTHS[backbone]):
        width = 64 << stage
        out = width * (4 if bottleneck else 1)
        for block in range(depth):
            name = f"backbone.layer{stage + 1}.{block}"
            sides = (1, 3, 1) if bottleneck else (3, 3)
            widths = (width, width, out) if bottleneck else (width, width)
            given = channels
            for i, (side, made_channels) in enumerate(zip(sides, widths, strict=True), 1):
                made.conv(f"{name}.conv{i}", made_channels, given, side)
                made.norm(f"{name}.bn{i}", made_channels, 0.5)
                given = made_channels
            if backbone.startswith("deformable") and stage:
                made.conv(f"{name}.conv2.conv_offset", 27, width, 3, bias=0.7, gain=0.3)
            if block == 0 and (stage or bottleneck):
                made.conv(f"{name}.downsample.0", out, channels, 1)
                made.norm(f"{name}.downsample.1", out, 0.5)
            channels = out
        outputs.append(channels)
    for level, count in enumerate(outputs):
        made.conv(f"neck.lateral_convs.{level}.conv", 256, count, 1)
        made.conv(f"neck.smooth_convs.{level}.conv", 64, 256, 3)
    for branch in ("binarize", "threshold"):
        name = f"det_head.{branch}"
        made.conv(f"{name}.0", 64, 256, 3)
        made.norm(f"{name}.1", 64)
        made.conv(f"{name}.3", 64, 64, 2, bias=0.1)  # transposed: in, out
        made.norm(f"{name}.4", 64)
        made.conv(f"{name}.6", 64, 1, 2, bias=0.1)
    return made.state


class _Made:
    def __init__(self, seed: int) -> None:
        self.state: State = {}
        self.random = torch.Generator().manual_seed(seed)

    def conv(self, name, out, given, side, *, bias=0.0, gain=1.0):
        weight = torch.randn(out, given, side, side, generator=self.random)
        self.state[f"{name}.weight"] = gain * weight / (given * side * side) ** 0.5
        if bias:
            size = given if ".6" in name[-2:] else out
            self.state[f"{name}.bias"] = bias * torch.randn(size, generator=self.random)

    def norm(self, name, size, scale=1.0):
        def numbers():
            return torch.rand(size, generator=self.random)

        self.state[f"{name}.weight"] = scale * (0.5 + numbers())
        self.state[f"{name}.bias"] = numbers() - 0.5
        self.state[f"{name}.running_mean"] = numbers() - 0.5
        self.state[f"{name}.running_var"] = 0.5 + numbers()
        self.state[f"{name}.num_batches_tracked"] = torch.tensor(7)


def probability(state: State, pictures: Tensor) -> Tensor:
    """RGB pixels 0..255, [B, 3, H, W] -> probability [B, H, W]; in the state's precision."""
    x = F.max_pool2d(F.relu(stem(state, pictures)), 3, 2, 1)
    maps = []
    for stage in range(1, 5):
        block = 0
        while f"backbone.layer{stage}.{block}.conv1.weight" in state:
            stride = 2 if stage > 1 and block == 0 else 1
            x = _block(state, f"backbone.layer{stage}.{block}", x, stride)
            block += 1
        maps.append(x)
    return _branch(state, "det_head.binarize", _neck(state, maps))[:, 0].sigmoid()


def stem(state: State, pictures: Tensor) -> Tensor:
    """The first convolution and its batch norm, of RGB pixels 0..255."""
    dtype = state["backbone.conv1.weight"].dtype
    mean, std = (torch.tensor(v, dtype=dtype).view(3, 1, 1) for v in (MEAN, STD))
    x = (pictures.to(dtype) - mean) / std
    return _norm(state, "backbone.bn1", _conv(state, "backbone.conv1", x, 2, 3))


def _block(state: State, name: str, x: Tensor, stride: int) -> Tensor:
    bottleneck = f"{name}.conv3.weight" in state
    y = _conv(state, f"{name}.conv1", x, *((1, 0) if bottleneck else (stride, 1)))
    y = F.relu(_norm(state, f"{name}.bn1", y))
    y = _conv2(state, f"{name}.conv2", y, stride if bottleneck else 1)
    y = _norm(state, f"{name}.bn2", y)
    if bottleneck:
        y = _norm(state, f"{name}.bn3", _conv(state, f"{name}.conv3", F.relu(y), 1, 0))
    if f"{name}.downsample.0.weight" in state:
        x = _conv(state, f"{name}.downsample.0", x, stride, 0)
        x = _norm(state, f"{name}.downsample.1", x)
    return F.relu(x + y)


def _conv2(state: State, name: str, x: Tensor, stride: int) -> Tensor:
    if f"{name}.conv_offset.weight" not in state:
        return _conv(state, name, x, stride, 1)
    first, second, mask = _conv(state, f"{name}.conv_offset", x, stride, 1).chunk(3, dim=1)
    offset = torch.cat((first, second), dim=1)
    weight = state[f"{name}.weight"]
    return deform_conv2d(x, offset, weight, None, stride, 1, mask=mask.sigmoid())


def _neck(state: State, maps: list[Tensor]) -> Tensor:
    levels = [_conv(state, f"neck.lateral_convs.{i}.conv", x, 1, 0) for i, x in enumerate(maps)]
    for i in (3, 2, 1):
        levels[i - 1] = levels[i - 1] + F.interpolate(levels[i], scale_factor=2.0)
    smooth = [_conv(state, f"neck.smooth_convs.{i}.conv", x, 1, 1) for i, x in enumerate(levels)]
    return torch.cat([F.interpolate(x, size=smooth[0].shape[2:]) for x in smooth], dim=1)


def _branch(state: State, name: str, x: Tensor) -> Tensor:
    x = F.relu(_norm(state, f"{name}.1", _conv(state, f"{name}.0", x, 1, 1)))
    x = F.conv_transpose2d(x, state[f"{name}.3.weight"], state[f"{name}.3.bias"], 2)
    x = F.relu(_norm(state, f"{name}.4", x))
    return F.conv_transpose2d(x, state[f"{name}.6.weight"], state[f"{name}.6.bias"], 2)


def _conv(state: State, name: str, x: Tensor, stride: int, padding: int) -> Tensor:
    weight, bias = state[f"{name}.weight"], state.get(f"{name}.bias")
    return F.conv2d(x, weight, bias, stride, padding)


def _norm(state: State, name: str, x: Tensor) -> Tensor:
    part = {key: state[f"{name}.{key}"] for key in ("running_mean", "running_var")}
    return F.batch_norm(x, **part, weight=state[f"{name}.weight"], bias=state[f"{name}.bias"])

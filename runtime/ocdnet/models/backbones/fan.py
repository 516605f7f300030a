"""FAN, the fully attentional network (arXiv 2204.12451), behind two stages of ConvNeXt.

A block attends twice: among the tokens (pixels of a map), then among their channels. Module names
are TAO's, so its checkpoints load by key.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ocdnet.config.model import ModelConfig
from ocdnet.models.backbones.base import Backbone
from ocdnet.models.backbones.convnext import EPS, ConvNeXtStem

CONVNEXT_CHANNELS = (128, 256)
CONVNEXT_DEPTHS = (3, 3)
MLP_RATIO = 4


class FourierPosition(nn.Module):
    """Sines and cosines of a pixel's place in the map, projected to the tokens' channels.

    As in XCiT (arXiv 2106.09681): 2 pi (i + 1) / side for row and column i, divided
    by 16 wavelengths between 1 and 10,000.
    """

    def __init__(self, dim: int, width: int = 32) -> None:
        super().__init__()
        self.width = width
        self.token_projection = nn.Conv2d(2 * width, dim, 1)

    def forward(self, height: int, width: int) -> Tensor:
        """float[1, dim, H, W]."""
        rows, columns = self._waves(height), self._waves(width)
        waves = torch.cat(
            (
                rows[:, :, None].expand(-1, -1, width),
                columns[:, None, :].expand(-1, height, -1),
            )
        )
        return self.token_projection(waves[None].to(self.token_projection.weight.dtype))

    def _waves(self, side: int) -> Tensor:
        """float32[width, side]: sine and cosine in turn."""
        device = self.token_projection.weight.device
        place = torch.arange(1, side + 1, device=device, dtype=torch.float32)
        place = place * (2 * math.pi / (side + EPS))
        octave = torch.arange(self.width // 2, device=device, dtype=torch.float32)
        angle = place / 10_000 ** (2 * octave / self.width)[:, None]
        return torch.stack((angle.sin(), angle.cos()), 1).flatten(0, 1)


class TokenAttention(nn.Module):
    """Multi-head self-attention among the tokens.

    Args:
        dim: channels of a token.
        heads: parts of the channels that attend apart.
        fused: keys and values from one projection instead of two; the numbers are the same.
    """

    def __init__(self, dim: int, heads: int, fused: bool) -> None:
        super().__init__()
        self.heads, self.fused = heads, fused
        self.q = nn.Linear(dim, dim)
        if fused:
            self.kv = nn.Linear(dim, 2 * dim)
        else:
            self.k = nn.Linear(dim, dim)
            self.v = nn.Linear(dim, dim)
        self.proj = nn.Linear(dim, dim)

    def split(self) -> None:
        """Give keys and values a projection each, which compute the same; see `join`."""
        parts = zip(self.kv.weight.chunk(2), self.kv.bias.chunk(2), strict=True)
        self.k, self.v = (_linear(weight, bias) for weight, bias in parts)
        del self.kv
        self.fused = False

    def join(self) -> None:
        """The inverse of `split`."""
        both = (self.k, self.v)
        self.kv = _linear(torch.cat([p.weight for p in both]), torch.cat([p.bias for p in both]))
        del self.k, self.v
        self.fused = True

    def forward(self, x: Tensor) -> Tensor:
        """float[B, N, dim] -> the same shape."""
        key, value = self.kv(x).chunk(2, -1) if self.fused else (self.k(x), self.v(x))
        query, key, value = (_split(part, self.heads) for part in (self.q(x), key, value))
        return self.proj(_joined(F.scaled_dot_product_attention(query, key, value)))


class LocalPatchInteraction(nn.Module):
    """Two 3x3 depthwise convolutions that mix neighbouring tokens, as in XCiT."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, channels, 3, padding=1, groups=channels)
        self.bn = nn.BatchNorm2d(channels)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1, groups=channels)

    def forward(self, x: Tensor) -> Tensor:
        """float[B, C, H, W] -> the same shape."""
        return self.conv2(self.bn(F.gelu(self.conv1(x))))


class SpatialMlp(nn.Module):
    """Two layers at every token, with neighbouring tokens mixed in between them."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        hidden = MLP_RATIO * dim
        self.gamma = nn.Parameter(torch.ones(hidden))
        self.fc1 = nn.Linear(dim, hidden)
        self.dwconv = LocalPatchInteraction(hidden)
        self.fc2 = nn.Linear(hidden, dim)

    def forward(self, x: Tensor, height: int, width: int) -> Tensor:
        """float[B, H * W, dim] -> the same shape."""
        x = self.fc1(x)
        near = self.dwconv(_as_map(x, height, width))
        return self.fc2(x + self.gamma * _as_tokens(near))


class ChannelAttention(nn.Module):
    """Weights every channel by its likeness to the mean of its head's channels.

    The FAN paper's efficient channel self-attention: linear in the number of channels.
    """

    def __init__(self, dim: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.temperature = nn.Parameter(torch.ones(heads, 1, 1))
        self.mlp_v = SpatialMlp(dim)
        self.norm_v = nn.LayerNorm(dim)
        self.q = nn.Linear(dim, dim)

    def forward(self, x: Tensor, height: int, width: int) -> Tensor:
        """float[B, H * W, dim] -> the same shape."""
        query = _split(self.q(x), self.heads).softmax(-2)
        key = _split(x, self.heads).softmax(-2).mean(-1, keepdim=True)
        share = (query.transpose(-1, -2) @ key).sigmoid() * self.temperature
        value = _split(self.norm_v(self.mlp_v(x, height, width)), self.heads)
        return _joined(value * share.transpose(-1, -2))


class FANBlock(nn.Module):
    """Attention among tokens, then among channels, each beside a shortcut."""

    def __init__(self, dim: int, heads: int, fused: bool) -> None:
        super().__init__()
        self.gamma1 = nn.Parameter(torch.ones(dim))
        self.gamma2 = nn.Parameter(torch.ones(dim))
        self.norm1 = nn.LayerNorm(dim, eps=EPS)
        self.attn = TokenAttention(dim, heads, fused)
        self.norm2 = nn.LayerNorm(dim, eps=EPS)
        self.mlp = ChannelAttention(dim, heads)

    def forward(self, x: Tensor, height: int, width: int) -> Tensor:
        """float[B, H * W, dim] -> the same shape."""
        x = x + self.gamma1 * self.attn(self.norm1(x))
        return x + self.gamma2 * self.mlp(self.norm2(x), height, width)


class ClassAttention(nn.Module):
    """Weights of a class token's attention: in TAO's checkpoints, but of no use to a detector."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.q = nn.Linear(dim, dim)
        self.k = nn.Linear(dim, dim)
        self.v = nn.Linear(dim, dim)
        self.proj = nn.Linear(dim, dim)


class ClassMlp(nn.Module):
    """Weights of a class token's MLP: in TAO's checkpoints, but of no use to a detector."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.fc1 = nn.Linear(dim, MLP_RATIO * dim)
        self.fc2 = nn.Linear(MLP_RATIO * dim, dim)


class ClassAttentionBlock(nn.Module):
    """XCiT's class attention block, as far as it changes the tokens of the image.

    These pass two layer norms alone: the class token reads them, they never read it. The block's
    other weights are in TAO's checkpoints, so they are kept; frozen, as no gradient reaches them.
    """

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.gamma1 = nn.Parameter(torch.ones(dim))
        self.gamma2 = nn.Parameter(torch.ones(dim), requires_grad=False)
        self.norm1 = nn.LayerNorm(dim, eps=EPS)
        self.attn = ClassAttention(dim).requires_grad_(False)
        self.norm2 = nn.LayerNorm(dim, eps=EPS)
        self.mlp = ClassMlp(dim).requires_grad_(False)

    def forward(self, x: Tensor) -> Tensor:
        """float[B, N, dim] -> the same shape."""
        return 2 * self.norm2(x + self.gamma1 * self.norm1(x))


class PatchEmbed(nn.Module):
    """The convolutional stages, and their last map's 2x2 patches as tokens."""

    def __init__(self, dim: int, patch: int) -> None:
        super().__init__()
        self.backbone = ConvNeXtStem(patch, CONVNEXT_CHANNELS, CONVNEXT_DEPTHS)
        self.proj = nn.Conv2d(CONVNEXT_CHANNELS[-1], dim, 2, stride=2)


class FAN(Backbone):
    """Two maps of ConvNeXt at strides 4 and 8, two of attention at stride 16.

    Args:
        dim: channels of a token.
        depth: attention blocks.
        heads: attention heads.
        enlarge: twice the resolution in every map: strides 2, 4, 8 and 8.
        fused: keys and values from one projection.
    """

    def __init__(self, dim: int, depth: int, heads: int, *, enlarge: bool, fused: bool) -> None:
        super().__init__()
        self.out_channels = (*CONVNEXT_CHANNELS, dim, dim)
        self.strides = (2, 4, 8, 8) if enlarge else (4, 8, 16, 16)
        self.cls_token = nn.Parameter(torch.zeros(1, 1, dim), requires_grad=False)
        self.patch_embed = PatchEmbed(dim, self.strides[0])
        self.pos_embed = FourierPosition(dim)
        self.blocks = nn.ModuleList(FANBlock(dim, heads, fused) for _ in range(depth))
        self.cls_attn_blocks = nn.ModuleList(ClassAttentionBlock(dim) for _ in range(2))
        self.apply(_initialise)

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        """float[B, 3, H, W] -> four maps float[B, out_channels[i], H, W over strides[i]]."""
        features = []
        x = self.patch_embed.backbone.stem(x)
        for stage in self.patch_embed.backbone.stages:
            x = stage.downsample(x)
            for block in stage.blocks:
                x = self.run(block, x)
            features.append(x)
        x = self.patch_embed.proj(x)
        height, width = x.shape[2:]
        tokens = _as_tokens(x + self.pos_embed(height, width))
        for block in self.blocks:
            tokens = self.run(block, tokens, height, width)
        features.append(_as_map(tokens, height, width))
        for block in self.cls_attn_blocks:
            tokens = block(tokens)
        features.append(_as_map(tokens, height, width))
        return tuple(features)


def fan_tiny_8_p4_hybrid(config: ModelConfig) -> FAN:
    """FAN-T-Hybrid with eight blocks (7.3 M parameters)."""
    enlarge, fused = config.enlarge_feature_map_size, config.fuse_qkv_proj
    return FAN(192, 8, 8, enlarge=enlarge, fused=fused)


def _initialise(module: nn.Module) -> None:
    """Linear layers start from a narrow normal distribution, convolutions as in PyTorch."""
    if isinstance(module, nn.Linear):
        nn.init.trunc_normal_(module.weight, std=0.02)
        nn.init.zeros_(module.bias)


def _linear(weight: Tensor, bias: Tensor) -> nn.Linear:
    layer = nn.Linear(weight.shape[1], weight.shape[0])
    layer.weight, layer.bias = (nn.Parameter(x.detach().clone()) for x in (weight, bias))
    return layer


def _split(x: Tensor, heads: int) -> Tensor:
    """float[B, N, C] -> float[B, heads, N, C / heads]."""
    return x.unflatten(-1, (heads, -1)).transpose(1, 2)


def _joined(x: Tensor) -> Tensor:
    """float[B, heads, N, c] -> float[B, N, heads * c]."""
    return x.transpose(1, 2).flatten(-2)


def _as_tokens(x: Tensor) -> Tensor:
    """float[B, C, H, W] -> float[B, H * W, C]."""
    return x.flatten(2).transpose(1, 2)


def _as_map(x: Tensor, height: int, width: int) -> Tensor:
    """float[B, H * W, C] -> float[B, C, H, W]."""
    return x.transpose(1, 2).unflatten(-1, (height, width))

"""Section `model`: the network."""

from collections.abc import Iterator
from typing import Annotated, Literal

from pydantic import Field
from pydantic.dataclasses import dataclass

from ocdnet.config.base import STRICT, Positive, depends_on, extra, popular
from ocdnet.config.rules import Is, Needed, Never
from ocdnet.presets import TAO_CHANNELS
from ocdnet.spec_keys import LOAD_PRUNED, PRUNED_GRAPH


@dataclass(config=STRICT, kw_only=True)
class ModelConfig:
    """The network: backbone, neck and head."""

    preset: Annotated[Literal["", "tiny", "small", "base"], popular, extra] = ""
    """A named network for its speed on a CPU: fills backbone, inner_channels and neck_block."""

    backbone: Annotated[
        Literal[
            "deformable_resnet18",
            "deformable_resnet50",
            "fan_tiny_8_p4_hybrid",
            "resnet18",
            "resnet34",
            "resnet50",
            "resnet101",
            "resnet152",
            "mobilenet_v2",
            "mobilenet_v3_large",
        ],
        popular,
    ] = "deformable_resnet18"
    """Feature extractor; plain resnets and mobilenets take torchvision's ImageNet weights."""

    neck: Literal["FPN", "FANNeck"] = "FPN"
    """Merges the backbone's maps: FANNeck after FAN, else FPN, whatever is written."""

    head: Literal["DBHead"] = "DBHead"
    """Predicts probability and threshold maps."""

    in_channels: Annotated[int, Field(ge=3, le=3)] = 3
    """Channels of the input image."""

    out_channels: Annotated[int, Field(ge=2, le=2)] = 2
    """Maps the head predicts."""

    inner_channels: Annotated[int, Field(ge=32, le=TAO_CHANNELS, multiple_of=16)] = TAO_CHANNELS
    """Channels inside the FPN; the head has a quarter of them."""

    neck_block: Annotated[Literal["conv", "separable"], extra] = "conv"
    """The FPN's 3x3 convolutions: plain, or depthwise and 1x1, which is faster on a CPU."""

    k: Positive = 50
    """Steepness of the differentiable binarization."""

    pretrained: bool = False
    """TAO's unused switch; see pretrained_model_path."""

    pretrained_model_path: str = ""
    """Weights to start from: of ours, TAO, DB, mmocr or torchvision; a file, or a name."""

    load_pruned_graph: bool = False
    """Build the pruned network stored at pruned_graph_path."""

    pruned_graph_path: Annotated[str, depends_on(LOAD_PRUNED)] = ""
    """Pruned model that prune wrote."""

    enlarge_feature_map_size: bool = False
    """Twice the resolution in every feature map; FAN backbones only."""

    activation_checkpoint: bool = False
    """Recompute activations in the backward pass: less memory, more time, the same numbers."""

    fuse_qkv_proj: bool = True
    """One projection for query, key and value (FAN backbones); pruning needs false."""

    quant: bool = False
    """TAO's quantization-aware training."""

    def notices(self) -> Iterator[str]:
        """What has no effect with this backbone."""
        other = {"inner_channels": TAO_CHANNELS, "neck_block": "conv"}
        for name, usual in other.items():
            if self.backbone.startswith("fan_") and getattr(self, name) != usual:
                yield f"'model.{name}' is ignored: it is the FPN's, and FAN backbones have FANNeck"


RULES = (
    Needed(
        PRUNED_GRAPH,
        LOAD_PRUNED,
        "/path/to/pruned_0.1.pth",
        when=Is(LOAD_PRUNED, True),
    ),
    Never(
        "model.quant",
        True,
        "unsupported-value",
        "asks for quantization-aware training, which is not supported",
        "false",
    ),
    Never(
        "model.enlarge_feature_map_size",
        True,
        "conflict",
        "is for FAN backbones",
        "false, or model.backbone=fan_tiny_8_p4_hybrid",
        unless=Is("model.backbone", "fan_tiny_8_p4_hybrid"),
    ),
)

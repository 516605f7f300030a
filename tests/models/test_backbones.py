"""The contract of every backbone, whatever its family: a new one passes it by being in the table.

Parameters and state-dict entries were counted on the reference; those of the MobileNets are
torchvision's published counts less its classifier, plus neck and head.
"""

from __future__ import annotations

import io
from typing import get_args

import pytest
import torch
import torchvision.models

import support
from golden.fill import seeded_image, seeded_state
from ocdnet.config.model import ModelConfig
from ocdnet.models.factory import BACKBONES, build_model

# Spec -> parameters and state-dict entries of the whole network.
COUNTS = {
    "deformable_resnet18": (12_776_548, 170),
    "deformable_resnet50": (26_280_993, 382),
    "fan_tiny_8_p4_hybrid": (13_180_162, 395),
    "fan_tiny_8_p4_hybrid enlarge_feature_map_size": (12_879_490, 381),
    "fan_tiny_8_p4_hybrid unfused": (13_180_162, 411),
    "resnet18": (12_340_930, 158),
    "resnet34": (22_449_090, 254),
    "resnet50": (25_409_730, 356),
    "resnet101": (44_401_858, 662),
    "resnet152": (60_045_506, 968),
    "mobilenet_v2": (3_504_872 - 1_281_000 + 956_416 + 328_834, 350),
    "mobilenet_v3_large": (5_483_032 - 2_511_080 + 880_640 + 328_834, 346),
}
# An image has no class: what only a class token reads never reaches a map.
CLASS_TOKEN = ("cls_token", ".gamma2", ".attn.", ".mlp.")
# Built of the same blocks as the others.
DEEP = {"resnet34", "resnet50", "resnet101", "resnet152"}
# The other exports take minutes together.
QUICK_EXPORT = {"resnet18"}
FAMILIES = ("deformable_resnet18", "fan_tiny_8_p4_hybrid", "mobilenet_v2")


def config_of(case, **more):
    backbone, _, option = case.partition(" ")
    options = {
        "": {},
        "unfused": {"fuse_qkv_proj": False},
        "enlarge_feature_map_size": {"enlarge_feature_map_size": True},
    }
    return ModelConfig(backbone=backbone, **options[option], **more)


def network_of(case, **more):
    """A network with weights that let every layer speak."""
    network = build_model(config_of(case, **more))
    network.load_state_dict(seeded_state(network.state_dict()))
    return network


def cases(slow):
    return [pytest.param(c, marks=[pytest.mark.slow] * (c in slow)) for c in COUNTS]


def test_every_choice_of_the_spec_is_in_the_contract():
    choices = get_args(get_args(ModelConfig.__annotations__["backbone"])[0])
    assert set(choices) == set(BACKBONES) == {case.partition(" ")[0] for case in COUNTS}


@pytest.mark.parametrize("case", COUNTS)
def test_counts_are_those_of_the_reference(case):
    network = build_model(config_of(case))
    parameters = sum(parameter.numel() for parameter in network.parameters())
    assert (parameters, len(network.state_dict())) == COUNTS[case]


@torch.no_grad()
@pytest.mark.parametrize("case", cases(slow=DEEP))
def test_maps_have_the_declared_channels_and_strides_at_every_size(case):
    network = build_model(config_of(case)).eval()
    backbone = network.backbone
    for batch, height, width in ((1, 32, 32), (2, 64, 96), (1, 160, 32)):
        image = torch.randn(batch, 3, height, width)
        maps = backbone(image)
        assert [tuple(m.shape) for m in maps] == [
            (batch, channels, height // stride, width // stride)
            for channels, stride in zip(backbone.out_channels, backbone.strides, strict=True)
        ]
        assert network(image).shape == (batch, 1, height, width)
    assert network.train()(torch.randn(2, 3, 64, 64)).shape == (2, 3, 64, 64)


@torch.no_grad()
@pytest.mark.parametrize("case", cases(slow=DEEP))
def test_weights_survive_a_file(case):
    network, image = build_model(config_of(case)).eval(), torch.randn(1, 3, 64, 64)
    file = io.BytesIO()
    torch.save(network.state_dict(), file)
    file.seek(0)
    again = build_model(config_of(case)).eval()
    assert not torch.equal(again(image), network(image))
    again.load_state_dict(torch.load(file, weights_only=True))
    assert torch.equal(again(image), network(image))


@pytest.mark.parametrize("case", cases(slow=DEEP))
def test_the_gradient_reaches_every_parameter_that_trains(case):
    network = network_of(case).train()
    network(seeded_image(1, (2, 3, 64, 64))).square().mean().backward()
    frozen = {name for name, p in network.named_parameters() if not p.requires_grad}
    assert all("cls_" in name and any(part in name for part in CLASS_TOKEN) for name in frozen)
    assert bool(frozen) == case.startswith("fan")
    norms = {n: float(p.grad.norm()) for n, p in network.named_parameters() if n not in frozen}
    assert not [name for name, norm in norms.items() if not 0 < norm < float("inf")]


@pytest.mark.parametrize("case", cases(slow=COUNTS.keys() - QUICK_EXPORT))
def test_the_exported_graph_computes_the_same(case, tmp_path):
    """The export itself refuses more than 1e-3; weights that saturate nothing show 1e-5."""
    onnx = pytest.importorskip("onnx")
    pytest.importorskip("onnxruntime")
    checkpoint, target = tmp_path / "m.pth", tmp_path / "m.onnx"
    torch.save({"state_dict": network_of(case).state_dict()}, checkpoint)
    config = config_of(case)
    result = support.export(
        checkpoint,
        target,
        f"model.backbone={config.backbone}",
        f"model.fuse_qkv_proj={str(config.fuse_qkv_proj).lower()}",
        f"model.enlarge_feature_map_size={str(config.enlarge_feature_map_size).lower()}",
        "export.width=64",
        "export.height=96",
    )
    assert result["max_difference"] < 1e-4
    graph = onnx.load(target).graph
    deformable = any(node.op_type == "DeformConv" for node in graph.node)
    assert deformable == case.startswith("deformable")
    assert not [node.op_type for node in graph.node if node.domain not in ("", "ai.onnx")]


def step(network):
    """Output, gradients and buffers of a training step, and the bytes kept for its way back."""
    kept = 0

    def pack(tensor):
        nonlocal kept
        kept += tensor.nbytes
        return tensor

    torch.manual_seed(0)  # dropout
    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        out = network.train()(seeded_image(1, (2, 3, 64, 64)))
    out.square().mean().backward()
    gradients = {n: p.grad for n, p in network.named_parameters() if p.grad is not None}
    return {
        "out": out.detach(),
        "gradients": gradients,
        "buffers": dict(network.named_buffers()),
    }, kept


@pytest.mark.parametrize("backbone", FAMILIES)
def test_recomputed_activations_change_memory_alone(backbone):
    """Batch norm counts each batch once, though it sees it twice."""
    network = network_of(backbone)
    other = network_of(backbone, activation_checkpoint=True)
    plain, kept = step(network)
    recomputed, fewer = step(other)
    assert support.differences(recomputed, plain) == []
    assert fewer < 0.6 * kept


@torch.no_grad()
def test_fused_and_split_projections_are_one_function():
    fused, split = (network_of(f"fan_tiny_8_p4_hybrid{o}").eval() for o in ("", " unfused"))
    state = fused.state_dict()
    for key in [key for key in state if ".kv." in key]:
        state[key.replace(".kv.", ".k.")], state[key.replace(".kv.", ".v.")] = state.pop(key).chunk(
            2
        )
    split.load_state_dict(state)
    image = seeded_image(1, (1, 3, 64, 96))
    torch.testing.assert_close(split(image), fused(image), rtol=0, atol=1e-5)


@torch.no_grad()
@pytest.mark.parametrize("backbone", ["resnet18", "resnet50", "mobilenet_v2", "mobilenet_v3_large"])
def test_torchvisions_weights_load_by_name_and_compute_the_same(backbone):
    theirs = torchvision.models.get_model(backbone, weights=None).eval()
    theirs.load_state_dict(seeded_state(theirs.state_dict()))
    classifier = ("fc.", "classifier.")
    weights = {k: v for k, v in theirs.state_dict().items() if not k.startswith(classifier)}
    ours = BACKBONES[backbone](config_of(backbone)).eval()
    ours.load_state_dict(weights)
    seen = {}
    pooling = getattr(theirs, "avgpool", None) or theirs.classifier
    pooling.register_forward_pre_hook(lambda _, inputs: seen.update(pooled=inputs[0]))
    image = seeded_image(1, (1, 3, 64, 96))
    theirs(image)
    last = ours(image)[-1]
    if seen["pooled"].ndim == 2:
        last = last.mean((2, 3))
    torch.testing.assert_close(last, seen["pooled"])


def test_a_fan_network_keeps_its_head_in_float32_under_autocast():
    network = network_of("fan_tiny_8_p4_hybrid").train()
    image = seeded_image(1, (2, 3, 64, 64))
    with torch.autocast("cpu", torch.bfloat16):
        assert network.neck(network.backbone(image)).dtype == torch.bfloat16
        out = network(image)
    out.square().mean().backward()
    assert out.dtype == torch.float32
    assert torch.isfinite(out).all()
    assert all(p.grad is None or torch.isfinite(p.grad).all() for p in network.parameters())


def test_a_neck_that_the_backbone_does_not_take_is_named(caplog):
    caplog.set_level("INFO", "ocdnet")
    for backbone, neck in (("fan_tiny_8_p4_hybrid", "FPN"), ("mobilenet_v2", "FANNeck")):
        build_model(ModelConfig(backbone=backbone, neck=neck))
        (record,) = caplog.records
        assert backbone in record.getMessage()
        assert neck in record.getMessage()
        caplog.clear()
    build_model(ModelConfig(backbone="fan_tiny_8_p4_hybrid", neck="FANNeck"))
    assert not caplog.records

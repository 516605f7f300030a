"""The memory table of docs/multi-node.md is what benchmarks/device_memory.py computes."""

from __future__ import annotations

import importlib
from pathlib import Path

import pytest
import torch
from torchvision.ops import deform_conv2d

from ocdnet.models import deform_conv

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def device_memory():
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(ROOT / "benchmarks")
        return importlib.import_module("device_memory")


def test_the_table_is_up_to_date(device_memory):
    page = (ROOT / "docs/multi-node.md").read_text()
    stale = [row for row in device_memory.rows() if row not in page]
    assert stale == [], "run benchmarks/device_memory.py"


def test_fake_tensors_are_counted_as_real_ones(device_memory, monkeypatch):
    fake = device_memory.needs("deformable_resnet18", 64).image
    model = device_memory.build_model(device_memory.ModelConfig()).train()
    own = {parameter.data_ptr() for parameter in model.parameters()}
    kept = {}

    def keep(tensor):
        storage = tensor.untyped_storage()
        kept[storage.data_ptr()] = storage
        return tensor

    monkeypatch.setattr(
        deform_conv,
        "deform_conv2d_cpu",
        lambda x, offset, mask, weight, bias, *, stride, padding: deform_conv2d(
            x, offset, weight, bias, stride, padding, mask=mask
        ),
    )
    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        model(torch.zeros(1, 3, 64, 64))
    real = sum(storage.nbytes() for address, storage in kept.items() if address not in own) / 1e6
    assert fake == pytest.approx(real, rel=0.02)


def test_more_gpus_share_more(device_memory):
    one = device_memory.needs("deformable_resnet18", 64)
    assert one.parameters == pytest.approx(12_776_548 * 4 / 1e6)  # TAO's, too
    whole = one.fixed("ddp", 1)
    assert whole == pytest.approx(5 * one.parameters)
    assert one.fixed("fsdp", 8) < one.fixed("fsdp", 2) < whole < one.fixed("ddp", 2)
    assert one.image_recomputed < one.image

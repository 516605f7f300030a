"""DDP, FSDP and DeepSpeed on one GPU, by the code that several run."""

from __future__ import annotations

import json

import pytest
import torch

import processes
import support
from gpu.device import DEVICE, LAST, SGD, distance, flat, needs_cuda, on_cpu, train

pytestmark = [pytest.mark.gpu, pytest.mark.usefixtures("small_network", "steady")]

ONE = [
    *processes.TORCHRUN,
    "--standalone",
    "--nproc-per-node=1",
    "--local-addr=127.0.0.1",
    processes.SCRIPT,
]
FSDP = "train.distributed_strategy=fsdp"
CHECKED = "" if DEVICE == "cuda" else "without_strategy_check"


def run(launcher, scenes, out, *more, before):
    code, text, errors = processes.trained(launcher, scenes, out, *SGD, *more, before=before)
    assert code == 0, errors
    return json.loads(text[text.index("{\n") :])["last_metrics"], errors


@pytest.mark.parametrize("precision", ["fp32", "fp16"])
def test_ddp_learns_as_a_single_process(scenes, tmp_path, precision):
    more = f"train.precision={precision}"
    found, errors = run(ONE, scenes, tmp_path / "ddp", more, before="be_exact one_as_several")
    backend = "nccl" if DEVICE == "cuda" else "gloo"
    assert f"DDPStrategy over {backend} on {DEVICE}" in errors
    alone = train(scenes, tmp_path / "alone", *SGD, more)
    close = 1e-3 if precision == "fp32" else 0.02
    expected = alone.result["last_metrics"]
    assert found["train_loss"] == pytest.approx(expected["train_loss"], rel=close)
    left, right = (
        flat(on_cpu(tmp_path / n / "train" / LAST)["state_dict"]) for n in ("ddp", "alone")
    )
    assert distance(left, right) < close


def test_fsdp_learns_as_a_single_process(scenes, tmp_path):
    found, errors = run(
        processes.PLAIN, scenes, tmp_path / "fsdp", FSDP, before=f"be_exact {CHECKED}"
    )
    assert "fsdp trains in fp16" in errors
    alone = train(scenes, tmp_path / "alone", *SGD, "train.precision=fp16")
    expected = alone.result["last_metrics"]
    assert found["train_loss"] == pytest.approx(expected["train_loss"], rel=0.05)
    path = tmp_path / "fsdp" / "train" / LAST
    kept, reference = on_cpu(path)["state_dict"], alone.last()["state_dict"]
    assert kept.keys() == reference.keys()
    assert all(type(tensor) is torch.Tensor for tensor in kept.values())
    assert distance(flat(kept), flat(reference)) < 0.05
    resume = f"train.resume_training_checkpoint_path={path}"
    resumed = train(scenes, tmp_path / "on", *SGD, resume, "train.num_epochs=3")
    assert len(resumed.losses) == 4


@needs_cuda
def test_deepspeed_learns_as_a_single_process(scenes, tmp_path):
    pytest.importorskip("deepspeed")
    name = "train.distributed_strategy=deepspeed_stage_3_offload"
    found, _ = run(processes.PLAIN, scenes, tmp_path / "ds", name, before="be_exact")
    alone = train(scenes, tmp_path / "alone", *SGD, "train.precision=fp16")
    expected = alone.result["last_metrics"]
    assert found["train_loss"] == pytest.approx(expected["train_loss"], rel=0.1)
    kept = support.load(tmp_path / "ds" / "train" / "model_best.pth")["state_dict"]
    assert all(torch.isfinite(tensor).all() for tensor in kept.values())

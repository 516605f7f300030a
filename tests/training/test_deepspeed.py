"""DeepSpeed: what it is told; and, where its package is, two processes that split the network.

Lightning runs it on GPUs alone. Here the same code runs on the CPU, with that check lifted and in
bf16, which CPUs have.
"""

from __future__ import annotations

import json
from importlib.util import find_spec

import pytest
import torch
from pytorch_lightning.strategies import ModelParallelStrategy

import processes
import support
from ocdnet.config import spec
from ocdnet.devices import Devices
from ocdnet.errors import EnvironmentFault
from ocdnet.training import strategy
from ocdnet.weights import read_checkpoint

DEEPSPEED = "train.distributed_strategy=deepspeed_stage_3_offload"
ON_CPU = "without_strategy_check deepspeed_on_cpu"


def config(tmp_path, *overrides):
    loaded = spec.load("train", None, support.train_overrides(tmp_path, tmp_path, *overrides))
    return loaded.experiment.train


def test_parameters_and_optimiser_go_to_the_host(tmp_path):
    told = strategy.deepspeed_config(config(tmp_path))
    zero = told["zero_optimization"]
    assert zero["stage"] == 3
    assert zero["offload_optimizer"]["device"] == zero["offload_param"]["device"] == "cpu"
    assert told["torch_autocast"] == {"enabled": True, "dtype": "float16"}
    # What Lightning sets from the spec must not be said twice: it refuses that.
    assert not {"gradient_accumulation_steps", "gradient_clipping", "fp16"} & told.keys()


def test_without_the_package_it_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(strategy, "find_spec", lambda _: None)
    with pytest.raises(EnvironmentFault) as caught:
        strategy.check_strategy(config(tmp_path, DEEPSPEED), Devices([0, 1], 2, 1))
    assert caught.value.code == "missing-package"
    assert "deepspeed" in caught.value.hint


@pytest.mark.parametrize(
    ("name", "override", "gpus", "said"),
    [
        ("fsdp", "train.model_ema=true", [0, 1], "train.model_ema"),
        ("deepspeed_stage_3_offload", "train.model_ema=true", [0, 1], "train.model_ema"),
        (
            "deepspeed_stage_3_offload",
            "train.resume_training_checkpoint_path=a.pth",
            [0, 1],
            "train.resume_training_checkpoint_path",
        ),
        ("deepspeed_stage_3_offload", "train.num_gpus=2", [2, 3], "CUDA_VISIBLE_DEVICES"),
    ],
)
def test_what_a_strategy_cannot_do_is_refused(tmp_path, monkeypatch, name, override, gpus, said):
    monkeypatch.setattr(strategy, "find_spec", lambda _: True)
    train = config(tmp_path, f"train.distributed_strategy={name}", override)
    with pytest.raises(EnvironmentFault) as caught:
        strategy.check_strategy(train, Devices(gpus, 2, 1))
    assert caught.value.code == "strategy-cannot"
    assert said in str(caught.value)


def test_what_goes_is_let_through(tmp_path):
    for name in ("ddp", "fsdp"):
        train = config(tmp_path, f"train.distributed_strategy={name}")
        strategy.check_strategy(train, Devices([0, 1], 2, 1))
    assert strategy.build_strategy(config(tmp_path), Devices([0], 1, 1), recomputes=False) == "auto"


@pytest.mark.parametrize("recomputes", [True, False])
def test_ddp_looks_for_unused_parameters_unless_activations_are_recomputed(tmp_path, recomputes):
    made = strategy.build_strategy(config(tmp_path), Devices([0, 1], 2, 1), recomputes)
    assert made._ddp_kwargs["find_unused_parameters"] is not recomputes


def test_fsdp_saves_one_file(tmp_path):
    train = config(tmp_path, "train.distributed_strategy=fsdp")
    made = strategy.build_strategy(train, Devices([0, 1], 2, 3), recomputes=False)
    assert isinstance(made, ModelParallelStrategy)
    assert (made._data_parallel_size, made._tensor_parallel_size) == (6, 1)
    assert made._save_distributed_checkpoint is False


def test_fsdp_trains_in_fp16_and_says_so(tmp_path, caplog):
    train = config(tmp_path, "train.distributed_strategy=fsdp", "train.precision=bf16")
    assert strategy.precision_of(train, gpu=True).precision == "16-mixed"
    assert "fsdp trains in fp16" in caplog.text


@pytest.mark.skipif(not find_spec("deepspeed"), reason="the package deepspeed is not installed")
def test_two_processes_split_the_network(scenes, small_network, tmp_path):
    uneven = "dataset.validate_dataset.loader.batch_size=3"  # 4 images: 2 a process
    code, text, errors = processes.trained(
        processes.STANDALONE,
        scenes,
        tmp_path,
        *(DEEPSPEED, uneven),
        before=ON_CPU,
        DS_ACCELERATOR="cpu",
    )
    assert code == 0, errors
    result = json.loads(text[text.index("{\n") :])
    alone = support.train(scenes, tmp_path / "one", "dataset.train_dataset.loader.batch_size=4")
    loss = "last_metrics", "train_loss"
    assert result[loss[0]][loss[1]] == pytest.approx(alone[loss[0]][loss[1]], rel=0.1)
    path = tmp_path / "train" / "model_best.pth"
    kept = support.load(path)["state_dict"]
    reference = support.load(tmp_path / "one" / "train" / "model_best.pth")["state_dict"]
    assert {k: (t.shape, t.dtype) for k, t in kept.items()} == {
        k: (t.shape, t.dtype) for k, t in reference.items()
    }
    assert all(torch.isfinite(tensor).all() for tensor in kept.values())
    assert not read_checkpoint(path).full  # weights to start from, not to resume

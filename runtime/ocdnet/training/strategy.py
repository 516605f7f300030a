"""Lightning's strategy and precision for the spec's choice."""

from __future__ import annotations

import logging
from importlib.util import find_spec
from typing import Any

import torch
from pytorch_lightning.plugins import DeepSpeedPrecision, MixedPrecision, Precision
from pytorch_lightning.strategies import (
    DDPStrategy,
    DeepSpeedStrategy,
    ModelParallelStrategy,
    Strategy,
)
from torch import nn

from ocdnet import findings, install
from ocdnet.config.train import TrainConfig
from ocdnet.devices import Devices
from ocdnet.errors import EnvironmentFault
from ocdnet.hardware import has_bf16
from ocdnet.spec_keys import GPU_IDS, RESUME
from ocdnet.training.process_group import TIMEOUT

LOG = logging.getLogger("ocdnet")
FSDP, DEEPSPEED = "fsdp", "deepspeed_stage_3_offload"
BUCKET = 1 << 24
"""Elements of the buffer in which DeepSpeed reduces gradients; its own default takes 2 GB."""


def check_strategy(config: TrainConfig, devices: Devices) -> None:
    """Check that this machine, and the other keys, suit the spec's strategy.

    Raises:
        EnvironmentFault: no GPU, no package, or a key that the strategy does not support.
    """
    name = config.distributed_strategy
    if name == "ddp":
        return
    if not devices.gpus:
        raise EnvironmentFault(
            "needs-gpu",
            f"train.distributed_strategy {name} splits the network over GPUs, and there is none",
            got=name,
            expected="ddp, which also runs on CPUs",
            hint="Set train.distributed_strategy=ddp.",
        )
    if name == DEEPSPEED and find_spec("deepspeed") is None:
        raise EnvironmentFault(
            "missing-package",
            f"train.distributed_strategy {name} needs the package deepspeed",
            hint=install.command("deepspeed"),
        )
    if name == DEEPSPEED and devices.gpus != list(range(len(devices.gpus))):
        raise EnvironmentFault(
            "strategy-cannot",
            f"train.distributed_strategy {name} numbers the GPUs itself",
            got=f"{GPU_IDS} {devices.gpus}",
            expected=f"{list(range(len(devices.gpus)))}",
            hint="Choose the GPUs by CUDA_VISIBLE_DEVICES, and leave train.gpu_ids.",
        )
    refused = {
        "train.model_ema": config.model_ema,
        RESUME: name == DEEPSPEED and bool(config.resume_training_checkpoint_path),
    }
    for key, wanted in refused.items():
        if wanted:
            raise EnvironmentFault(
                "strategy-cannot",
                f"{key!r} does not work with train.distributed_strategy {name}",
                hint=f"Remove {key}, or set train.distributed_strategy=ddp.",
            )


def build_strategy(config: TrainConfig, devices: Devices, recomputes: bool) -> Strategy | str:
    """Lightning's strategy for the spec's choice; see docs/multi-node.md for what each is for.

    Args:
        config: the `train` section, which has passed `check_strategy`.
        devices: of the run.
        recomputes: whether activations are recomputed in the backward pass: DDP then can't look
            for unused parameters.
    """
    if config.distributed_strategy == FSDP:
        return ModelParallelStrategy(
            data_parallel_size=devices.world,
            tensor_parallel_size=1,
            save_distributed_checkpoint=False,
            timeout=TIMEOUT,
        )
    if config.distributed_strategy == DEEPSPEED:
        return WholeFileDeepSpeed(
            config=deepspeed_config(config), load_full_weights=True, timeout=TIMEOUT
        )
    if devices.world == 1:
        return "auto"
    return DDPStrategy(
        find_unused_parameters=not recomputes,
        # The module shares them itself, before each validation: every batch would cost time.
        broadcast_buffers=False,
        timeout=TIMEOUT,
    )


def precision_of(config: TrainConfig, gpu: bool) -> Precision | str:
    """Lightning's precision: a name, or a plugin where no name selects it.

    A CPU without instructions for bf16 emulates it, in eight times fp32's time: that is noted.
    """
    name = config.precision
    if config.distributed_strategy != "ddp" and name != "fp16":
        LOG.warning("%s trains in fp16, whatever train.precision says", config.distributed_strategy)
        name = "fp16"
    if config.distributed_strategy == DEEPSPEED:
        return _WholePrecision("32-true")  # of the weights; deepspeed_config has the rest
    if name == "fp16" and not gpu:
        # FSDP has no other mixture on a CPU.
        name = "bf16" if has_bf16() or config.distributed_strategy == FSDP else "fp32"
        LOG.info("fp16 needs a GPU: training in %s on the CPU.", name)
    elif name == "bf16" and not gpu and not has_bf16():
        slow = "This CPU has no instructions for bf16 and emulates it: fp32 is several times faster"
        findings.note("bf16-emulated", slow, key="train.precision")
    lightning = {"fp32": "32-true", "fp16": "16-mixed", "bf16": "bf16-mixed"}[name]
    if config.distributed_strategy == FSDP:
        # By autocast, which keeps the head in full precision; FSDP's own cast does not.
        return MixedPrecision(lightning, "cuda" if gpu else "cpu")
    return lightning


def shard(model: nn.Module, mesh: Any) -> None:
    """Split the parameters, which must be contiguous, over the processes of a mesh (FSDP2).

    Backbone, neck and head are units: the whole parameters of a unit are gathered while it
    computes. The mesh is Lightning's, of two dimensions.
    """
    from torch.distributed.fsdp import fully_shard  # noqa: PLC0415 - torch >= 2.6, and slow

    for part in (*model.children(), model):
        fully_shard(part, mesh=mesh["data_parallel"])


def share_buffers(model: nn.Module) -> None:
    """Give every process the running statistics of rank 0, which are the ones saved."""
    for buffer in model.buffers():
        torch.distributed.broadcast(buffer, src=0)


def deepspeed_config(config: TrainConfig) -> dict[str, Any]:
    """DeepSpeed's configuration: ZeRO stage 3, parameters and optimiser states in host memory.

    Lightning adds clipping and accumulation from the spec.
    """
    host = {"device": "cpu", "pin_memory": True}
    return {
        # DeepSpeed only logs it. Without it Lightning would build a data loader to find out.
        "train_micro_batch_size_per_gpu": 1,
        "zero_optimization": {
            "stage": 3,
            "offload_optimizer": host,
            "offload_param": host,
            "reduce_bucket_size": BUCKET,
            "overlap_comm": True,
            "contiguous_gradients": True,
        },
        # Not DeepSpeed's fp16, which casts the whole network: the head needs full precision.
        "torch_autocast": {"enabled": True, "dtype": "float16"},
        # torch's optimisers, so that the spec's arguments (amsgrad) hold; they run on the CPU.
        "zero_allow_untested_optimizer": True,
        "zero_force_ds_cpu_optimizer": False,
    }


class _WholePrecision(DeepSpeedPrecision):
    """Leaves batches alone: images are uint8, and Lightning refuses frozen dataclasses here."""

    def convert_input(self, data: Any) -> Any:
        return data


class WholeFileDeepSpeed(DeepSpeedStrategy):
    """Saves one file of whole weights, as every other strategy, without the optimiser's state.

    DeepSpeed's own checkpoint is a folder that only DeepSpeed reads.
    """

    def save_checkpoint(
        self, checkpoint: dict[str, Any], filepath: Any, storage_options: Any | None = None
    ) -> None:
        """Gather the weights on rank 0 and write them; every process takes part."""
        weights = self._whole_weights()
        if not self.is_global_zero:
            return
        checkpoint = {key: value for key, value in checkpoint.items() if key != "optimizer_states"}
        self.checkpoint_io.save_checkpoint(checkpoint | {"state_dict": weights}, filepath)

    def _whole_weights(self) -> dict[str, torch.Tensor]:
        import deepspeed  # noqa: PLC0415 - optional

        module = self.lightning_module
        assert module is not None
        with deepspeed.zero.GatheredParameters(list(module.parameters())):
            if not self.is_global_zero:
                return {}
            return {key: tensor.cpu().clone() for key, tensor in module.state_dict().items()}

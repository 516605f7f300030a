"""Section `train`: optimisation, schedule, checkpoints, devices."""

from collections.abc import Iterator
from dataclasses import field
from typing import Annotated, Literal

from pydantic import Field
from pydantic.dataclasses import dataclass

from ocdnet.config.base import (
    STRICT,
    Fraction,
    GpuId,
    Positive,
    automl,
    depends_on,
    extra,
    math_cond,
    option_weights,
    popular,
    search,
)
from ocdnet.config.rules import Never
from ocdnet.config.shared import Metric, PostProcessing
from ocdnet.spec_keys import GPU_IDS, NUM_GPUS
from ocdnet.tree.problems import Problem, SpecFieldError

LossWeight = Annotated[int, Field(ge=1, le=1000)]
"""A whole weight; TAO has no upper bound, a search needs a finite one."""


@dataclass(config=STRICT, kw_only=True)
class OptimizerArgs:
    """Arguments of the optimiser."""

    lr: Annotated[
        Fraction, automl, search(1e-5, 1e-2, scale="log"), math_cond("> 0.0"), popular
    ] = 1e-3
    """Peak learning rate, reached after warm-up."""

    weight_decay: Annotated[
        Fraction, automl, search(1e-6, 1e-2, scale="log"), math_cond(">= 0.0")
    ] = 0.0
    """Weight decay."""

    momentum: Annotated[Fraction, depends_on("train.optimizer.type")] = 0.0
    """Momentum (SGD)."""

    eps: Fraction = 1e-8
    """Added to the denominator (Adam, AdamW)."""

    amsgrad: bool = True
    """Use the AMSGrad variant (Adam, AdamW)."""


@dataclass(config=STRICT, kw_only=True)
class Optimizer:
    """Optimiser."""

    type: Annotated[
        Literal["Adam", "AdamW", "SGD"],
        search(choices=["Adam", "AdamW"]),
        option_weights(0.45, 0.45, 0.1),
    ] = "Adam"
    """Name of the optimiser."""

    args: OptimizerArgs = field(default_factory=OptimizerArgs)


@dataclass(config=STRICT, kw_only=True)
class LrSchedulerArgs:
    """Arguments of the schedule."""

    warmup_epoch: Annotated[int, Field(ge=0)] = 3
    """Epochs of linear warm-up; at most num_epochs - 1 are used."""

    per_step: Annotated[bool, extra] = False
    """Move along the schedule's curve each step, not each epoch."""


@dataclass(config=STRICT, kw_only=True)
class LrScheduler:
    """Learning-rate schedule: linear warm-up, then polynomial decay."""

    type: Literal["WarmupPolyLR"] = "WarmupPolyLR"
    """Name of the schedule."""

    args: LrSchedulerArgs = field(default_factory=LrSchedulerArgs)


@dataclass(config=STRICT, kw_only=True)
class Loss:
    """Loss: alpha * BCE on shrink maps + beta * L1 on threshold maps + dice on binary maps."""

    type: Literal["DBLoss"] = "DBLoss"
    """Name of the loss."""

    alpha: Annotated[LossWeight, search(1, 10, metric="hmean")] = 5
    """Weight of the shrink map's cross-entropy."""

    beta: Annotated[LossWeight, search(1, 20, metric="hmean")] = 10
    """Weight of the threshold map's L1."""

    ohem_ratio: Annotated[LossWeight, search(1, 10, metric="hmean")] = 3
    """Hardest background pixels counted, as a multiple of the text pixels."""

    eps: Fraction = 1e-6
    """Keeps the denominators above zero."""


@dataclass(config=STRICT, kw_only=True)
class Trainer:
    """Trainer options."""

    clip_grad_norm: Annotated[float, Field(ge=0)] = 5.0
    """L2 norm that gradients are clipped to; 0: no clipping."""


@dataclass(config=STRICT, kw_only=True)
class Cudnn:
    """cuDNN options."""

    benchmark: bool = False
    """Time several convolution algorithms and keep the fastest."""

    deterministic: bool = True
    """Use deterministic algorithms only."""


@dataclass(config=STRICT, kw_only=True)
class TrainConfig:
    """Training."""

    results_dir: str = ""
    """Folder of this action's results, instead of <results_dir>/train."""

    num_epochs: Annotated[Positive, popular] = 10
    """Epochs to train."""

    max_minutes: Annotated[float | None, Field(ge=0), extra] = None
    """Wall-clock minutes to train: no epoch begins that would not fit, but for the first."""

    validation_interval: Annotated[Positive, popular] = 1
    """Epochs between validations."""

    checkpoint_interval: Annotated[Positive, popular] = 1
    """Epochs or steps between checkpoints."""

    checkpoint_interval_unit: Literal["epoch", "step"] = "epoch"
    """Unit of checkpoint_interval."""

    keep_checkpoints: Annotated[int, Field(ge=0), extra] = 0
    """Newest model_epoch_*.pth that are kept, besides model_best.pth; 0: all."""

    resume_training_checkpoint_path: str = ""
    """Checkpoint to resume from."""

    precision: Literal["fp32", "fp16", "bf16"] = "fp32"
    """Number format of the computation."""

    seed: Annotated[int, Field(ge=-1, le=2**32 - 1)] = 1234
    """Seed of everything random; -1: a new one each run."""

    num_gpus: Annotated[int, Field(ge=-1), popular] = 1
    """GPUs on each node; -1: all that are visible."""

    gpu_ids: Annotated[list[GpuId], popular] = field(default_factory=lambda: [0])
    """Indices of the GPUs."""

    num_nodes: Annotated[Positive, popular] = 1
    """Machines."""

    distributed_strategy: Literal["ddp", "fsdp", "deepspeed_stage_3_offload"] = "ddp"
    """How several devices share the work."""

    use_distributed_sampler: bool = False
    """TAO's switch; several devices always read different samples here."""

    model_ema: bool = False
    """Also keep an exponential moving average of the weights."""

    model_ema_decay: Annotated[
        Fraction, search(choices=[0.9, 0.99, 0.999, 0.9999]), depends_on("train.model_ema")
    ] = 0.9999
    """Decay of that average."""

    compile: Annotated[bool, extra] = False
    """Compile the network with torch.compile: minutes at the start, for faster steps afterwards."""

    is_dry_run: bool = False
    """Run three batches of training and validation, to see that it works and how long it takes."""

    accumulate_grad_batches: Annotated[Positive, extra] = 1
    """Batches whose gradients are averaged for one step of the optimiser."""

    optimizer: Optimizer = field(default_factory=Optimizer)

    lr_scheduler: LrScheduler = field(default_factory=LrScheduler)

    loss: Loss = field(default_factory=Loss)

    post_processing: PostProcessing = field(default_factory=PostProcessing)

    metric: Metric = field(default_factory=Metric)

    trainer: Trainer = field(default_factory=Trainer)

    cudnn: Cudnn = field(default_factory=Cudnn)

    def problems(self) -> Iterator[Problem]:
        """A GPU named twice."""
        if len(set(self.gpu_ids)) < len(self.gpu_ids):
            yield SpecFieldError(
                "conflict",
                GPU_IDS,
                f"{GPU_IDS!r} names a GPU twice",
                got=self.gpu_ids,
                expected="each index once",
            )


RULES = (Never(NUM_GPUS, 0, "out-of-range", "is out of range", "-1 (all), or 1 and above"),)

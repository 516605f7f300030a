"""Section `wandb`: logging to Weights & Biases."""

from dataclasses import field

from pydantic.dataclasses import dataclass

from ocdnet.config.base import STRICT


@dataclass(config=STRICT, kw_only=True)
class WandbConfig:
    """Logging to Weights & Biases."""

    enable: bool = False
    """Log to Weights & Biases; needs the package wandb and a login, or WANDB_MODE=offline."""

    project: str = "TAO Toolkit"
    """Project name."""

    entity: str = ""
    """User or team; empty: the login's own."""

    name: str = "TAO Toolkit Training"
    """Name of the run."""

    group: str = ""
    """Group of the run."""

    tags: list[str] = field(default_factory=lambda: ["tao-toolkit"])
    """Tags of the run."""

    run_id: str = ""
    """Id of a run to continue; empty: a new one."""

    reinit: bool = False
    """Allow several runs in one process."""

    save_code: bool = False
    """Store the code with the run."""

    sync_tensorboard: bool = False
    """Copy the TensorBoard files, too; their curves then stand there twice."""

"""Section `wandb`: Weights & Biases logging."""

from dataclasses import field

from pydantic.dataclasses import dataclass

from ocdnet.config.base import STRICT


@dataclass(config=STRICT, kw_only=True)
class WandbConfig:
    """Logging to Weights & Biases."""

    enable: bool = False
    """Log to Weights & Biases."""

    project: str = "TAO Toolkit"
    """Project name."""

    entity: str = ""
    """User or team."""

    name: str = "TAO Toolkit Training"
    """Name of the run."""

    group: str = ""
    """Group of the run."""

    tags: list[str] = field(default_factory=lambda: ["tao-toolkit"])
    """Tags of the run."""

    run_id: str = ""
    """Id of the run, to continue it."""

    reinit: bool = False
    """Allow several runs in one process."""

    save_code: bool = False
    """Store the code with the run."""

    sync_tensorboard: bool = False
    """Copy TensorBoard logs."""

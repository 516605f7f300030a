"""Where a run's curves and pictures go: TensorBoard's files, Weights & Biases."""

from __future__ import annotations

import inspect
import logging
from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pytorch_lightning.loggers import Logger, TensorBoardLogger, WandbLogger

from ocdnet import install
from ocdnet.config.wandb import WandbConfig
from ocdnet.errors import EnvironmentFault
from ocdnet.ranks import is_rank_zero
from ocdnet.visualize import encoded

LOG = logging.getLogger("ocdnet")
TENSORBOARD = "lightning_logs"
"""Folder of TensorBoard's files in a run's folder, as TAO's."""
_ANSWER_SECONDS = 30.0
_OFFLINE = "Set WANDB_MODE=offline to log into the results folder (`wandb sync` uploads it later)"


def run_loggers(config: WandbConfig, folder: Path, spec: Mapping[str, Any]) -> list[Logger]:
    """Loggers of TensorBoard, if it is installed, and Weights & Biases, if the spec enables it.

    Args:
        config: the `wandb` section.
        folder: the run's folder; both write below it.
        spec: the resolved spec, secrets masked, to be shown with the run.

    Raises:
        EnvironmentFault: Weights & Biases is enabled and not installed, not logged in, or can't
            be reached.
    """
    # W&B comes first: it can only copy TensorBoard files that are opened after it.
    loggers: list[Logger] = [_wandb(config, folder, spec)] if config.enable else []
    if find_spec("tensorboard") is not None:
        loggers.append(TensorBoardLogger(folder, name=TENSORBOARD, version=""))
    else:
        LOG.warning("No TensorBoard files: the package is missing. %s", install.command())
    return loggers


def log_picture(
    loggers: Sequence[Logger], name: str, picture: NDArray[np.uint8], step: int
) -> None:
    """Log a picture uint8[H, W, 3], BGR; pictures of one name form a series over the steps."""
    name = name.encode("utf-8", "backslashreplace").decode()  # of a file, whose bytes may be any
    for logger in loggers:
        if isinstance(logger, TensorBoardLogger):
            _add_jpeg(logger, name, picture, step)
        elif isinstance(logger, WandbLogger):
            rgb = np.ascontiguousarray(picture[:, :, ::-1])
            logger.log_image(name, [rgb], file_type=["jpg"])


def _add_jpeg(logger: TensorBoardLogger, name: str, picture: NDArray[np.uint8], step: int) -> None:
    # torch's own way writes PNG, ten times the bytes.
    from tensorboard.compat.proto.summary_pb2 import (  # noqa: PLC0415
        Summary,
    )

    height, width = picture.shape[:2]
    image = Summary.Image(
        height=height,
        width=width,
        colorspace=3,
        encoded_image_string=encoded(picture, ".jpg", quality=80),
    )
    summary = Summary(value=[Summary.Value(tag=name, image=image)])
    logger.experiment.file_writer.add_summary(summary, step)


class _Wandb(WandbLogger):
    """Closes its run when training ends, and records whether it succeeded."""

    def finalize(self, status: str) -> None:
        super().finalize(status)
        if is_rank_zero() and self._experiment is not None:
            self._experiment.finish(exit_code=0 if status == "success" else 1)


def _wandb(config: WandbConfig, folder: Path, spec: Mapping[str, Any]) -> WandbLogger:
    if find_spec("wandb") is None:
        raise EnvironmentFault(
            "missing-package",
            "wandb.enable needs the package wandb",
            hint=install.command("wandb"),
        )
    import wandb  # noqa: PLC0415 - optional

    logger = _Wandb(
        project=config.project,
        save_dir=folder,
        name=config.name or None,
        version=config.run_id or None,
        entity=config.entity or None,
        group=config.group or None,
        tags=config.tags,
        reinit=config.reinit,
        save_code=config.save_code,
        sync_tensorboard=config.sync_tensorboard,
        settings=wandb.Settings(init_timeout=_ANSWER_SECONDS),
        config=dict(spec),
    )
    if is_rank_zero():
        # Only wandb.setup() knows the mode: it reads the environment and the folder's settings.
        mode = wandb.setup().settings.mode
        _open(logger, online=mode not in ("offline", "dryrun", "disabled"))
    return logger


def _open(logger: WandbLogger, *, online: bool) -> None:
    """Start the run before training, so that errors come early; never prompts the user."""
    import wandb  # noqa: PLC0415 - optional

    if online:
        _require_login()
    try:
        _ = logger.experiment
    except wandb.Error as error:
        raise EnvironmentFault(
            "wandb-failed",
            "Weights & Biases did not start the run",
            got=str(error)[:300],
            hint=f"{_OFFLINE}, or wandb.enable=false.",
        ) from error


def _require_login() -> None:
    import wandb  # noqa: PLC0415 - optional

    if "prompt" not in inspect.signature(wandb.login).parameters:
        raise EnvironmentFault(
            "old-package",
            f"wandb {wandb.__version__} can't check the login without prompting for one",
            expected="wandb 0.31 or newer",
            hint=install.command("wandb"),
        )
    if not wandb.login(prompt=False, verify=False):
        raise EnvironmentFault(
            "wandb-login",
            "wandb.enable is set, and this machine is not logged in to Weights & Biases",
            hint=f"Set WANDB_API_KEY or run `wandb login`. {_OFFLINE}.",
        )

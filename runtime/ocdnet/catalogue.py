"""The registry of actions: plain data, so that `--help` needs neither pydantic nor torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

ROOT_KEYS = ("results_dir", "encryption_key", "model_name")
"""Keys outside every section, which all actions read."""


SEARCH = "automl"
"""The command that searches train's parameters, and its folder: no action, it has no spec."""


@dataclass(frozen=True)
class Action:
    """One action of the skill.

    Attributes:
        name: what users ask for; also the name of its schema and template. `deploy_<action>` is
            an action whose model is an engine.
        summary: one line for `--help`.
        sections: sections of the experiment file that it reads.
        required: dotted keys that must have a value.
        run: function that does it, as `module:function`.
        command: subcommand of `ocdnet` that runs it.
        defaults: dotted keys whose default differs from the section's.
        automl: whether AutoML may search its parameters.
    """

    name: str
    summary: str
    sections: tuple[str, ...]
    run: str
    required: tuple[str, ...] = ()
    command: str = ""
    defaults: Mapping[str, Any] = field(default_factory=dict)
    automl: bool = False

    @property
    def section(self) -> str:
        """The action's own section, which also names its folder of results."""
        return self.command or self.name


_TRAIN = ("dataset", "model", "train", "wandb")
_TRAIN_DATA = "dataset.train_dataset.data_path"

_ALL = (
    Action(
        name="train",
        summary="Train a detector, or resume training.",
        sections=_TRAIN,
        required=(_TRAIN_DATA,),
        run="ocdnet.actions.train:run",
        automl=True,
    ),
    Action(
        name="evaluate",
        summary="Score a model on labelled images.",
        sections=("dataset", "model", "evaluate"),
        required=("dataset.validate_dataset.data_path",),
        run="ocdnet.actions.evaluate:run",
    ),
    Action(
        name="inference",
        summary="Find text in a folder of images.",
        sections=("dataset", "model", "inference"),
        required=("inference.input_folder",),
        run="ocdnet.actions.inference:run",
    ),
    Action(
        name="export",
        summary="Write a model as ONNX.",
        sections=("dataset", "model", "export"),
        required=("export.checkpoint",),
        run="ocdnet.actions.export:run",
    ),
    Action(
        name="prune",
        summary="Remove channels from a model.",
        sections=("dataset", "model", "prune"),
        required=("prune.checkpoint",),
        run="ocdnet.actions.prune:run",
    ),
    Action(
        name="quantize",
        summary="Quantize a model after training.",
        sections=("dataset", "model", "quantize"),
        required=("quantize.model_path",),
        run="ocdnet.actions.quantize:run",
        defaults={"quantize.model_path": "???"},
    ),
    Action(
        name="retrain",
        summary="Train a pruned model.",
        sections=_TRAIN,
        required=("model.pruned_graph_path", _TRAIN_DATA),
        run="ocdnet.actions.train:run",
        command="train",
        defaults={"model.load_pruned_graph": True, "model.pruned_graph_path": "???"},
        automl=True,
    ),
    Action(
        name="deploy_evaluate",
        summary="Score an engine on labelled images.",
        sections=("dataset", "model", "evaluate"),
        required=("evaluate.trt_engine", "dataset.validate_dataset.data_path"),
        run="ocdnet.actions.evaluate:run",
        command="evaluate",
        defaults={"evaluate.checkpoint": "", "evaluate.trt_engine": "???"},
    ),
    Action(
        name="deploy_inference",
        summary="Find text in a folder of images with an engine.",
        sections=("dataset", "model", "inference"),
        required=("inference.trt_engine", "inference.input_folder"),
        run="ocdnet.actions.inference:run",
        command="inference",
        defaults={"inference.checkpoint": "", "inference.trt_engine": "???"},
    ),
    Action(
        name="gen_trt_engine",
        summary="Build an engine from ONNX for TensorRT, ONNX Runtime or OpenVINO.",
        sections=("dataset", "model", "gen_trt_engine"),
        required=("gen_trt_engine.onnx_file", "gen_trt_engine.trt_engine"),
        run="ocdnet.actions.gen_trt_engine:run",
    ),
)

ACTIONS: dict[str, Action] = {action.name: action for action in _ALL}
"""Every action by name."""

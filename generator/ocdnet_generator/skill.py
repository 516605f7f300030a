"""skill_info.yaml: what the skill's actions run, read and write, for agents and the AutoML client.

Readers by line exist: plain scalars, two spaces of indent, nothing behind a value.
"""

from __future__ import annotations

import re
from typing import Any

from ocdnet.catalogue import ACTIONS, Action

IMAGE = "nvcr.io/nvidia/tao/tao-toolkit:7.1.0-pyt"
DEPLOY_IMAGE = "nvcr.io/nvidia/tao/tao-toolkit:7.1.0-deploy"

Tree = dict[str, Any]

_TRAIN_DATA = {"dataset.train_dataset.data_path": "folder"}
_EVAL_DATA = {"dataset.validate_dataset.data_path": "folder"}
_RESULTS = {"results_dir": "folder"}

INPUTS: dict[str, dict[str, str]] = {
    "train": {
        **_TRAIN_DATA,
        **_EVAL_DATA,
        "model.pretrained_model_path": "file",
        "train.resume_training_checkpoint_path": "file",
    },
    "evaluate": {**_EVAL_DATA, "evaluate.checkpoint": "file"},
    "inference": {"inference.input_folder": "folder", "inference.checkpoint": "file"},
    "export": {"export.checkpoint": "file"},
    "prune": {**_EVAL_DATA, "prune.checkpoint": "file"},
    "quantize": {
        **_TRAIN_DATA,
        **_EVAL_DATA,
        "dataset.quant_calibration_dataset.images_dir": "folder",
        "quantize.model_path": "file",
    },
    "retrain": {
        **_TRAIN_DATA,
        **_EVAL_DATA,
        "model.pruned_graph_path": "file",
        "train.resume_training_checkpoint_path": "file",
    },
    "gen_trt_engine": {
        "gen_trt_engine.onnx_file": "file",
        "gen_trt_engine.tensorrt.calibration.cal_image_dir": "folder",
    },
    "deploy_evaluate": {**_EVAL_DATA, "evaluate.trt_engine": "file"},
    "deploy_inference": {"inference.input_folder": "folder", "inference.trt_engine": "file"},
}

OUTPUTS: dict[str, dict[str, str]] = {
    "export": {**_RESULTS, "export.onnx_file": "file"},
    "gen_trt_engine": {
        **_RESULTS,
        "gen_trt_engine.trt_engine": "file",
        "gen_trt_engine.tensorrt.calibration.cal_cache_file": "file",
    },
}
"""Of every other action the results folder alone."""

# Where each value comes from when a chain of jobs runs (the resolver's function names).
SPEC_PARAMS: dict[str, dict[str, str]] = {
    "train": {
        "model.pretrained_model_path": "ptm_if_no_resume_model",
        "train.resume_training_checkpoint_path": "resume_model",
    },
    "evaluate": {"evaluate.checkpoint": "parent_model"},
    "inference": {"inference.checkpoint": "parent_model"},
    "export": {"export.checkpoint": "parent_model", "export.onnx_file": "create_onnx_file"},
    "prune": {"prune.checkpoint": "parent_model"},
    "quantize": {"quantize.model_path": "parent_model"},
    "retrain": {
        "model.pruned_graph_path": "parent_model",
        "train.resume_training_checkpoint_path": "resume_model",
    },
    "gen_trt_engine": {
        "gen_trt_engine.onnx_file": "parent_model",
        "gen_trt_engine.trt_engine": "create_engine_file",
        "gen_trt_engine.tensorrt.calibration.cal_cache_file": "create_cal_cache",
    },
    "deploy_evaluate": {"evaluate.trt_engine": "parent_model"},
    "deploy_inference": {"inference.trt_engine": "parent_model"},
}

_SPLIT = {"type": "split_folder_or_datalist", "multiple_sources": True}
_IMAGES = {"type": "image_folder", "multiple_sources": False}
SOURCES: dict[str, Tree] = {
    "dataset.train_dataset.data_path": {"source": "train_datasets", **_SPLIT},
    "dataset.validate_dataset.data_path": {"source": "eval_dataset", **_SPLIT},
    "dataset.quant_calibration_dataset.images_dir": {
        "source": "train_datasets",
        "alternative_source": "calibration_dataset",
        **_IMAGES,
    },
    "inference.input_folder": {
        "source": "inference_dataset",
        "alternative_source": "eval_dataset",
        **_IMAGES,
    },
    "gen_trt_engine.tensorrt.calibration.cal_image_dir": {
        "source": "calibration_dataset",
        "type": "image_folder",
        "multiple_sources": True,
    },
}

_SHORTHANDS = {
    "backbone": "model.backbone",
    "batch_size": "dataset.train_dataset.loader.batch_size",
    "box_thresh": "train.post_processing.args.box_thresh",
    "checkpoint_interval": "train.checkpoint_interval",
    "epochs": "train.num_epochs",
    "learning_rate": "train.optimizer.args.lr",
    "num_epochs": "train.num_epochs",
    "num_gpus": "train.num_gpus",
    "num_nodes": "train.num_nodes",
    "precision": "train.precision",
    "thresh": "train.post_processing.args.thresh",
    "validation_interval": "train.validation_interval",
    "warmup_epoch": "train.lr_scheduler.args.warmup_epoch",
}

DEPLOY = ("gen_trt_engine", "deploy_evaluate", "deploy_inference")
"""Actions of the deploy container."""


def skill() -> str:
    """Text of skill_info.yaml: every action, in the trainer's container unless it says another."""
    names = {name: name for name in ACTIONS}
    head: Tree = {
        "name": "tao-train-ocdnet",
        "network_arch": "ocdnet",
        "automl_enabled": True,
        "container_image": IMAGE,
        "dataset_type": "ocdnet",
        "data_format": "default",
        "monitoring_metric": "hmean",
        "gpu_spec_key": "train.num_gpus",
        "node_spec_key": "train.num_nodes",
    }
    shared = {"spec_shorthand_keys": _SHORTHANDS}
    return text(head | _body(names, other_image=True) | shared)


def deploy() -> str:
    """Text of tao-deploy-ocdnet.skill_info.yaml: the deploy container's own command names."""
    names = {name.removeprefix("deploy_"): name for name in DEPLOY}
    head: Tree = {
        "name": "tao-deploy-ocdnet",
        "network_arch": "ocdnet",
        "automl_enabled": False,
        "container_image": DEPLOY_IMAGE,
        "dataset_type": "ocdnet",
        "data_format": "default",
        "monitoring_metric": "hmean",
        "gpu_spec_key": "evaluate.num_gpus",
        "node_spec_key": "evaluate.num_nodes",
    }
    return text(head | _body(names, other_image=False))


def text(tree: Tree) -> str:
    """A tree as block YAML of plain scalars.

    Raises:
        ValueError: a scalar that would need quotes.
    """
    return "\n".join(_lines(tree, "")) + "\n"


def _body(names: dict[str, str], *, other_image: bool) -> Tree:
    """The parts that list actions: under which name, the registry's entry."""
    entries = {name: ACTIONS[entry] for name, entry in names.items()}
    return {
        "actions": {name: _action(entry, other_image) for name, entry in entries.items()},
        "data_sources": {
            name: {key: SOURCES[key] for key in INPUTS[entry.name] if key in SOURCES}
            for name, entry in entries.items()
            if set(INPUTS[entry.name]) & set(SOURCES)
        },
        "spec_params": {
            name: {**SPEC_PARAMS[entry.name], "results_dir": "output_dir"}
            for name, entry in entries.items()
        },
        "spec_templates": {
            name: f"references/spec_template_{entry.name}.yaml" for name, entry in entries.items()
        },
        "schemas": {name: f"schemas/{entry.name}.schema.json" for name, entry in entries.items()},
    }


def _action(entry: Action, other_image: bool) -> Tree:
    image = {"container_image": DEPLOY_IMAGE} if other_image and entry.name in DEPLOY else {}
    return {
        "description": entry.summary,
        "command": f"ocdnet {entry.section} -e {{config_path}}",
        "config_format": "yaml",
        "mode": "config",
        **image,
        "inputs": {key: {"type": kind} for key, kind in INPUTS[entry.name].items()},
        "outputs": {key: {"type": kind} for key, kind in OUTPUTS.get(entry.name, _RESULTS).items()},
        "upload_excludes": ["lightning_logs/*", "inputs/*"],
    }


_PLAIN = re.compile(r"[A-Za-z][\w ./:{}()*,-]*[\w./}*]")
_NOT_TEXT = {"yes", "no", "on", "off", "true", "false", "null", "y", "n"}


def _lines(tree: Tree, indent: str) -> list[str]:
    lines: list[str] = []
    for key, value in tree.items():
        if isinstance(value, dict):
            lines += [f"{indent}{key}:", *_lines(value, f"{indent}  ")]
        elif isinstance(value, list):
            lines += [f"{indent}{key}:", *(f"{indent}  - {_scalar(item)}" for item in value)]
        else:
            lines.append(f"{indent}{key}: {_scalar(value)}")
    return lines


def _scalar(value: str | bool) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if not _PLAIN.fullmatch(value) or ": " in value or value.lower() in _NOT_TEXT:
        raise ValueError(f"{value!r} cannot stand in skill_info.yaml without quotes")
    return value

"""skill_info.yaml: what the skill's actions run, read and write, for agents and the AutoML client.

Readers by line exist: plain scalars, two spaces of indent, nothing behind a value.
"""

from __future__ import annotations

import re
from typing import Any

from ocdnet.catalogue import ACTIONS
from ocdnet.catalogue_entry import Action, Input

IMAGE = "nvcr.io/nvidia/tao/tao-toolkit:7.1.0-pyt"
DEPLOY_IMAGE = "nvcr.io/nvidia/tao/tao-toolkit:7.1.0-deploy"

Tree = dict[str, Any]

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
    deployed = [name for name, entry in ACTIONS.items() if entry.deploys]
    # The order of the published file: what builds the engine, then what uses it.
    deployed.sort(key=lambda name: ACTIONS[name].makes != "engine")
    names = {name.removeprefix("deploy_"): name for name in deployed}
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
            name: {item.key: source(item) for item in entry.data}
            for name, entry in entries.items()
            if entry.data
        },
        "spec_params": {name: entry.fills for name, entry in entries.items()},
        "spec_templates": {
            name: f"references/spec_template_{entry.name}.yaml" for name, entry in entries.items()
        },
        "schemas": {name: f"schemas/{entry.name}.schema.json" for name, entry in entries.items()},
    }


def source(item: Input) -> Tree:
    """Which dataset a spec key takes, as skill_info.yaml says it."""
    first, *others = item.sources
    return {
        "source": first.name,
        **({"alternative_source": others[0].name} if others else {}),
        "type": "image_folder" if item.images else "split_folder_or_datalist",
        "multiple_sources": item.many,
    }


def _action(entry: Action, other_image: bool) -> Tree:
    image = {"container_image": DEPLOY_IMAGE} if other_image and entry.deploys else {}
    outputs = {"results_dir": {"type": "folder"}}
    return {
        "description": entry.summary,
        "command": f"ocdnet {entry.section} -e {{config_path}}",
        "config_format": "yaml",
        "mode": "config",
        **image,
        "inputs": {item.key: {"type": item.kind} for item in entry.inputs},
        "outputs": outputs | {item.key: {"type": item.kind} for item in entry.outputs},
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

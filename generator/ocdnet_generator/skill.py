"""skill_info.yaml: what the skill's actions run, read and write, for agents and the AutoML client.

Readers by line exist: plain scalars, two spaces of indent, nothing behind a value.
"""

from __future__ import annotations

import re
from typing import Any

from ocdnet.catalogue import ACTIONS, EVAL_DATASET, TRAIN_DATASETS
from ocdnet.catalogue_entry import Action, Input
from ocdnet.shorthands import DEPLOY, TRAIN
from ocdnet_generator.schemas import AUTOML_ENABLED, NETWORK

IMAGE = "nvcr.io/nvidia/tao/tao-toolkit:7.1.0-pyt"
DEPLOY_IMAGE = "nvcr.io/nvidia/tao/tao-toolkit:7.1.0-deploy"

DATA_FORMAT = "default"

Tree = dict[str, Any]


def skill(templates: str = "references/") -> str:
    """Text of skill_info.yaml: every action, in the trainer's container unless it says another.

    Args:
        templates: the way from the file to the folder of the spec templates.
    """
    names = {name: name for name in ACTIONS}
    head = _head("tao-train-ocdnet", IMAGE, searched=AUTOML_ENABLED, devices="train")
    paths = {name: f"{templates}spec_template_{name}.yaml" for name in names}
    body = _body(names, paths, other_image=True)
    return text(head | body | {"spec_shorthand_keys": TRAIN})


def deploy() -> str:
    """Text of tao-deploy-ocdnet.skill_info.yaml: the deploy container's own command names."""
    deployed = [name for name, entry in ACTIONS.items() if entry.deploys]
    # The order of the published file: what builds the engine, then what uses it.
    deployed.sort(key=lambda name: ACTIONS[name].makes != "engine")
    names = {name.removeprefix("deploy_"): name for name in deployed}
    head = _head("tao-deploy-ocdnet", DEPLOY_IMAGE, searched=False, devices="evaluate")
    paths = {name: deploy_template(name) for name in names}
    body = _body(names, paths, other_image=False)
    return text(head | body | {"spec_shorthand_keys": DEPLOY})


def deploy_template(name: str) -> str:
    """The file name of a deploy action's template, by the deploy container's command."""
    return f"spec_template_deploy_{name}.yaml"


def _head(name: str, image: str, *, searched: bool, devices: str) -> Tree:
    """What is said of the skill as a whole; its devices are counted in a section of that name."""
    return {
        "name": name,
        "network_arch": NETWORK,
        "automl_enabled": searched,
        "container_image": image,
        "dataset_type": NETWORK,
        "data_format": DATA_FORMAT,
        "monitoring_metric": "hmean",
        "gpu_spec_key": f"{devices}.num_gpus",
        "node_spec_key": f"{devices}.num_nodes",
    }


def text(tree: Tree) -> str:
    """A tree as block YAML of plain scalars.

    Raises:
        ValueError: a scalar that would need quotes.
    """
    return "\n".join(_lines(tree, "")) + "\n"


def _body(names: dict[str, str], templates: dict[str, str], *, other_image: bool) -> Tree:
    """The parts that list actions: under which name, the registry's entry and the template."""
    entries = {name: ACTIONS[entry] for name, entry in names.items()}
    return {
        "actions": {name: _action(entry, other_image) for name, entry in entries.items()},
        "data_sources": {
            name: dict(map(source, entry.data)) for name, entry in entries.items() if entry.data
        },
        "spec_params": {name: entry.fills for name, entry in entries.items()},
        "spec_templates": templates,
        "schemas": {name: f"schemas/{entry.name}.schema.json" for name, entry in entries.items()},
    }


def source(item: Input) -> tuple[str, Tree]:
    """A spec key that takes a dataset, and which one.

    NVIDIA's AutoML client puts the URI of a training or an evaluation dataset at the key: of a
    list as its first item, the folder itself where `path_from_format` has a list, else what `path`
    names in it. It acts on no other source.
    """
    first, *others = item.sources
    said: Tree = {
        "source": first.name,
        **({"alternative_source": others[0].name} if others else {}),
        "type": "image_folder" if item.images else "split_folder_or_datalist",
        "multiple_sources": item.many,
    }
    if first not in (TRAIN_DATASETS, EVAL_DATASET):
        return item.key, said
    if item.images:
        return item.key, said | {"path": "img"}
    return f"{item.key}[0]", said | {"path_from_format": {DATA_FORMAT: ["img", "gt"]}}


def _action(entry: Action, other_image: bool) -> Tree:
    image = {"container_image": DEPLOY_IMAGE} if other_image and entry.deploys else {}
    outputs = {"results_dir": {"type": "folder"}}
    return {
        "description": entry.summary,
        "command": f"ocdnet {entry.section} -e {{config_path}}",
        "config_format": "yaml",
        "mode": "config",
        **image,
        "inputs": {item.key: _input(item) for item in entry.inputs},
        "outputs": outputs | {item.key: {"type": item.kind} for item in entry.outputs},
        "upload_excludes": _not_uploaded(entry),
    }


def _input(item: Input) -> Tree:
    """What an input is; one that only some values of other keys ask for can be left out, too."""
    left_out = item.optional or item.when is not None
    return {"type": item.kind, **({"optional": True} if left_out else {})}


def _not_uploaded(entry: Action) -> list[str]:
    """Patterns below the results folder, as `fnmatch` has them (`*` takes slashes, too).

    A training's curves; what the platform downloaded for the job.
    """
    logs = ("lightning_logs", "wandb") if entry.trains else ()
    return [*(f"{entry.section}/{name}/*" for name in logs), "inputs/*"]


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

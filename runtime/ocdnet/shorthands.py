"""Short names of keys that are often set, as skill_info.yaml lists them: `epochs=30`."""

from __future__ import annotations

import re
from collections.abc import Sequence

from ocdnet.catalogue_entry import Action
from ocdnet.spec_keys import (
    BATCH,
    ENGINE_PRECISION,
    NUM_EPOCHS,
    NUM_GPUS,
    NUM_NODES,
    TRAIN_PRECISION,
    WARMUP,
)
from ocdnet.tree import nodes
from ocdnet.tree.nodes import Node
from ocdnet.tree.problems import SpecFieldError

TRAIN = {
    "backbone": "model.backbone",
    "batch_size": BATCH,
    "box_thresh": "train.post_processing.args.box_thresh",
    "checkpoint_interval": "train.checkpoint_interval",
    "epochs": NUM_EPOCHS,
    "learning_rate": "train.optimizer.args.lr",
    "num_epochs": NUM_EPOCHS,
    "num_gpus": NUM_GPUS,
    "num_nodes": NUM_NODES,
    "precision": TRAIN_PRECISION,
    "thresh": "train.post_processing.args.thresh",
    "validation_interval": "train.validation_interval",
    "warmup_epoch": WARMUP,
}
"""Those of skill_info.yaml."""

DEPLOY = {
    "backbone": "model.backbone",
    "batch_size": "gen_trt_engine.batch_size",
    "box_thresh": "evaluate.post_processing.args.box_thresh",
    "data_type": ENGINE_PRECISION,
    "height": "gen_trt_engine.height",
    "max_batch_size": "gen_trt_engine.tensorrt.max_batch_size",
    "min_batch_size": "gen_trt_engine.tensorrt.min_batch_size",
    "num_gpus": "evaluate.num_gpus",
    "num_nodes": "evaluate.num_nodes",
    "opt_batch_size": "gen_trt_engine.tensorrt.opt_batch_size",
    "thresh": "evaluate.post_processing.args.thresh",
    "width": "gen_trt_engine.width",
    "workspace_size": "gen_trt_engine.tensorrt.workspace_size",
}
"""Those of the deploy skill_info."""

_OVERRIDE = re.compile(r"([+~]*)(\w+)(|=.*)", re.DOTALL)


def expanded(overrides: Sequence[str], entry: Action, root: Node | None) -> tuple[str, ...]:
    """The overrides of an action with the dotted key in place of each short name.

    Args:
        overrides: `key=value` texts.
        entry: the action. Of a name that both tables have, its key is the one that it reads.
        root: schema to find the key in that was meant instead; None: there is none.

    Raises:
        SpecFieldError: `key-not-read`: the action does not read the key of a short name.
    """
    return tuple(_expanded(override, entry, root) for override in overrides)


def short_names(entry: Action) -> dict[str, str]:
    """The short names of an action, each with the key that it stands for there."""
    return {n: key for table in (DEPLOY, TRAIN) for n, key in table.items() if _reads(entry, key)}


def _expanded(override: str, entry: Action, root: Node | None) -> str:
    match = _OVERRIDE.fullmatch(override)
    name = match[2] if match else ""
    meant = [table[name] for table in (TRAIN, DEPLOY) if name in table]
    if match is None or not meant:
        return override
    key = next((key for key in meant if _reads(entry, key)), None)
    if key is None:
        raise _not_read(override, name, meant[0], entry, root)
    return f"{match[1]}{key}{match[3]}"


def _reads(entry: Action, key: str) -> bool:
    return key.partition(".")[0] in entry.reads and entry.uses(key)


def _not_read(
    override: str, name: str, key: str, entry: Action, root: Node | None
) -> SpecFieldError:
    last = key.rpartition(".")[2]
    named = [k for k, _ in nodes.leaves(root) if k.rpartition(".")[2] == last] if root else []
    near = [k for k in named if _reads(entry, k)]
    near.sort(key=lambda k: not k.startswith(f"{entry.section}."))
    short = sorted(short_names(entry))
    return SpecFieldError(
        "key-not-read",
        name,
        f"{name!r} is short for {key!r}, which {entry.name} does not read",
        got=override,
        expected=f"a dotted key, or one of {', '.join(short)}",
        did_you_mean=near[0] if near else None,
    )

"""TAO OCDNet's keys: tests/golden/tao_spec_keys.json.xz was read off TAO's published schemas."""

import json
import lzma
from pathlib import Path

import pytest

from ocdnet.catalogue import ACTIONS
from ocdnet.config import schema
from ocdnet.tree import nodes
from ocdnet_generator import schemas

with lzma.open(Path(__file__).parents[1] / "golden/tao_spec_keys.json.xz", "rt") as _file:
    KEYS = json.load(_file)["keys"]

# Where our default is not TAO's. An unset list is [], not null.
DEFAULTS = {
    "dataset.train_dataset.loader.num_workers": -1,
    "dataset.validate_dataset.loader.num_workers": -1,
    "export.opset_version": 19,
    "gen_trt_engine.tensorrt.calibration.cal_image_dir": [],
    "wandb.enable": False,
}
SIDES = [
    f"{name}.{s}" for name in ("export", "inference", "gen_trt_engine") for s in ("width", "height")
]
MINIMA = {
    "dataset.train_dataset.loader.num_workers": -1,
    "dataset.validate_dataset.loader.num_workers": -1,
    "train.lr_scheduler.args.warmup_epoch": 0,
    "train.num_gpus": -1,
    "model.inner_channels": 32,
    **dict.fromkeys(SIDES, 32),
}
# What can be searched has finite bounds; numpy takes no larger seed.
MAXIMA = {
    "train.seed": 2**32 - 1,
    "dataset.train_dataset.loader.batch_size": 1024,
    "dataset.validate_dataset.loader.batch_size": 1024,
    "train.loss.alpha": 1000,
    "train.loss.beta": 1000,
    "train.loss.ohem_ratio": 1000,
    "train.optimizer.args.lr": 1,
    "train.optimizer.args.weight_decay": 1,
}
# Choices of ours stand behind TAO's.
RESNETS = [f"resnet{depth}" for depth in (18, 34, 50, 101, 152)]
CHOICES = {"model.backbone": [*RESNETS, "mobilenet_v2", "mobilenet_v3_large"]}
OURS = {
    "evaluate.coco_ap",
    "evaluate.reuse_maps",
    "export.dynamic_size",
    "gen_trt_engine.backend",
    "gen_trt_engine.max_size",
    "gen_trt_engine.min_size",
    "inference.num_threads",
    "inference.outputs",
    "inference.recursive",
    "inference.resize",
    "inference.shard",
    "inference.shards",
    "inference.skip_unreadable",
    "max_megapixels",
    "model.neck_block",
    "model.preset",
    "train.accumulate_grad_batches",
    "train.compile",
    "train.keep_checkpoints",
    "train.lr_scheduler.args.per_step",
    "train.max_minutes",
}

LEAVES = dict(schema.leaves())


def test_the_keys_are_taos_and_ours():
    assert set(LEAVES) == set(KEYS) | OURS


@pytest.mark.parametrize("key", KEYS)
def test_key_is_taos(key):
    tao, ours = KEYS[key], LEAVES[key]
    assert nodes.core(ours)["type"] == tao["type"]
    assert ours["default"] == DEFAULTS.get(key, tao["default"])
    assert ours.get("minimum") == MINIMA.get(key, tao.get("minimum"))
    assert ours.get("maximum") == MAXIMA.get(key, tao.get("maximum"))
    for name in ("pattern", "math_cond", "automl_enabled"):
        assert ours.get(name) == tao.get(name)
    if "enum" in tao:
        assert ours["enum"] == [*tao["enum"], *CHOICES.get(key, [])]
    if tao.get("popular"):
        assert ours["popular"]


@pytest.mark.parametrize("key", LEAVES)
def test_key_is_described(key):
    assert LEAVES[key]["description"].endswith(".")


def test_actions_name_keys_and_sections_that_exist():
    for action in ACTIONS.values():
        assert action.section in action.sections
        assert {*action.required, *action.defaults} <= set(LEAVES)
        assert set(action.sections) <= set(schema.experiment()["properties"])


# Sections that each action reads, beside the root keys.
READS = {
    "train": {"dataset", "model", "train", "wandb"},
    "retrain": {"dataset", "model", "train", "wandb"},
    **{
        action: {"dataset", "model", action}
        for action in ("evaluate", "inference", "export", "prune", "quantize", "gen_trt_engine")
    },
    "deploy_evaluate": {"dataset", "model", "evaluate"},
    "deploy_inference": {"dataset", "model", "inference"},
}
BY_ACTION = {
    ("retrain", "model.load_pruned_graph"): True,
    # Required, and a template shows what is required as ???.
    ("retrain", "model.pruned_graph_path"): "???",
    ("quantize", "quantize.model_path"): "???",
    ("deploy_evaluate", "evaluate.checkpoint"): "",
    ("deploy_evaluate", "evaluate.trt_engine"): "???",
    ("deploy_inference", "inference.checkpoint"): "",
    ("deploy_inference", "inference.trt_engine"): "???",
}


@pytest.mark.parametrize("action", READS)
def test_every_tao_key_is_in_the_schema_of_each_action_that_reads_it(action):
    root = {"results_dir", "encryption_key", "model_name"}
    read = {key for key in KEYS if key in root or key.partition(".")[0] in READS[action]}
    found = dict(nodes.leaves(schemas.build(action)))
    assert set(found) - OURS == read
    for key in read:
        default = DEFAULTS.get(key, KEYS[key]["default"])
        assert found[key]["default"] == BY_ACTION.get((action, key), default), key
        assert nodes.core(found[key])["type"] == KEYS[key]["type"], key


def test_every_action_is_listed():
    assert set(READS) == set(ACTIONS)

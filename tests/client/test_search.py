"""NVIDIA's AutoML client, as published, searches this skill folder."""

from __future__ import annotations

import copy
import json
import math
from pathlib import Path

import jsonschema
import pytest

from ocdnet.config import spec
from ocdnet.policy.artifacts import Skill, skill_dir
from ocdnet.policy.request import Request
from plans import build

pytestmark = [
    pytest.mark.client,
    # Its Gaussian process says so of every flat toy objective.
    pytest.mark.filterwarnings("ignore:The optimal value found"),
]
tao_automl = pytest.importorskip("tao_automl", reason="`make test-client` installs it")
runner = pytest.importorskip("tao_automl.runner")

ROOT = Path(__file__).resolve().parents[2]
DEFAULT = ["train.optimizer.args.lr", "train.optimizer.args.weight_decay"]
ON_REQUEST = [
    "dataset.train_dataset.loader.batch_size",
    "train.loss.alpha",
    "train.loss.beta",
    "train.loss.ohem_ratio",
    "train.model_ema_decay",
    "train.optimizer.type",
]
TRAIN_DATA = "dataset.train_dataset.data_path"
ALGORITHMS = ["bayesian", "hyperband", "asha", "bohb", "bfbo", "dehb", "pbt"]
SPLITS = [
    ("train", ["train", "validate"]),
    ("retrain", ["train", "validate"]),
    ("quantize", ["train", "validate"]),
    ("evaluate", ["validate"]),
    ("prune", ["validate"]),
    ("deploy_evaluate", ["validate"]),
]


@pytest.fixture(scope="module")
def context():
    return runner.SkillContext(skill_dir=ROOT, action="train")


def node_of(schema, key):
    for name in key.split("."):
        schema = schema["properties"][name]
    return schema


def limits(schema, key):
    """The choices of a key, or the ends of its range, that its `search` tells."""
    node = node_of(schema, key)
    search = node["search"]
    choices = search.get("choices")
    if "enum" in node:
        return choices
    return (min(choices), max(choices)) if choices else (search["min"], search["max"])


@pytest.fixture(scope="module")
def planned():
    """The ranges that a plan hands to the client."""
    wanted = Request(action="train", overrides=(f"{TRAIN_DATA}=[s3://b/t]",), platform="tao-docker")
    return build(wanted, Skill(skill_dir()), "ocdnet")["route"]["custom_param_ranges"]


def started(context, tmp_path, algorithm, keys, custom):
    """A search, and the spec that its recommendations change."""
    base = copy.deepcopy(context.default_specs)
    base["dataset"]["train_dataset"]["data_path"] = ["/data/train"]
    settings = {
        "algorithm": algorithm,
        "metric": "train_loss",
        "direction": "minimize",
        "automl_max_recommendations": 8,
        "automl_max_epochs": 9,
    }
    return base, tao_automl.AutoML(
        workspace=str(tmp_path),
        network=context.network_arch,
        train_specs=base,
        settings=settings,
        automl_hyperparameters=keys,
        custom_param_ranges=custom,
        action="train",
        search_schema=context.schema,
    )


def recommendations(context, tmp_path, algorithm, keys, custom):
    """Ten or so recommendations, each answered with a loss; and the spec they change."""
    base, search = started(context, tmp_path, algorithm, keys, custom)
    made = []
    for _ in range(20):
        if search.is_complete() or len(made) >= 8:
            break
        for recommendation in search.next_recommendation():
            made.append(dict(recommendation.specs))
            search.report_result(recommendation.id, 1 / (1 + len(made)))
    return base, made


def check(context, base, made, keys):
    """Each has the keys, stays in the ranges worth searching, and its merged spec is valid."""
    validator = jsonschema.Draft202012Validator(context.schema)
    assert len(made) >= 4
    for changes in made:
        assert set(keys) <= set(changes)
        for key in keys:
            value, searched = changes[key], limits(context.schema, key)
            if isinstance(value, str):
                assert value in searched
            else:
                assert min(searched) <= value <= max(searched) * (1 + 1e-9), key
        merged = json.loads(json.dumps(runner.AutoMLRunner._merge_specs(base, changes)))
        validator.validate(spec.normalised("train", merged))
        spec.resolve("train", merged)


def test_the_folder_is_a_skill(context):
    assert context.network_arch == "ocdnet"
    assert context.container_image == "nvcr.io/nvidia/tao/tao-toolkit:7.1.0-pyt"
    assert context.action_cfg["command"] == "ocdnet train -e {config_path}"
    assert context.default_specs == context.schema["default"]
    assert "dataset.train_dataset.data_path" in context.valid_spec_keys


@pytest.mark.parametrize("action", ["train", "retrain"])
def test_the_strict_mode_of_external_schemas_accepts_ours(action):
    context = runner.SkillContext(skill_dir=ROOT, action=action)
    path = ROOT / f"schemas/{action}.schema.json"
    runner._validate_external_automl_schema(context.schema, path)
    runner._validate_specs_against_schema(
        context.default_specs, context.schema, path, require_all=False
    )


@pytest.mark.parametrize("algorithm", ALGORITHMS)
@pytest.mark.parametrize("by_plan", [False, True], ids=["schema alone", "a plan's ranges"])
def test_default_search(context, tmp_path, planned, algorithm, by_plan):
    custom = planned if by_plan else {}
    base, made = recommendations(context, tmp_path, algorithm, None, custom)
    assert {key for key in made[0] if key in DEFAULT + ON_REQUEST} == set(DEFAULT)
    check(context, base, made, DEFAULT)


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_search_of_what_is_asked_for(context, tmp_path, algorithm):
    base, made = recommendations(context, tmp_path, algorithm, ON_REQUEST, {})
    check(context, base, made, ON_REQUEST)


def test_a_caller_s_own_range_goes_before_the_schema_s(context, tmp_path):
    narrow = {"train.optimizer.args.lr": {"valid_min": 1e-4, "valid_max": 2e-4}}
    _, made = recommendations(context, tmp_path, "bayesian", None, narrow)
    assert all(1e-4 <= changes["train.optimizer.args.lr"] <= 2e-4 for changes in made)


def test_a_plan_s_ranges_are_sampled_on_a_log_scale(context, tmp_path, planned):
    """The middle of what the client draws from is the geometric one, of the schema's the mean."""
    key = "train.optimizer.args.lr"
    low, high = limits(context.schema, key)
    middles = []
    for folder, custom in (("plan", planned), ("schema", {})):
        _, search = started(context, tmp_path / folder, "bayesian", [key], custom)
        brain = search._controller.brain
        middles.append(brain.generate_automl_param_rec_value(dict(brain.parameters[0]), 0.5))
    assert middles == [pytest.approx(math.sqrt(low * high)), pytest.approx((low + high) / 2)]


def test_what_is_never_searched_is_refused(context, tmp_path):
    with pytest.raises(ValueError, match="cannot search"):
        recommendations(context, tmp_path, "bayesian", ["train.seed"], {})


@pytest.mark.parametrize(("action", "read"), SPLITS)
def test_dataset_uris_arrive_as_split_folders_in_lists(action, read):
    """Remote folders and local ones, with a slash behind them or not."""
    context = runner.SkillContext(skill_dir=ROOT, action=action)
    for train, test in (("s3://b/train", "aws://b/test"), ("/data/train/", "/data/test")):
        specs = copy.deepcopy(context.default_specs)
        form = context.skill_info["data_format"]
        runner.AutoMLRunner._apply_data_sources(
            context.skill_info, specs, action, train, test, form
        )
        read_by = {"train": train.rstrip("/"), "validate": test.replace("aws", "s3")}
        for name in read:
            assert specs["dataset"][f"{name}_dataset"]["data_path"] == [f"{read_by[name]}/"]
        untouched = copy.deepcopy(specs)
        for name in read:
            untouched["dataset"][f"{name}_dataset"]["data_path"] = []
        if action == "quantize":
            calibration = specs["dataset"]["quant_calibration_dataset"]
            assert calibration["images_dir"] == f"{read_by['train']}/img"
            untouched["dataset"]["quant_calibration_dataset"]["images_dir"] = ""
        assert spec.normalised(action, untouched) == spec.normalised(action, context.default_specs)


@pytest.mark.parametrize("action", ["inference", "deploy_inference", "gen_trt_engine", "export"])
def test_sources_that_the_client_does_not_know_are_left_to_the_caller(action):
    context = runner.SkillContext(skill_dir=ROOT, action=action)
    specs = copy.deepcopy(context.default_specs)
    runner.AutoMLRunner._apply_data_sources(
        context.skill_info, specs, action, "/data/train", "/data/test", "default"
    )
    assert specs == context.default_specs


def test_a_plan_s_lists_of_folders_go_before_the_uris(context):
    specs = copy.deepcopy(context.default_specs)
    runner.AutoMLRunner._apply_data_sources(
        context.skill_info, specs, "train", "/data/train", "/data/test", "default"
    )
    merged = runner.AutoMLRunner._merge_specs(specs, {TRAIN_DATA: ["/data/a", "/data/b"]})
    loaded = spec.resolve("train", merged).experiment
    assert loaded.dataset.train_dataset.data_path == ["/data/a", "/data/b"]
    assert loaded.dataset.validate_dataset.data_path == ["/data/test/"]

"""NVIDIA's AutoML client, as published, searches this skill folder."""

from __future__ import annotations

import copy
import json
from pathlib import Path

import jsonschema
import pytest

from ocdnet.config import spec

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


@pytest.fixture(scope="module")
def context():
    return runner.SkillContext(skill_dir=ROOT, action="train")


def node_of(schema, key):
    for name in key.split("."):
        schema = schema["properties"][name]
    return schema


def ranges(schema, keys):
    """What the skill's plan hands to the client as `custom_param_ranges`, from `search`."""
    found = {}
    for key in keys:
        node = node_of(schema, key)
        search = node["search"]
        choices = search.get("choices")
        if "enum" in node:
            found[key] = {"valid_options": choices}
            continue
        ends = (min(choices), max(choices)) if choices else (search["min"], search["max"])
        found[key] = {"valid_min": ends[0], "valid_max": ends[1]}
    return found


def recommendations(context, tmp_path, algorithm, keys, custom):
    """Ten or so recommendations, each answered with a loss; and the spec they change."""
    base = copy.deepcopy(context.default_specs)
    base["dataset"]["train_dataset"]["data_path"] = ["/data/train"]
    settings = {
        "algorithm": algorithm,
        "metric": "train_loss",
        "direction": "minimize",
        "automl_max_recommendations": 8,
        "automl_max_epochs": 9,
    }
    search = tao_automl.AutoML(
        workspace=str(tmp_path),
        network=context.network_arch,
        train_specs=base,
        settings=settings,
        automl_hyperparameters=keys,
        custom_param_ranges=custom,
        action="train",
        search_schema=context.schema,
    )
    made = []
    for _ in range(20):
        if search.is_complete() or len(made) >= 8:
            break
        for recommendation in search.next_recommendation():
            made.append(dict(recommendation.specs))
            search.report_result(recommendation.id, 1 / (1 + len(made)))
    return base, made


def check(context, base, made, keys, custom):
    """Each has the keys, stays in its bounds, and its merged spec is valid."""
    validator = jsonschema.Draft202012Validator(context.schema)
    assert len(made) >= 4
    for changes in made:
        assert set(keys) <= set(changes)
        for key in keys:
            value, node, limits = changes[key], node_of(context.schema, key), custom.get(key, {})
            if "enum" in node:
                assert value in limits.get("valid_options", node["enum"])
            else:
                low = limits.get("valid_min", node["minimum"])
                high = limits.get("valid_max", node["maximum"])
                assert low <= value <= high, key
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


@pytest.mark.parametrize("algorithm", ["bayesian", "hyperband", "asha", "bohb"])
@pytest.mark.parametrize("ranged", [False, True], ids=["validity", "search ranges"])
def test_default_search(context, tmp_path, algorithm, ranged):
    custom = ranges(context.schema, DEFAULT) if ranged else {}
    base, made = recommendations(context, tmp_path, algorithm, None, custom)
    assert set(made[0]) - {"train.num_epochs"} == set(DEFAULT)
    check(context, base, made, DEFAULT, custom)


@pytest.mark.parametrize("algorithm", ["bayesian", "hyperband", "asha", "bohb"])
def test_search_of_what_is_asked_for(context, tmp_path, algorithm):
    custom = ranges(context.schema, ON_REQUEST)
    base, made = recommendations(context, tmp_path, algorithm, ON_REQUEST, custom)
    check(context, base, made, ON_REQUEST, custom)


def test_what_is_never_searched_is_refused(context, tmp_path):
    with pytest.raises(ValueError, match="cannot search"):
        recommendations(context, tmp_path, "bayesian", ["train.seed"], {})


def test_data_sources_leave_the_paths_to_the_caller(context):
    specs = copy.deepcopy(context.default_specs)
    runner.AutoMLRunner._apply_data_sources(
        context.skill_info, specs, "train", "/data/train", "/data/test", "default"
    )
    assert specs == context.default_specs
    given = {"dataset.train_dataset.data_path": ["/data/train"]}
    merged = runner.AutoMLRunner._merge_specs(specs, given)
    assert spec.resolve("train", merged).experiment.dataset.train_dataset.data_path == [
        "/data/train"
    ]

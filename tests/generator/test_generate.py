"""Generated schemas and templates: valid, in the dialect, and up to date."""

import json
import math
import os
import shutil
import subprocess
import sys

import bpe_openai
import jsonschema
import pytest

from ocdnet.catalogue import ACTIONS
from ocdnet.catalogue_entry import ROOT_KEYS
from ocdnet.config import spec
from ocdnet.config.schema import extras
from ocdnet.tree import yaml_io
from ocdnet_generator import main, schemas, templates

NODE = {
    "type",
    "enum",
    "minimum",
    "maximum",
    "multipleOf",
    "pattern",
    "minItems",
    "maxItems",
    "anyOf",
    "items",
    "properties",
    "additionalProperties",
    "required",
    "default",
    "title",
    "description",
    "automl_enabled",
    "option_weights",
    "math_cond",
    "depends_on",
    "parent_param",
    "popular",
    "search",
    "x_words",
}
ROOT = NODE - {"search"} | {
    "$schema",
    "allOf",
    "automl_default_parameters",
    "automl_disabled_parameters",
    "x_tao_schema",
}
RULE = {"if", "then", "not", "title", "description", "properties", "required"}
RULE |= {"type", "enum", "minItems", "pattern", "items", "x_rule"}
FILL = {
    "train": ["dataset.train_dataset.data_path=[/t]"],
    "retrain": ["dataset.train_dataset.data_path=[/t]", "model.pruned_graph_path=p.pth"],
    "evaluate": ["evaluate.checkpoint=m.pth", "dataset.validate_dataset.data_path=[/v]"],
    "inference": ["inference.checkpoint=m.pth", "inference.input_folder=/i"],
    "export": ["export.checkpoint=m.pth"],
    "prune": ["prune.checkpoint=m.pth"],
    "quantize": ["quantize.model_path=m.pth"],
    "deploy_evaluate": ["evaluate.trt_engine=m.engine", "dataset.validate_dataset.data_path=[/v]"],
    "deploy_inference": ["inference.trt_engine=m.engine", "inference.input_folder=/i"],
    "gen_trt_engine": ["gen_trt_engine.onnx_file=m.onnx", "gen_trt_engine.trt_engine=m.engine"],
}

every_action = pytest.mark.parametrize("action", ACTIONS)


def strict(text):
    def refuse(name):
        raise AssertionError(name)

    return json.loads(text, parse_constant=refuse)


def nodes(node, path=""):
    for name, child in node.get("properties", {}).items():
        yield f"{path}{name}", child
        yield from nodes(child, f"{path}{name}.")
    if "items" in node:
        yield f"{path}items", node["items"]
        yield from nodes(node["items"], f"{path}items.")


def keys(schema):
    return {path for path, node in nodes(schema) if "properties" not in node}


def keywords(node):
    """Every keyword of a rule, and that each property in it has a type."""
    yield from node
    for name in ("if", "then", "not", "items"):
        if name in node:
            yield from keywords(node[name])
    for child in node.get("properties", {}).values():
        assert isinstance(child["type"], str)
        yield from keywords(child)


@every_action
def test_schema_is_in_the_dialect(action):
    published = strict(schemas.text(action))
    jsonschema.Draft202012Validator.check_schema(published)
    schema = schemas.build(action)
    assert {k: v for k, v in published.items() if k not in ("properties", "propertyNames")} == {
        k: v for k, v in schema.items() if k != "properties"
    }
    assert set(schema) <= ROOT
    for path, node in nodes(schema):
        assert set(node) <= NODE, path
        assert isinstance(node.get("type", ""), str), path
        assert ("type" in node) != ("anyOf" in node), path
        assert node.get("additionalProperties", False) is False, path
        assert "properties" not in node or "additionalProperties" in node, path
        assert "type" in node or node["anyOf"][1:] == [{"type": "null"}], path
        for bound in ("minimum", "maximum"):
            assert math.isfinite(node.get(bound, 0)), path
        if not path.endswith("items"):
            assert node["title"] == path.rpartition(".")[2], path
            assert node.get("description", "").endswith("."), path
            assert "properties" in node or "default" in node, path
    for rule in schema["allOf"]:
        assert rule["title"] in keys(schema)
        assert rule["description"].endswith(".")
        assert set(keywords(rule)) <= RULE, rule


@every_action
def test_searched_parameters(action):
    schema = schemas.build(action)
    searched = {path: node for path, node in nodes(schema) if node.get("automl_enabled")}
    assert sorted(searched) == schema["automl_default_parameters"]
    if ACTIONS[action].automl != "never":
        assert list(searched) == ["train.optimizer.args.lr", "train.optimizer.args.weight_decay"]
        for node in searched.values():
            assert 0 <= node["minimum"] < node["search"]["min"] < node["search"]["max"]
            assert node["search"]["max"] <= node["maximum"]
            assert node["search"]["scale"] == "log"
        on_request = {
            path: node["search"].get("metric")
            for path, node in nodes(schema)
            if "search" in node and "automl_enabled" not in node
        }
        assert on_request == {
            "dataset.train_dataset.loader.batch_size": None,
            "train.model_ema_decay": None,
            "train.optimizer.type": None,
            "train.loss.alpha": "hmean",
            "train.loss.beta": "hmean",
            "train.loss.ohem_ratio": "hmean",
        }
        unsearched = set(schema["automl_disabled_parameters"])
        # No client can search a list; `ocdnet automl` reads its `search`, for hmean alone.
        steps = dict(nodes(schema))["dataset.train_dataset.args.pre_processes"]
        assert steps["search"]["metric"] == "hmean"
        assert steps["default"] in steps["search"]["choices"]
        assert "dataset.train_dataset.args.pre_processes" in unsearched
        assert {"results_dir", "train.num_epochs", "train.seed"} <= unsearched
    else:
        assert "automl_enabled" not in schemas.text(action)
        assert schema["automl_default_parameters"] == schema["automl_disabled_parameters"] == []
        assert "option_weights" not in schemas.text(action)
        assert not any("search" in node for _, node in nodes(schema))


@every_action
def test_what_can_be_searched_is_bounded_and_its_range_valid(action):
    for path, node in nodes(schemas.build(action)):
        search = node.get("search")
        if search is None or node["type"] == "array":
            continue
        if "enum" in node:
            assert set(search["choices"]) <= set(node["enum"]), path
            assert len(node.get("option_weights", node["enum"])) == len(node["enum"]), path
            continue
        tried = search.get("choices") or [search["min"], search["max"]]
        assert all(0 <= node["minimum"] <= value <= node["maximum"] for value in tried), path
        assert node["type"] != "integer" or "." not in node.get("math_cond", ""), path
        # At the lower end the client proposes 1.1 times that: it has to be valid, too.
        assert node["type"] != "number" or 1.1 * min(tried) <= max(tried), path


@every_action
def test_depends_on_names_a_key_of_the_schema(action):
    schema = schemas.build(action)
    for path, node in nodes(schema):
        assert node.get("depends_on", "results_dir") in keys(schema), path


@every_action
def test_the_client_s_ranges_are_the_searched_ones_and_no_keys_of_a_spec(action):
    schema = strict(schemas.text(action))
    leaves = dict(nodes(schemas.build(action)))
    ranges = {key: schema["properties"][key] for key in schema["properties"] if "." in key}
    searched = {
        key
        for key, node in leaves.items()
        if "search" in node and node.get("automl_enabled") is not False
    }
    assert set(ranges) == searched
    for key, node in ranges.items():
        search = leaves[key]["search"]
        assert node["type"] == leaves[key]["type"]
        assert node.get("automl_enabled") == leaves[key].get("automl_enabled")
        if "enum" in leaves[key]:
            assert node["enum"] == search["choices"]
        else:
            tried = search.get("choices") or [search["min"], search["max"]]
            assert (node["minimum"], node["maximum"]) == (min(tried), max(tried))
    tree = spec.read(None, FILL[action])
    jsonschema.validate(tree, schema)
    for key, node in ranges.items():
        taken = node["enum"][0] if "enum" in node else node["minimum"]
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate(tree | {key: taken}, schema)


def test_what_is_valid_is_wider_than_what_is_searched():
    """A spec of TAO's with a high learning rate is valid by the file that the client reads."""
    wide = ["train.optimizer.args.lr=0.05", "train.optimizer.type=SGD"]
    tree = spec.read(None, [*FILL["train"], *wide])
    jsonschema.validate(tree, strict(schemas.text("train")))
    assert spec.problems("train", tree) == []


def test_lists_are_sorted():
    for action in ACTIONS:
        schema = schemas.build(action)
        for name in ("popular", "automl_default_parameters", "automl_disabled_parameters"):
            assert schema[name] == sorted(schema[name])
            assert set(schema[name]) <= keys(schema)


def test_manifest_finds_every_schema_and_template():
    whole = schemas.manifest()
    assert {key: value for key, value in whole.items() if key != "actions"} == {
        "schema_version": 1,
        "model": "ocdnet",
        "network_arch": "ocdnet",
        "automl_enabled": True,
    }
    manifest, files = whole["actions"], main.outputs()
    assert list(manifest) == sorted(ACTIONS)
    for action, entry in manifest.items():
        schema = strict(files[entry["path"]])
        assert entry["spec_template"] in files
        assert schema["x_tao_schema"]["core_module"] == entry["core_module"]
        assert schema["x_tao_schema"]["action"] == action
        assert entry["schema_action"] in schema["properties"]
        for name in ("popular", "automl_default_parameters", "automl_disabled_parameters"):
            assert entry[name] == schema[name]


@every_action
def test_schema_default_is_the_template(action):
    schema, text = schemas.build(action), templates.text(action)
    template = yaml_io.parse(text, "template")
    assert schema["default"] == template
    assert set(schema["properties"]) == {*ROOT_KEYS, *ACTIONS[action].sections}
    for path, node in nodes(schema):
        if "default" in node and path not in extras():
            value = template
            for name in path.split("."):
                value = value[name]
            assert value == node["default"], path
    assert "max_minutes" not in text


@every_action
def test_filled_template_is_accepted_by_dataclasses_and_schema(action, tmp_path):
    path = tmp_path / "spec.yaml"
    path.write_text(templates.text(action))
    loaded = spec.load(action, path, FILL[action])
    assert not loaded.notices
    tree = spec.read(path, FILL[action])
    jsonschema.validate(tree, schemas.build(action))
    # A template states defaults and nothing else: without it the experiment is the same.
    assert loaded.experiment == spec.load(action, None, FILL[action]).experiment


@every_action
def test_template_asks_first_for_what_is_required(action, tmp_path):
    path = tmp_path / "spec.yaml"
    path.write_text(templates.text(action))
    assert {p.code for p in spec.problems(action, spec.read(path))} == {"missing-value"}
    lines = [line.strip() for line in path.read_text().splitlines()]
    for key in ACTIONS[action].required:
        name = key.rpartition(".")[2]
        at = next(i for i, line in enumerate(lines) if line.startswith(f"{name}:"))
        assert lines[at - 1].startswith("# Required. ")


def test_train_template_is_affordable():
    tokens = bpe_openai.get_encoding("o200k_base").encode(templates.text("train"))
    assert len(tokens) <= 1500


def test_retrain_loads_the_pruned_graph():
    schema = schemas.build("retrain")
    assert schema["default"]["model"]["load_pruned_graph"] is True
    assert schema["properties"]["model"]["properties"]["load_pruned_graph"]["default"] is True


def test_committed_files_are_up_to_date(capsys):
    code = main.main(["--check"])
    assert code == 0, capsys.readouterr().err


def test_check_fails_with_a_diff_and_the_mending_command(tmp_path, capsys):
    assert main.main(["--root", str(tmp_path)]) == 0
    assert main.main(["--root", str(tmp_path), "--check"]) == 0
    schema = tmp_path / "schemas/train.schema.json"
    schema.write_text(schema.read_text().replace('"Epochs to train."', '"Edited by hand."'))
    (tmp_path / "schemas/gone.schema.json").write_text("{}")
    (tmp_path / "schemas/plan.schema.json").write_text("by hand")
    (tmp_path / "references/spec_template_export.yaml").unlink()
    capsys.readouterr()

    assert main.main(["--root", str(tmp_path), "--check"]) == 1
    report = capsys.readouterr().err
    for path in (
        "schemas/train.schema.json",
        "schemas/gone.schema.json",
        "schemas/plan.schema.json",
    ):
        assert path in report
    assert "+++ references/spec_template_export.yaml (generated)" in report
    assert report.count("\n") < 80
    assert report.rstrip().endswith("make generate")

    assert main.main(["--root", str(tmp_path)]) == 0
    assert main.main(["--root", str(tmp_path), "--check"]) == 0
    assert not (tmp_path / "schemas/gone.schema.json").exists()


def test_generation_does_not_depend_on_the_hash_seed_and_needs_no_torch(tmp_path):
    code = (
        "import sys; from ocdnet_generator import main; main.main(['--root', sys.argv[1]]);"
        "assert not {'torch', 'numpy', 'cv2'} & set(sys.modules)"
    )
    for seed in ("1", "2"):
        env = {**os.environ, "PYTHONHASHSEED": seed}
        folder = tmp_path / seed
        subprocess.run(
            [sys.executable, "-c", code, folder], env=env, check=True, capture_output=True
        )
    for path in main.outputs():
        assert (tmp_path / "1" / path).read_bytes() == (tmp_path / "2" / path).read_bytes()


FIELD = '''    brightness: Annotated[Fraction, search(0.1, 0.9), popular] = 0.25
    """How bright the day is."""

    num_epochs:'''


def test_a_field_added_to_a_dataclass_shows_up_everywhere(tmp_path):
    for name in ("runtime", "generator", "schemas", "references", "docs", "evals"):
        shutil.copytree(main.ROOT / name, tmp_path / name, ignore=shutil.ignore_patterns("__py*"))
    for name in ("SKILL.md", "skill-card.md", "BENCHMARK.md"):
        shutil.copy(main.ROOT / name, tmp_path)
    section = tmp_path / "runtime/ocdnet/config/train.py"
    section.write_text(section.read_text().replace("    num_epochs:", FIELD, 1))
    env = {**os.environ, "PYTHONPATH": f"{tmp_path}/runtime:{tmp_path}/generator"}

    def run(*arguments):
        command = [sys.executable, "-m", *arguments]
        return subprocess.run(
            command, env=env, cwd=tmp_path, check=True, capture_output=True, text=True
        ).stdout

    changed = run("ocdnet_generator.main").split()
    assert changed == [
        "references/config-reference.md",
        "references/spec_template_retrain.yaml",
        "references/spec_template_train.yaml",
        "schemas/manifest.json",
        "schemas/retrain.schema.json",
        "schemas/train.schema.json",
        "skill_info.yaml",  # not copied
    ]
    schema = strict((tmp_path / "schemas/train.schema.json").read_text())
    assert schema["properties"]["train"]["properties"]["brightness"] == {
        "default": 0.25,
        "description": "How bright the day is.",
        "maximum": 1,
        "minimum": 0,
        "popular": True,
        "search": {"max": 0.9, "min": 0.1, "scale": "linear"},
        "title": "brightness",
        "type": "number",
    }
    assert schema["default"]["train"]["brightness"] == 0.25
    assert "train.brightness" in schema["popular"]
    manifest = strict((tmp_path / "schemas/manifest.json").read_text())
    assert "train.brightness" in manifest["actions"]["train"]["popular"]
    template = (tmp_path / "references/spec_template_train.yaml").read_text()
    assert "  # How bright the day is.\n  brightness: 0.25\n" in template
    row = "`train.brightness` | number | `0.25` | 0..1 | on request: 0.1 to 0.9, linear |"
    assert row in (tmp_path / "references/config-reference.md").read_text()
    assert "train.brightness = 0.25: How bright" in run("ocdnet.cli.main", "spec", "list", "train")
    run("ocdnet_generator.main", "--check")


def test_every_augmentation_worth_searching_can_be_built():
    from ocdnet.data.steps import compile_train

    steps = dict(nodes(schemas.build("train")))["dataset.train_dataset.args.pre_processes"]
    for choice in steps["search"]["choices"]:
        compile_train(choice)

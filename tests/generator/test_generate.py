"""Generated schemas and templates: valid, in the dialect, and up to date."""

import json
import math
import os
import subprocess
import sys

import jsonschema
import pytest

from ocdnet.config import spec, yaml_io
from ocdnet.config.actions import ACTIONS, ROOT_KEYS
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
}
ROOT = NODE - {"search"} | {"$schema", "automl_default_parameters", "automl_disabled_parameters"}
FILL = {
    "train": ["dataset.train_dataset.data_path=[/t]"],
    "retrain": ["dataset.train_dataset.data_path=[/t]", "model.pruned_graph_path=p.pth"],
    "evaluate": ["evaluate.checkpoint=m.pth", "dataset.validate_dataset.data_path=[/v]"],
    "inference": ["inference.checkpoint=m.pth", "inference.input_folder=/i"],
    "export": ["export.checkpoint=m.pth"],
    "prune": ["prune.checkpoint=m.pth"],
    "quantize": ["quantize.model_path=m.pth"],
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


@every_action
def test_schema_is_in_the_dialect(action):
    schema = strict(schemas.text(action))
    jsonschema.Draft202012Validator.check_schema(schema)
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


@every_action
def test_searched_parameters(action):
    schema = schemas.build(action)
    searched = {path: node for path, node in nodes(schema) if node.get("automl_enabled")}
    assert sorted(searched) == schema["automl_default_parameters"]
    if ACTIONS[action].automl:
        assert list(searched) == ["train.optimizer.args.lr", "train.optimizer.args.weight_decay"]
        for node in searched.values():
            assert 0 <= node["minimum"] < node["search"]["min"] < node["search"]["max"]
            assert node["search"]["max"] <= node["maximum"]
        unsearched = set(schema["automl_disabled_parameters"])
        assert {"results_dir", "train.num_epochs", "train.seed"} <= unsearched
    else:
        assert "automl_enabled" not in schemas.text(action)
        assert schema["automl_default_parameters"] == schema["automl_disabled_parameters"] == []
        assert not any("search" in node for _, node in nodes(schema))


@every_action
def test_schema_default_is_the_template(action):
    schema, text = schemas.build(action), templates.text(action)
    template = yaml_io.parse(text, "template")
    assert schema["default"] == template
    assert set(schema["properties"]) == {*ROOT_KEYS, *ACTIONS[action].sections}
    for path, node in nodes(schema):
        if "default" in node and path != "train.max_minutes":
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
    assert len(templates.text("train")) <= 5500


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
    (tmp_path / "references/spec_template_export.yaml").unlink()
    capsys.readouterr()

    assert main.main(["--root", str(tmp_path), "--check"]) == 1
    report = capsys.readouterr().err
    for path in ("schemas/train.schema.json", "schemas/gone.schema.json"):
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

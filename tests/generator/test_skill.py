"""skill_info.yaml against the published skill's tables (copied here from its text)."""

import re
from pathlib import PurePosixPath

import pytest
from ruamel.yaml import YAML

from ocdnet.catalogue import ACTIONS
from ocdnet.tree import nodes
from ocdnet_generator import main, schemas, skill

# "Per-Action Dataset Requirements" of the published skill: key, source, a list.
DATA = [
    ("evaluate", "dataset.validate_dataset.data_path", "eval_dataset", True),
    ("inference", "inference.input_folder", "inference_dataset or eval_dataset", False),
    ("prune", "dataset.validate_dataset.data_path", "eval_dataset", True),
    ("quantize", "dataset.train_dataset.data_path", "train_datasets", True),
    ("quantize", "dataset.validate_dataset.data_path", "eval_dataset", True),
    (
        "quantize",
        "dataset.quant_calibration_dataset.images_dir",
        "train_datasets or calibration_dataset",
        False,
    ),
    ("train", "dataset.train_dataset.data_path", "train_datasets", True),
    ("train", "dataset.validate_dataset.data_path", "eval_dataset", True),
    ("retrain", "dataset.train_dataset.data_path", "train_datasets", True),
    ("retrain", "dataset.validate_dataset.data_path", "eval_dataset", True),
    # Not in TAO's skill: the images that an INT8 engine is calibrated on.
    (
        "gen_trt_engine",
        "gen_trt_engine.tensorrt.calibration.cal_image_dir",
        "calibration_dataset",
        True,
    ),
]
# "Model handoff mappings" of the published skill.
HANDOFF = {
    ("evaluate", "evaluate.checkpoint"): "parent_model",
    ("export", "export.checkpoint"): "parent_model",
    ("export", "export.onnx_file"): "create_onnx_file",
    ("inference", "inference.checkpoint"): "parent_model",
    ("prune", "prune.checkpoint"): "parent_model",
    ("quantize", "quantize.model_path"): "parent_model",
    ("retrain", "model.pruned_graph_path"): "parent_model",
    ("train", "model.pretrained_model_path"): "ptm_if_no_resume_model",
    ("train", "train.resume_training_checkpoint_path"): "resume_model",
}
HEAD = {
    "name": "tao-train-ocdnet",
    "network_arch": "ocdnet",
    "automl_enabled": True,
    "container_image": "nvcr.io/nvidia/tao/tao-toolkit:7.1.0-pyt",
    "data_format": "default",
    "monitoring_metric": "hmean",
    "gpu_spec_key": "train.num_gpus",
    "node_spec_key": "train.num_nodes",
}


def read(text, version=(1, 2)):
    yaml = YAML(typ="safe", pure=True)
    yaml.version = version
    return yaml.load(text)


TREE = read(skill.skill())
DEPLOY = read(skill.deploy())
REFERENCES = ("references/skill_info.yaml", "references/tao-deploy-ocdnet.skill_info.yaml")
BOTH = pytest.mark.parametrize("text", [skill.skill(), skill.deploy()], ids=["skill", "deploy"])


# By the plain key: of a list the file names the first item, for NVIDIA's client.
SOURCES = {
    action: {key.removesuffix("[0]"): entry for key, entry in entries.items()}
    for action, entries in TREE["data_sources"].items()
}


def keys(action):
    return dict(nodes.leaves(schemas.build(action)))


@BOTH
def test_yaml_1_1_and_1_2_and_a_reader_by_line_agree(text):
    assert read(text, (1, 1)) == read(text)
    flat = {}
    stack = []
    for line in text.splitlines():
        match = re.fullmatch(r"( *)(?:- )?([^ :]+):(?: (.*))?", line)
        if match is None:
            assert re.fullmatch(r" +- [^'\"#&]+", line), line
            continue
        indent, name, value = match.groups()
        assert len(indent) % 2 == 0
        stack[len(indent) // 2 :] = [name]
        if value is not None:
            assert not re.search(r"['\"#&]", value), line
            flat["/".join(stack)] = value
    assert flat["network_arch"] == "ocdnet"
    action = "train" if "train" in read(text)["actions"] else "evaluate"
    assert flat[f"actions/{action}/config_format"] == "yaml"


def test_head():
    assert {name: TREE[name] for name in HEAD} == HEAD
    assert DEPLOY["container_image"] == "nvcr.io/nvidia/tao/tao-toolkit:7.1.0-deploy"
    assert set(DEPLOY) == set(TREE)


def test_actions():
    assert set(TREE["actions"]) == set(ACTIONS)
    assert set(DEPLOY["actions"]) == {"gen_trt_engine", "evaluate", "inference"}
    for name, action in TREE["actions"].items():
        assert action["command"] == f"ocdnet {ACTIONS[name].section} -e {{config_path}}"
        assert (action["config_format"], action["mode"]) == ("yaml", "config")
        image = action.get("container_image", TREE["container_image"])
        assert image.endswith("-deploy") == ACTIONS[name].deploys
        files = {**action["inputs"], **action["outputs"]}
        assert set(files) <= set(keys(name))
        assert {file["type"] for file in files.values()} <= {"file", "folder"}
        needed = {key for key in ACTIONS[name].required if not key.endswith("trt_engine")}
        assert needed <= {key for key, file in action["inputs"].items() if "optional" not in file}


def test_what_an_action_goes_without_is_optional():
    optional = {
        (name, key)
        for name, action in TREE["actions"].items()
        for key, file in action["inputs"].items()
        if file.get("optional")
    }
    resumed = "train.resume_training_checkpoint_path"
    assert optional == {
        ("train", "dataset.validate_dataset.data_path"),
        ("train", "model.pretrained_model_path"),
        ("train", resumed),
        ("retrain", "dataset.validate_dataset.data_path"),
        ("retrain", resumed),
        ("quantize", "dataset.quant_calibration_dataset.images_dir"),
        ("gen_trt_engine", "gen_trt_engine.tensorrt.calibration.cal_image_dir"),
    }


@pytest.mark.parametrize(("action", "key", "source", "many"), DATA)
def test_data_sources(action, key, source, many):
    entry = SOURCES[action][key]
    named = [entry["source"], entry.get("alternative_source")]
    assert [name for name in named if name] == source.split(" or ")
    assert entry["multiple_sources"] is many
    assert (keys(action)[key]["type"] == "array") is many


def test_no_data_source_besides():
    found = {(a, key) for a, entries in SOURCES.items() for key in entries}
    deploy = {
        ("deploy_evaluate", "dataset.validate_dataset.data_path"),
        ("deploy_inference", "inference.input_folder"),
    }
    assert found == {(action, key) for action, key, _, _ in DATA} | deploy


def test_spec_params():
    for name, params in TREE["spec_params"].items():
        assert params["results_dir"] == "output_dir"
        assert set(params) <= set(keys(name))
    for (action, key), function in HANDOFF.items():
        assert TREE["spec_params"][action][key] == function


def test_shorthands_name_keys_of_their_actions():
    assert set(TREE["spec_shorthand_keys"].values()) <= set(keys("train"))
    deployed = {key for name, entry in ACTIONS.items() if entry.deploys for key in keys(name)}
    assert set(DEPLOY["spec_shorthand_keys"].values()) <= deployed


def test_named_files_are_there_seen_from_each_file():
    files = main.outputs()
    for path in ("skill_info.yaml", *REFERENCES):
        tree = read(files[path])
        folder = PurePosixPath(path).parent
        assert {str(folder / name) for name in tree["spec_templates"].values()} <= set(files)
        assert set(tree["schemas"].values()) <= set(files)
        assert set(tree["spec_templates"]) == set(tree["schemas"]) == set(tree["actions"])
    assert all("/spec_template_deploy_" in f"/{name}" for name in DEPLOY["spec_templates"].values())


def test_the_two_copies_differ_in_the_paths_of_templates_alone():
    files = main.outputs()
    there, beside = read(files["skill_info.yaml"]), read(files[REFERENCES[0]])
    assert there.pop("spec_templates") != beside.pop("spec_templates")
    assert there == beside


def test_what_needs_quotes_is_refused():
    for value in ("a: b", "yes", "*x", "a #b", "1.5", ""):
        with pytest.raises(ValueError, match="without quotes"):
            skill.text({"key": value})

"""Loading, checking and dumping specs."""

import subprocess
import sys

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from ruamel.yaml import YAML

from ocdnet.catalogue import ACTIONS
from ocdnet.config import schema, spec
from ocdnet.errors import SpecError, UsageError, UserError
from ocdnet.tree import nodes, overrides, yaml_io

TRAIN = {"dataset": {"train_dataset": {"data_path": ["/data/train"]}}}
FILLED = {
    "dataset": {"train_dataset": {"data_path": ["/t"]}, "validate_dataset": {"data_path": ["/v"]}},
    "model": {"pruned_graph_path": "p.pth"},
    "evaluate": {"checkpoint": "m.pth"},
    "inference": {"checkpoint": "m.pth", "input_folder": "/img"},
    "export": {"checkpoint": "m.pth"},
    "prune": {"checkpoint": "m.pth"},
    "quantize": {"model_path": "m.pth"},
    "gen_trt_engine": {"onnx_file": "m.onnx", "trt_engine": "m.engine"},
}


def apply(tree, given):
    return overrides.apply(tree, given, schema.experiment())


def filled(action):
    """A spec that is valid for the action: FILLED, an engine as model where it deploys one."""
    tree = apply(FILLED, [])
    if action.startswith("deploy_"):
        section = tree[action.removeprefix("deploy_")]
        section.pop("checkpoint")
        section["trt_engine"] = "m.engine"
    return tree


def train(*overrides):
    return spec.resolve("train", apply(TRAIN, overrides)).experiment.train


def refused(action, tree):
    with pytest.raises(UserError) as caught:
        spec.resolve(action, tree)
    return caught.value


class TestResolve:
    def test_defaults_depend_on_the_place(self):
        tree = apply(TRAIN, ["dataset.validate_dataset.loader.num_workers=2"])
        data = spec.resolve("train", tree).experiment.dataset
        assert data.train_dataset.loader.batch_size == 16
        assert data.validate_dataset.loader.batch_size == 1
        assert data.validate_dataset.loader.num_workers == 2

    def test_unset_strings_are_empty(self):
        tree = {"evaluate": {"trt_engine": "m.engine"}, "dataset": FILLED["dataset"]}
        experiment = spec.resolve("evaluate", tree).experiment
        assert experiment.evaluate.checkpoint == ""
        assert experiment.export.checkpoint == ""

    def test_retrain_loads_the_pruned_graph(self):
        assert spec.resolve("retrain", FILLED).experiment.model.load_pruned_graph
        assert not spec.resolve("train", FILLED).experiment.model.load_pruned_graph

    @pytest.mark.parametrize(("epochs", "warmup"), [(1, 0), (3, 2), (4, 3), (9, 3)])
    def test_warmup_stays_below_the_epochs(self, epochs, warmup):
        loaded = spec.resolve("train", apply(TRAIN, [f"train.num_epochs={epochs}"]))
        assert loaded.experiment.train.lr_scheduler.args.warmup_epoch == warmup
        assert len(loaded.notices) == (warmup < 3)

    def test_one_of_two_aliases_can_be_overridden(self, tmp_path):
        path = tmp_path / "spec.yaml"
        path.write_text(
            "dataset:\n  train_dataset: {data_path: [/t], loader: &l {num_workers: 1}}\n"
            "  validate_dataset: {loader: *l}\n"
        )
        override = "dataset.validate_dataset.loader.num_workers=2"
        data = spec.load("train", path, [override]).experiment.dataset
        assert data.train_dataset.loader.num_workers == 1
        assert data.validate_dataset.loader.num_workers == 2

    def test_what_has_no_effect_is_said(self):
        tree = apply(TRAIN, ["encryption_key=key", "model.pretrained=yes"])
        notices = spec.resolve("train", tree).notices
        assert [notice.split("'")[1] for notice in notices] == [
            "encryption_key",
            "model.pretrained",
        ]

    def test_taos_own_values_are_passed_over_in_silence(self):
        tree = apply(TRAIN, ["dataset.validate_dataset.args.filter_keys=[]"])
        assert spec.resolve("train", tree).notices == []

    def test_unknown_action(self):
        with pytest.raises(UsageError, match="Did you mean 'train'"):
            spec.resolve("trian", TRAIN)


class TestProblems:
    def test_all_are_found_at_once_unknown_keys_first(self):
        tree = {
            "dataset": {"train_dataset": {"data_path": ["a.zip"]}},
            "model": {"load_pruned_graph": True},
            "train": {"seed": "x", "optimizer": {"args": {"lr": float("inf")}}},
            "exprot": {},
        }
        assert [(p.code, p.key) for p in spec.problems("train", tree)] == [
            ("unknown-key", "exprot"),
            ("not-finite", "train.optimizer.args.lr"),
            ("wrong-type", "train.seed"),
            ("archive-as-path", "dataset.train_dataset.data_path"),
            ("missing-value", "model.pruned_graph_path"),
        ]

    @pytest.mark.parametrize(
        ("key", "meant"),
        [
            ("train.num_epoch", "train.num_epochs"),
            ("num_epochs", "train.num_epochs"),
            ("lr", "train.optimizer.args.lr"),
            ("train.optim", "train.optimizer"),
            ("evaluate.ckeckpoint", "evaluate.checkpoint"),
            ("inference.post_processing.thresh", "inference.post_processing.args.thresh"),
            ("train.zz", None),
        ],
    )
    def test_did_you_mean(self, key, meant):
        assert nodes.suggestion(schema.experiment(), key) == meant

    def test_error_texts(self):
        texts = [
            str(problem)
            for problem in spec.problems(
                "train",
                {
                    "train": {"precision": "FP23", "num_gpus": -2, "gpu_ids": 1},
                    "results": "/r",
                },
            )
        ]
        assert texts == [
            "'results' is not a key of the experiment. Did you mean 'results_dir'?",
            "'train.precision' is not one of its choices; got 'FP23'; "
            "expected one of 'fp32', 'fp16', 'bf16'. Did you mean 'fp32'?",
            "'train.num_gpus' is out of range; got -2; expected an integer from -1",
            "'train.gpu_ids' has the wrong type; got 1; "
            "expected a list, each item an integer from 0. Write a list: [1]",
            "'dataset.train_dataset.data_path' is required by train; expected a value. Set it in "
            "the spec, or on the command line: 'dataset.train_dataset.data_path=[/path/to/it]'",
        ]


class TestOverrides:
    @pytest.mark.parametrize("plus", ["", "+", "++"])
    def test_yaml_values(self, plus):
        assert train(f"{plus}train.gpu_ids=[0, 1]", "train.num_gpus=2").gpu_ids == [0, 1]

    def test_the_last_wins(self):
        assert train("train.num_epochs=5", "train.num_epochs=7").num_epochs == 7

    def test_null_is_the_default(self):
        assert train("train.num_epochs=5", "train.num_epochs=null").num_epochs == 10

    @pytest.mark.parametrize(
        ("text", "value"),
        [("/a=b c", "/a=b c"), ("'/a b'", "/a b"), ("2024", "2024"), ("", ""), ("@x: [", "@x: [")],
    )
    def test_a_string_is_its_text(self, text, value):
        assert train(f"train.results_dir={text}").results_dir == value

    def test_item_of_a_default_list(self):
        key = "dataset.train_dataset.args.pre_processes.0.args.size"
        tree = apply(TRAIN, [f"{key}=[320,320]"])
        steps = spec.resolve("train", tree).experiment.dataset.train_dataset.args.pre_processes
        assert steps[0].args == {"size": [320, 320], "max_tries": 50, "keep_ratio": True}
        assert [step.type for step in steps[1:]] == ["MakeBorderMap", "MakeShrinkMap"]
        default = schema.defaults()["dataset"]["train_dataset"]["args"]["pre_processes"]
        assert default[0]["args"]["size"] == [640, 640]

    @pytest.mark.parametrize(
        ("override", "code"),
        [
            ("train.num_epochs", "bad-override"),
            ("=3", "bad-override"),
            ("~train.seed=1", "bad-override"),
            ("train.nope=1", "unknown-key"),
            ("train.num_epochs.x=1", "unknown-key"),
            ("train..seed=1", "unknown-key"),
            ("train.gpu_ids.7=1", "bad-override"),
            ("train.gpu_ids=[0", "bad-yaml"),
        ],
    )
    def test_bad_ones(self, override, code):
        with pytest.raises(SpecError) as caught:
            apply(TRAIN, [override])
        assert caught.value.code == code


class TestYaml:
    @pytest.mark.parametrize(
        ("text", "line"),
        [
            ("a: 1\nb: [1", 2),
            ("a: 1\n\na: 2", 3),
            ("a: !!python/object:x.Y {}", 1),
            ("a: 1\n---\nb: 2", 2),
        ],
    )
    def test_mistakes_name_their_line(self, tmp_path, text, line):
        path = tmp_path / "spec.yaml"
        path.write_text(text)
        with pytest.raises(SpecError, match=f"spec.yaml, line {line}:") as caught:
            spec.read(path)
        assert caught.value.code == "bad-yaml"

    def test_alias_bomb_cycle_and_depth(self):
        bomb = "a0: &a0 [x]\n" + "".join(
            f"a{i}: &a{i} [*a{i - 1}, *a{i - 1}]\n" for i in range(1, 40)
        )
        merge = "a0: &a0 {x: 1}\n" + "".join(
            f"a{i}: &a{i} {{<<: [*a{i - 1}, *a{i - 1}]}}\n" for i in range(1, 40)
        )
        chain = "a0: &a0 [x]\n" + "".join(f"a{i}: &a{i} [*a{i - 1}]\n" for i in range(1, 60))
        for text in (bomb, merge, chain, "a: &a [*a]", "[" * 1500):
            with pytest.raises(SpecError):
                yaml_io.parse(text, "it")

    @pytest.mark.parametrize("content", [b"a: \xff\n", None])
    def test_no_utf8_and_no_file(self, tmp_path, content):
        path = tmp_path / "spec.yaml"
        if content is None:
            path.mkdir()
        else:
            path.write_bytes(content)
        with pytest.raises(SpecError):
            spec.read(path)
        with pytest.raises(SpecError, match="No such file"):
            spec.read(tmp_path / "other.yaml")

    def test_a_date_is_text(self):
        assert yaml_io.parse("2024-01-02", "it") == "2024-01-02"

    @settings(deadline=None)
    @given(st.text(max_size=40))
    def test_any_text_parses_or_is_refused(self, text):
        try:
            yaml_io.parse(text, "it")
        except SpecError as error:
            assert error.code == "bad-yaml"

    @settings(deadline=None)
    @given(
        st.recursive(
            st.none()
            | st.booleans()
            | st.integers()
            | st.floats(allow_nan=False, allow_infinity=False)
            | st.text(st.characters(codec="utf-8", exclude_characters="\x85\u2028\u2029\ufeff"))
            | st.sampled_from(
                ["yes", "1e-3", "0o7", "1:30", "2024-01-01", "~", "???", "- a", "a: b"]
            ),
            lambda inner: (
                st.lists(inner, max_size=3)
                | st.dictionaries(st.sampled_from("abcn") | st.just("on"), inner, max_size=3)
            ),
            max_leaves=6,
        )
    )
    def test_yaml_1_1_and_1_2_read_what_is_written(self, value):
        text = yaml_io.dump(yaml_io.styled({"a": value}))
        for version in ((1, 1), (1, 2)):
            yaml = YAML(typ="safe", pure=True)
            yaml.version = version
            assert yaml.load(text) == {"a": value}


class TestDump:
    @pytest.mark.parametrize("action", ACTIONS)
    def test_dump_loads_to_the_same(self, action, tmp_path):
        loaded = spec.resolve(action, filled(action))
        path = tmp_path / "experiment.yaml"
        path.write_text(spec.to_yaml(spec.dump(loaded)))
        assert spec.load(action, path).experiment == loaded.experiment

    @settings(deadline=None, max_examples=50)
    @given(
        lr=st.floats(0, 1),
        epochs=st.integers(1, 10**6),
        name=st.text(st.characters(codec="utf-8")),
        minutes=st.none() | st.floats(0, 1e6),
    )
    def test_values_survive(self, lr, epochs, name, minutes):
        values = {"num_epochs": epochs, "optimizer": {"args": {"lr": lr}}, "max_minutes": minutes}
        loaded = spec.resolve("train", {**TRAIN, "model_name": name, "train": values})
        assert spec.resolve("train", spec.dump(loaded)).experiment == loaded.experiment

    def test_secrets_are_masked_and_unset_extras_absent(self):
        tree = spec.dump(spec.resolve("train", {**TRAIN, "encryption_key": "key"}))
        assert tree["encryption_key"] == "***"
        assert "max_minutes" not in tree["train"]
        assert set(tree) == set(ACTIONS["train"].reads) - {"max_megapixels"}


JUNK = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=5)
    | st.binary(max_size=2)
    | st.sampled_from(["???", "yes", "\ud800", 5.0, -1, 0]),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=2)
    ),
    max_leaves=5,
)


@settings(deadline=None, max_examples=300)
@given(
    st.sampled_from(list(ACTIONS)),
    st.lists(st.tuples(st.sampled_from(schema.known_keys()), JUNK), max_size=3),
)
@example("gen_trt_engine", [("gen_trt_engine.width", 2.0**63)])
def test_a_mutated_spec_is_valid_or_a_user_error(action, mutations):
    tree = apply(FILLED, [])
    for key, value in mutations:
        container = tree
        *parents, name = key.split(".")
        for parent in parents:
            container = container.setdefault(parent, {})
            if not isinstance(container, dict):
                break
        else:
            container[name] = value
    loaded, found = spec.check(action, tree)
    assert (loaded is None) == bool(found)
    if loaded:
        loaded.experiment.encryption_key = ""  # masked in a dump
        assert spec.resolve(action, spec.dump(loaded)).experiment == loaded.experiment
    for problem in found:
        assert isinstance(problem, UserError)
        assert repr(problem.key)[1:-1] in problem.message


class TestResultsDir:
    def test_own_folder_else_named_after_the_section(self):
        experiment = spec.resolve("train", {**TRAIN, "results_dir": "/r"}).experiment
        assert str(spec.results_dir(experiment, "train")) == "/r/train"
        assert str(spec.results_dir(experiment, "retrain")) == "/r/train"
        experiment.train.results_dir = "/own"
        assert str(spec.results_dir(experiment, "train")) == "/own"

    def test_neither(self):
        with pytest.raises(SpecError, match="results_dir"):
            spec.results_dir(spec.resolve("train", TRAIN).experiment, "train")


@pytest.mark.parametrize(
    ("module", "heavy"),
    [
        ("ocdnet.config.spec", {"torch", "numpy", "cv2"}),
        ("ocdnet.catalogue", {"torch", "numpy", "cv2", "pydantic", "ruamel"}),
        ("ocdnet.cli.spec", {"torch", "numpy", "cv2", "pydantic", "ruamel"}),
    ],
)
def test_import_is_light(module, heavy):
    code = f"import sys, {module}; print(*{{name.split('.')[0] for name in sys.modules}})"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert not heavy & set(run.stdout.split())

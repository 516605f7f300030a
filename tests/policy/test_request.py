"""A request is the same, and as strictly checked, from flags and from JSON."""

from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ocdnet.errors import UsageError
from ocdnet.launch.platforms import PLATFORMS
from ocdnet.policy.request import ACTIONS, MAX_JSON, Request, from_json, policy_value
from ocdnet.tree import overrides, yaml_io


def refused(make, *arguments, **fields):
    """The error of a request that is refused."""
    with pytest.raises(UsageError) as caught:
        make(*arguments, **fields)
    error = caught.value
    assert error.exit_code == 2
    assert len(str(error)) < 1000
    return error


def test_every_key_of_the_json_reaches_its_field():
    told = {
        "action": "train",
        "request": "plain training",
        "automl_policy": "ON",
        "train_datasets": ["/a", "/b"],
        "eval_dataset": "/c",
        "inference_dataset": "/d",
        "calibration_datasets": ["/e"],
        "parent": "runs/1",
        "checkpoint": 12,
        "results_dir": "runs/2",
        "set": {"train": {"num_epochs": 3, "gpu_ids": [0, 1]}, "model.backbone": "fan_tiny"},
        "spec": "own.yaml",
        "platform": "kubernetes",
        "image": "registry/ocdnet:1",
        "claim": "data:/data",
        "write": "out",
        "full": True,
        "metric": "train_loss_epoch",
        "precision": "BF16",
    }
    assert from_json(json.dumps(told)) == Request(
        action="train",
        text="plain training",
        automl_policy="on",
        train_datasets=("/a", "/b"),
        eval_datasets=("/c",),
        inference_dataset="/d",
        calibration_datasets=("/e",),
        parent="runs/1",
        checkpoint="12",
        results_dir="runs/2",
        overrides=("train.num_epochs=3", "train.gpu_ids=[0, 1]", 'model.backbone="fan_tiny"'),
        spec="own.yaml",
        platform="kubernetes",
        image="registry/ocdnet:1",
        claims=("data:/data",),
        write="out",
        full=True,
        metric="train_loss",
        precision="bf16",
    )


def test_nothing_said_is_a_request():
    assert from_json("{}") == Request()
    assert from_json(b'\xef\xbb\xbf{"parent": null, "set": ["a=1"]}').overrides == ("a=1",)


class TestPolicyValue:
    @pytest.mark.parametrize("value", ["on", "ON", "true", "True", "yes", " y ", True])
    def test_on(self, value):
        assert policy_value(value) == "on"

    @pytest.mark.parametrize("value", ["off", "Off", "FALSE", "no", "N", False])
    def test_off(self, value):
        assert policy_value(value) == "off"

    @pytest.mark.parametrize("value", ["", "auto", "0", 1, 0, None, ["on"], 1.5, {"on": True}])
    def test_anything_else_names_on_and_off(self, value):
        assert refused(policy_value, value).expected == "on or off"

    def test_it_is_the_same_by_flag_and_by_json(self):
        assert Request(automl_policy="TRUE").automl_policy == "on"
        assert from_json('{"automl_policy": true}').automl_policy == "on"
        assert refused(from_json, '{"automl_policy": 1}').code == "bad-policy"
        assert refused(Request, automl_policy="maybe").code == "bad-policy"


class TestBadJson:
    @pytest.mark.parametrize(
        ("text", "code"),
        [
            ("", "bad-json"),
            ("train please", "bad-json"),
            ("[]", "bad-json"),
            ('"train"', "bad-json"),
            ("null", "bad-json"),
            (b'{"request": "\xff"}', "bad-json"),
            ('{"action": "train", "action": "prune"}', "bad-json"),
            ('{"set": {"a": 1, "a": 2}}', "bad-json"),
            ('{"set": {"a": NaN}}', "bad-json"),
            ('{"set": {"a": -Infinity}}', "bad-json"),
            ('{"set": {"a": 1e999}}', "bad-json"),
            ('{"set": {"a": %s}}' % ("9" * 5000), "bad-json"),
            ('{"acton": "train"}', "unknown-key"),
            ('{"train.num_epochs": 3}', "unknown-key"),
            ('{"action": 3}', "wrong-type"),
            ('{"train_dataset": [1]}', "wrong-type"),
            ('{"train_dataset": {"a": 1}}', "wrong-type"),
            ('{"full": "yes"}', "wrong-type"),
            ('{"checkpoint": true}', "wrong-type"),
            ('{"set": 3}', "wrong-type"),
            ('{"set": {"a=b": 1}}', "bad-override"),
            ('{"set": {"": 1}}', "bad-override"),
            ('{"set": {"a.b": 1, "a": {"b": 2}}}', "contradiction"),
            ('{"train_dataset": "/a", "train_datasets": ["/b"]}', "contradiction"),
            ('{"checkpoint": -1}', "bad-choice"),
        ],
    )
    def test_is_refused(self, text, code):
        assert refused(from_json, text).code == code

    @pytest.mark.parametrize("depth", [51, 900, 5000, 200_000])
    @pytest.mark.parametrize("brackets", ['{"a":|}', "[|]"])
    def test_depth(self, depth, brackets):
        start, _, end = brackets.partition("|")
        text = f'{{"set": {{"a": {start * depth}1{end * depth}}}}}'
        assert refused(from_json, text).code in ("bad-json", "request-too-long")

    def test_the_nearest_key_is_told(self):
        assert "'action'" in refused(from_json, '{"acton": "train"}').hint
        assert "'train_dataset'" in refused(from_json, '{"train-dataset": "/a"}').hint
        assert "`set`" in refused(from_json, '{"train.num_epochs": 3}').hint

    def test_length(self):
        long = json.dumps({"request": "a" * 10_001})
        assert refused(from_json, long).code == "request-too-long"
        assert len(from_json(json.dumps({"request": "a" * 10_000})).text) == 10_000
        for text in ("x" * (MAX_JSON + 1), "é" * (MAX_JSON // 2 + 1)):
            assert refused(from_json, text).code == "request-too-long"

    @given(st.text() | st.binary() | st.recursive(
        st.none() | st.booleans() | st.floats() | st.integers() | st.text(),
        lambda children: st.lists(children) | st.dictionaries(
            st.sampled_from(["action", "set", "request", "parent", "train_dataset"]) | st.text(),
            children,
        ),
    ).map(json.dumps))  # fmt: skip
    @settings(max_examples=300, deadline=None)
    def test_anything_is_a_request_or_a_usage_error(self, data):
        try:
            request = from_json(data)
        except UsageError as error:
            assert len(json.dumps(error.to_dict())) < 3000
        else:
            assert isinstance(request, Request)


class TestChoices:
    def test_an_unknown_action_names_all_and_the_nearest(self):
        error = refused(Request, action="Gen-TRT-Engin")
        assert error.code == "unknown-action"
        assert "gen_trt_engine" in error.hint
        assert all(action in error.expected for action in ACTIONS)

    def test_platform_and_checkpoint(self):
        assert "'tao-docker'" in refused(Request, platform="tao_docker").hint
        assert refused(Request, checkpoint="results/model_best.pth").code == "bad-choice"
        hint = refused(Request, action="evaluate", checkpoint="best.onnx").hint
        assert hint == "Of a file: --set evaluate.checkpoint=best.onnx"
        for checkpoint in ("best", "latest", "0", "012"):
            assert Request(checkpoint=checkpoint).checkpoint == checkpoint
        for platform in PLATFORMS:
            assert Request(platform=platform).platform == platform


@pytest.mark.parametrize("text", ["", " ", "a\0b", "a\nb", "a\r", "a\u2028b", "\ud800"])
def test_texts_that_no_path_holds(text):
    assert refused(Request, parent=text).code == "bad-text"
    assert refused(Request, train_datasets=("/a", text)).code == "bad-text"
    assert refused(from_json, json.dumps({"image": text})).code == "bad-text"
    if text.strip():
        assert refused(Request, overrides=(f"results_dir={text}",)).code == "bad-text"
        assert refused(from_json, json.dumps({"set": {"results_dir": text}})).code == "bad-text"


@pytest.mark.parametrize(
    "path", ["a b", "$(touch x);`x`", "'\"", "données/ü", "-x", "a\\b", "a,b:c"]
)
def test_odd_paths_are_fine(path):
    assert from_json(json.dumps({"train_dataset": path})).train_datasets == (path,)


class TestContradictions:
    @pytest.mark.parametrize(
        ("fields", "override"),
        [
            ({"results_dir": "a"}, "results_dir=b"),
            ({"train_datasets": ("a",)}, "dataset.train_dataset.data_path=[b]"),
            ({"train_datasets": ("a", "b")}, "++dataset.train_dataset.data_path=[a]"),
            ({"eval_datasets": ("a",)}, "dataset.validate_dataset.data_path=[b]"),
            ({"inference_dataset": "a"}, "inference.input_folder=b"),
            ({"calibration_datasets": ("a",)}, "dataset.quant_calibration_dataset.images_dir=b"),
            ({"checkpoint": "best"}, "evaluate.checkpoint=a.pth"),
        ],
    )
    def test_the_same_thing_twice(self, fields, override):
        error = refused(Request, overrides=(override,), **fields)
        assert error.code == "contradiction"
        assert next(iter(fields)) in error.message

    def test_the_same_value_or_another_thing_is_none(self):
        Request(results_dir="a", overrides=("results_dir=a",))
        Request(train_datasets=("a",), overrides=("dataset.train_dataset.data_path=[a]",))
        Request(train_datasets=("a",), overrides=("dataset.train_dataset.data_path=['a']",))
        Request(train_datasets=("a",), overrides=("dataset.validate_dataset.data_path=[b]",))
        Request(parent="run", overrides=("evaluate.checkpoint=a.pth",))


LINES = st.text(min_size=1).filter(
    lambda text: text.strip() and "\0" not in text and len(f"{text}.".splitlines()) == 1
)
VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | LINES
    | st.floats(allow_nan=False, allow_infinity=False),
    lambda children: (
        st.lists(children, max_size=4) | st.dictionaries(LINES, children, min_size=1, max_size=4)
    ),
    max_leaves=8,
)


@given(VALUES)
@settings(max_examples=200, deadline=None)
def test_a_json_value_is_what_its_override_says(value):
    (override,) = from_json(json.dumps({"set": {"a.b": [value]}})).overrides
    key, _, text = override.partition("=")
    assert key == "a.b"
    assert yaml_io.parse(text, "test") == [value]


@given(LINES)
@settings(max_examples=200, deadline=None)
def test_a_string_stays_itself_through_an_override(text):
    schema = {"type": "object", "properties": {"a": {"type": "string"}}}
    told = from_json(json.dumps({"set": {"a": text}})).overrides
    assert overrides.apply({}, told, schema) == {"a": text}


_LETTERS = st.characters(codec="utf-8", exclude_categories=("Cc", "Zl", "Zp", "Cs"))
_LINE = st.text(_LETTERS, min_size=1)
_LINE = _LINE.filter(lambda text: text.strip())


@settings(max_examples=60, deadline=None)
@given(
    fields=st.fixed_dictionaries(
        {"action": st.sampled_from(ACTIONS)},
        optional={
            "text": _LINE,
            "automl_policy": st.sampled_from(["on", "off"]),
            "train_datasets": st.lists(_LINE, max_size=3).map(tuple),
            "calibration_datasets": st.lists(_LINE, max_size=2).map(tuple),
            "inference_dataset": _LINE,
            "parent": _LINE,
            "checkpoint": st.sampled_from(["best", "latest", "7"]),
            "overrides": st.just(("train.num_epochs=3", "train.gpu_ids=[0, 1]")),
            "spec": _LINE,
            "platform": st.sampled_from(sorted(PLATFORMS)),
            "claims": st.lists(_LINE, max_size=2).map(tuple),
            "write": _LINE,
            "full": st.booleans(),
            "trials": st.integers(1, 99),
            "metric": st.sampled_from(["train_loss", "hmean"]),
        },
    )
)
def test_its_command_line_asks_for_the_same(fields):
    from ocdnet.cli.plan import plan

    asked = Request(**fields)
    with plan.make_context("plan", asked.flags()) as context:
        read = {name: value for name, value in context.params.items() if value not in (None, ())}
    assert read.pop("estimate") is False
    assert Request(**read) == asked

"""References resolve as OmegaConf resolves them, and what can't be is named: key, file, line."""

import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from ocdnet.config import schema, spec
from ocdnet.errors import SpecError
from ocdnet.tree import keys, references

KEYS = (
    "results_dir",
    "model_name",
    "train.results_dir",
    "evaluate.checkpoint",
    "evaluate.results_dir",
    "export.checkpoint",
    "export.results_dir",
    "dataset.train_dataset.data_path.0",
    "dataset.train_dataset.data_path.1",
)
NAMED = [
    "results_dir",
    "train.results_dir",
    "evaluate.checkpoint",
    "evaluate[results_dir]",
    "dataset.train_dataset.data_path[0]",
    "dataset.train_dataset.data_path.1",
    ".checkpoint",
    ".results_dir",
    "..results_dir",
    "..evaluate.checkpoint",
    ".0",
    "train.no_such_key",
    "train.num_epochs",
]
REFERENCE = st.sampled_from(NAMED).map(lambda name: f"${{{name}}}")
ENV = st.sampled_from(
    [
        "OCDNET_GIVEN",
        "OCDNET_GIVEN,plain",
        "OCDNET_NOT_GIVEN",
        "OCDNET_NOT_GIVEN, a b",
        "OCDNET_NOT_GIVEN,'a,b'",
        "OCDNET_NOT_GIVEN,${model_name}/x",
    ]
)
PIECE = (
    st.sampled_from(["/data", "a b", "x", "$x", "#"])
    | REFERENCE
    | ENV.map(lambda arguments: f"${{oc.env:{arguments}}}")
)
TEXT = st.lists(PIECE, min_size=1, max_size=3).map("".join)


def resolved(tree, action="train"):
    everything = tuple(schema.experiment()["properties"])
    return references.resolved(tree, everything, schema.defaults(), schema.experiment())


def nested(values):
    paths = {key: text for key, text in values.items() if key[-1].isdecimal()}
    tree = keys.nested({key: text for key, text in values.items() if key not in paths})
    keys.set(tree, "dataset.train_dataset.data_path", [paths[key] for key in sorted(paths)])
    keys.set(tree, "train.num_epochs", 7)
    return tree


@given(st.fixed_dictionaries(dict.fromkeys(KEYS, TEXT)))
@settings(max_examples=200, deadline=None)
def test_every_value_is_omegaconfs(values):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("OCDNET_GIVEN", "/from/outside")
        tree = nested(values)
        ours, problems = resolved(tree)
        theirs = OmegaConf.create(tree)
        for key in KEYS:
            *parents, name = key.split(".")
            place = theirs
            for parent in parents:
                place = place[parent]
            try:
                value = str(place[int(name) if name.isdecimal() else name])
            except OmegaConfBaseException:
                assert keys.get(ours, key) == values[key]  # as it is written
                assert problems
            else:
                assert keys.get(ours, key) == value


@pytest.mark.parametrize(
    ("key", "text", "value"),
    [
        ("train.num_epochs", "${oc.env:EPOCHS}", 12),
        ("train.num_epochs", "${oc.env:NOT_SET,3}", 3),
        ("train.optimizer.args.lr", "${oc.env:NOT_SET, 0.05}", 0.05),
        ("dataset.train_dataset.args.ignore_tags", "${oc.env:TAGS}", ["#", "?"]),
        ("evaluate.batch_size", "${train.checkpoint_interval}", 4),
        ("model_name", "${train.checkpoint_interval}", "4"),
        ("model_name", "${train.num_gpus} of ${train.num_nodes}", "1 of 1"),  # defaults
        ("train.gpu_ids", "${evaluate.gpu_ids}", [0]),
        ("evaluate.metric", "${train.metric}", {"args": {"is_output_polygon": True}}),
        ("evaluate.trt_engine", "${inference.trt_engine}", ""),  # not given there, nor here
    ],
)
def test_a_value_has_the_type_that_its_key_takes(monkeypatch, key, text, value):
    monkeypatch.setenv("EPOCHS", "12")
    monkeypatch.setenv("TAGS", "['#', '?']")
    given = {"train": {"checkpoint_interval": 4, "metric": {"args": {"is_output_polygon": True}}}}
    keys.set(given, key, text)
    tree, problems = resolved(given)
    found = keys.get(tree, key)
    assert problems == []
    assert found == value if not isinstance(value, dict) else value.items() <= found.items()
    assert type(found) is type(value)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("${results_dir", "not closed"),
        ("a${", "not closed"),
        ("${}", "not a key"),
        ("${nothing}", "'nothing'"),
        ("${train.num_epoch}", "'train.num_epoch'"),
        ("${....results_dir}", "not a key"),
        ("${model_name}", "itself"),
        ("x${evaluate.results_dir}", "itself"),
        ("x${dataset}", "a section"),
        ("x${train.gpu_ids}", "a list"),
        ("${hydra:runtime.cwd}", "'hydra'"),
        ("${oc.decode:1}", "'oc.decode'"),
        ("${oc.env:}", "environment variable"),
        ("${oc.env:NOT_SET}", "NOT_SET"),
        ("${oc.env:STRANGE}", "STRANGE"),
        ("${a b}", "form"),
        ("${${train.results_dir}}", "form"),
        (r"\${results_dir}", "literal"),
    ],
)
def test_what_cannot_be_resolved_is_named_with_its_line(monkeypatch, tmp_path, text, told):
    monkeypatch.setenv("STRANGE", "${results_dir}")
    path = tmp_path / "spec.yaml"
    path.write_text(
        f"results_dir: /r\nevaluate:\n  results_dir: ${{model_name}}\nmodel_name: '{text}'\n"
        "export: {checkpoint: a.pth}\n"
    )
    with pytest.raises(SpecError) as caught:
        spec.load("export", path)
    error = caught.value
    assert (error.code, error.key) == ("bad-reference", "model_name")
    assert told in f"{error.message} {error.got}"
    assert f"({path}, line 4)" in error.message
    if told == "'train.num_epoch'":
        assert error.did_you_mean == "train.num_epochs"


def test_a_value_that_an_override_gave_has_no_line(tmp_path):
    path = tmp_path / "spec.yaml"
    path.write_text("model_name: x\nexport: {checkpoint: a.pth}\n")
    with pytest.raises(SpecError) as caught:
        spec.load("export", path, ["model_name=${nothing}"])
    assert "line" not in caught.value.message


def test_what_is_referred_to_and_not_given_is_asked_for_and_stays_as_written():
    tree = {"export": {"checkpoint": "a.pth", "results_dir": "${results_dir}/export"}}
    loaded, problems = spec.check("export", tree)
    assert loaded is None
    assert [(p.code, p.key) for p in problems] == [("missing-value", "results_dir")]
    kept = spec.completed("export", tree)["export"]["results_dir"]
    assert kept == "${results_dir}/export"
    assert spec.resolve("export", tree | {"results_dir": "/r"}).experiment.export.results_dir == (
        "/r/export"
    )


def test_an_action_is_not_refused_for_what_another_one_reads():
    tree = {"export": {"checkpoint": "a.pth"}, "prune": {"checkpoint": "${nothing}"}}
    assert spec.problems("export", tree) == []
    assert [p.key for p in spec.problems("prune", tree)][:1] == ["prune.checkpoint"]


@pytest.mark.parametrize("whole", [True, False])
def test_references_that_double_at_every_step_take_no_time(whole):
    """OmegaConf would follow each of them anew: 2 to the power of 40."""
    last = 40
    tree: dict[str, object] = {f"n{last}": "long" * 9}
    for step in range(last):
        name = f"${{quantize.backend_kwargs.n{step + 1}}}"
        tree[f"n{step}"] = {"x": name, "y": name} if whole else name + name
    start = time.process_time()
    found = spec.problems("quantize", {"quantize": {"backend_kwargs": tree}})
    assert time.process_time() - start < 20
    assert any(p.code == "bad-reference" and "too l" in p.message for p in found)


def test_a_long_chain_is_refused_and_not_a_crash():
    chain = {f"n{number}": f"${{.n{number + 1}}}" for number in range(3000)} | {"n3000": "x"}
    found = spec.problems("quantize", {"quantize": {"backend_kwargs": chain}})
    assert any(p.code == "bad-reference" and "references" in p.message for p in found)


@given(st.text(alphabet="${}.:[]\\',a_0 ", max_size=30))
@settings(max_examples=300, deadline=None)
def test_any_text_is_resolved_or_refused(text):
    tree, problems = resolved({"results_dir": "/r", "model_name": text})
    assert "${" not in str(tree["model_name"]) or problems
    references.targets(text, "model_name")


def test_references_to_what_the_spec_holds_stay_for_taos_own_omegaconf():
    tree = {
        "results_dir": "/r",
        "train": {"num_epochs": 9},
        "export": {
            "checkpoint": "${results_dir}/train/model_best.pth",
            "onnx_file": "${train.num_epochs}.onnx",
            "results_dir": "${oc.env:NOT_SET,/x}/e",
        },
    }
    complete = spec.completed("export", tree)
    assert spec.kept_references(tree, complete) == {
        "export.checkpoint": "${results_dir}/train/model_best.pth",
        "export.results_dir": "${oc.env:NOT_SET,/x}/e",
    }
    assert complete["export"]["onnx_file"] == "9.onnx"

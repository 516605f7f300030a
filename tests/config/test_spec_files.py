"""Every file under tests/specs is a case; an invalid one says the code and the key it expects."""

import re
from functools import cache
from pathlib import Path

import jsonschema
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from ocdnet.catalogue import ACTIONS
from ocdnet.catalogue_entry import ROOT_KEYS
from ocdnet.config import schema, spec
from ocdnet.config.rules import Needed
from ocdnet.errors import DataError, UserError
from ocdnet.tree import overrides
from ocdnet.tree.normalise import Normaliser
from ocdnet_generator import schemas

SPECS = Path(__file__).parents[1] / "specs"


def apply(tree, given):
    return overrides.apply(tree, given, schema.experiment())


def cases(*kinds):
    paths = [path for kind in kinds for path in sorted((SPECS / kind).glob("*/*.yaml"))]
    assert paths
    return [pytest.param(path, id=str(path.relative_to(SPECS))) for path in paths]


def expected(path):
    """Code and key of the problem that a bad spec's first line names."""
    return tuple(path.read_text().splitlines()[0].removeprefix("# expect: ").split())


@cache
def validator(action):
    return jsonschema.Draft202012Validator(schemas.build(action))


def key_of(action, error):
    """The key that an error of the schema is about: that of its rule, else where it stands."""
    where = list(error.absolute_schema_path)
    if where[0] == "allOf":
        return validator(action).schema["allOf"][where[1]]["title"]
    place = [str(part) for part in error.absolute_path]
    if error.validator == "required":
        place += [name for name in error.validator_value if name not in error.instance][:1]
    if error.validator == "additionalProperties":
        place += [name for name in error.instance if name not in error.schema["properties"]][:1]
    return ".".join(place)


def schema_errors(action, tree):
    errors = validator(action).iter_errors(spec.normalised(action, tree))
    return [key_of(action, error) for error in errors]


@pytest.mark.parametrize("path", cases("valid"))
def test_valid_spec_is_accepted_by_dataclasses_and_schema(path):
    spec.load(path.parent.name, path)
    assert schema_errors(path.parent.name, spec.read(path)) == []


@pytest.mark.parametrize("path", cases("invalid", "invalid_runtime"))
def test_invalid_spec_names_code_and_key(path):
    code, key = expected(path)
    with pytest.raises(UserError) as caught:
        spec.load(path.parent.name, path)
    error = caught.value
    assert (error.code, error.key or "-") == (code, key)
    assert key == "-" or repr(key) in error.message
    assert error.exit_code == (4 if isinstance(error, DataError) else 3)
    assert isinstance(error, DataError) == (code == "archive-as-path")


@pytest.mark.parametrize("path", cases("invalid"))
def test_invalid_spec_is_refused_by_the_schema_at_the_same_key(path):
    _, key = expected(path)
    assert key in schema_errors(path.parent.name, spec.read(path))


@pytest.mark.parametrize("path", cases("invalid_runtime"))
def test_what_the_schema_can_refuse_stands_under_invalid(path):
    try:
        tree = spec.read(path)
    except UserError:
        return
    assert schema_errors(path.parent.name, tree) == []


VALUES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-2, 2000),
    st.floats(-2, 2),
    st.sampled_from([5.0, 64, 1e-3, "", "???", "yes", "a.ZIP", "m.pth", "FP16", "INT8", "Adam"]),
    st.lists(st.sampled_from([0, -1, "a", "a.tar.gz", "???", 1.5]), max_size=2),
    st.dictionaries(st.sampled_from(["type", "nope"]), st.just("x"), max_size=2),
)
ONE_VALUE_EACH = {
    "dataset": {
        "train_dataset": {"data_path": ["/t"]},
        "validate_dataset": {"data_path": ["/v"]},
    },
    "model": {"pruned_graph_path": "p.pth"},
    "evaluate": {"checkpoint": "m.pth"},
    "inference": {"checkpoint": "m.pth", "input_folder": "/img"},
    "export": {"checkpoint": "m.pth"},
    "prune": {"checkpoint": "m.pth"},
    "quantize": {"model_path": "m.pth"},
    "gen_trt_engine": {"onnx_file": "m.onnx", "trt_engine": "m.engine"},
}
KEYS = {
    action: [
        key for key in schema.known_keys() if key.partition(".")[0] in (*ROOT_KEYS, *entry.sections)
    ]
    for action, entry in ACTIONS.items()
}

BY_DATACLASSES = {expected(case.values[0]) for case in cases("invalid_runtime")}
"""What the schema can't refuse, by code and key."""
IN_A_STEP = re.compile(r"\.pre_processes\.\d+\.")


@st.composite
def mutated(draw):
    """An action, and a spec that is nearly valid for it."""
    action = draw(st.sampled_from(list(ACTIONS)))
    tree = apply(ONE_VALUE_EACH, [])
    if action.startswith("deploy_"):
        tree[ACTIONS[action].section]["trt_engine"] = "m.engine"
        del tree[ACTIONS[action].section]["checkpoint"]
    # Half of the time among the keys that rules are about, where the two could drift apart.
    rules = spec.rules_of(ACTIONS[action])
    ruled = [rule.key for rule in rules]
    ruled += [rule.when.key for rule in rules if isinstance(rule, Needed) and rule.when]
    for _ in range(draw(st.integers(1, 3))):
        key = draw(st.sampled_from(ruled) | st.sampled_from(KEYS[action]))
        value, container = draw(VALUES), tree
        *parents, name = key.split(".")
        for parent in parents:
            container = container.setdefault(parent, {})
            if not isinstance(container, dict):
                break
        else:
            container[name] = value
    return action, tree


@settings(deadline=None, max_examples=500)
@given(mutated())
def test_dataclasses_and_schema_agree_on_a_mutated_spec(case):
    action, tree = case
    normaliser = Normaliser(schema.experiment())
    normaliser.mapping(tree, schema.experiment())
    assume(not normaliser.problems)
    found = spec.problems(action, tree)
    by_schema = set(schema_errors(action, tree))
    # Only the dataclasses compare two values, and look into the steps of pre_processes.
    alone = {
        problem.key
        for problem in found
        if ((problem.code, problem.key) in BY_DATACLASSES and problem.key not in by_schema)
        or (IN_A_STEP.search(problem.key) and problem.code != "missing-value")
    }
    refused = {problem.key for problem in found} - alone
    assert bool(refused) == bool(by_schema), (refused, by_schema)
    if refused and not alone:
        # One at least is told at the same key; which others are seen beyond it may differ.
        assert refused & by_schema, (refused, by_schema)

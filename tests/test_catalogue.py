"""The catalogue names keys, functions and actions that exist, and its entries fit each other."""

import importlib
import re

import pytest

from ocdnet.catalogue import ACTIONS, AUTOML, PLANNED, RUNS
from ocdnet.config import schema
from ocdnet.policy.parents import FUNCTIONS
from ocdnet.tree import keys, nodes
from ocdnet_generator.schemas import build

ENTRIES = pytest.mark.parametrize("entry", [*PLANNED.values(), AUTOML], ids=lambda e: e.name)


@ENTRIES
def test_its_keys_are_keys_of_its_sections(entry):
    named = {*entry.required, *entry.defaults, *(item.key for item in entry.inputs)}
    named |= {output.key for output in entry.outputs} | set(entry.fills)
    named |= {output.beside for output in entry.outputs if output.beside}
    for condition in (item.when for item in entry.inputs if item.when):
        named |= {one.key for one in getattr(condition, "conditions", (condition,))}
    named |= {variant.when.key for variant in entry.variants}
    for sentence in (entry.does, *entry.files):
        named |= set(re.findall(r"\{([\w.]+)\}", sentence))
    read = build(entry.spec) if entry.sections else {"properties": {"results_dir": {}}}
    assert [key for key in sorted(named) if nodes.find(read, key) is None] == []
    assert set(entry.fills.values()) <= set(FUNCTIONS)


@ENTRIES
def test_its_function_is_there(entry):
    pytest.importorskip("torch")
    module, _, function = entry.run.partition(":")
    assert callable(getattr(importlib.import_module(module), function))


@pytest.mark.parametrize("entry", ACTIONS.values(), ids=lambda e: e.name)
def test_what_follows_an_action_takes_what_it_leaves(entry):
    for name in entry.followed_by:
        taken = {kind.removeprefix("full ") for kind in PLANNED[name].takes}
        # What quantize writes is a checkpoint that is used as it is.
        left = "checkpoint" if entry.makes == "quantized" else entry.makes
        assert left in taken, name
        assert PLANNED[name].model is not None


def test_every_action_that_takes_a_model_follows_one_that_leaves_it():
    following = {name for entry in ACTIONS.values() for name in entry.followed_by}
    assert following == {entry.name for entry in ACTIONS.values() if entry.takes}


def test_what_holds_of_a_value_holds_of_the_spec_that_has_it():
    plain = ACTIONS["quantize"]
    onnx = plain.of(keys.nested({"quantize.backend": "modelopt.onnx"}))
    assert (plain.of({}), plain.takes, onnx.takes) == (plain, ("full checkpoint",), ("onnx",))
    assert onnx.files != plain.files


def test_sections_are_the_experiments_and_folders_are_told_apart():
    sections = set(schema.experiment()["properties"])
    assert all(set(entry.sections) <= sections for entry in PLANNED.values())
    assert {entry.section for entry in RUNS.values()} >= {"train", "evaluate", "automl"}

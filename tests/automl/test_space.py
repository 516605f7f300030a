"""What is searched follows from the packaged schema alone."""

from __future__ import annotations

import copy

import pytest
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

from automl import searching as made
from ocdnet.automl.space import space
from ocdnet.errors import SpecError
from ocdnet.tree import nodes

PRE_PROCESSES = "dataset.train_dataset.args.pre_processes"


@pytest.fixture
def tree(tmp_path):
    return made.tree(tmp_path)


@pytest.fixture
def schema():
    return copy.deepcopy(made.schema())


def spaced(*args, **more):
    return {parameter.key: parameter for parameter in space(*args, **more)}


def refused(*args, **more):
    with pytest.raises(SpecError) as raised:
        space(*args, **more)
    return raised.value


def test_by_default_what_the_schema_enables(schema, tree):
    found = spaced(schema, tree, "train_loss")
    enabled = {key for key, node in nodes.leaves(schema) if node.get("automl_enabled") is True}
    assert set(found) == enabled == set(schema["automl_default_parameters"])
    assert found[made.LR].distribution == FloatDistribution(1e-5, 1e-2, log=True)


def test_ranges_and_scales_are_the_schema_s(schema, tree):
    node = nodes.find(schema, made.LR)
    node["search"] = {"min": 0.001, "max": 0.5, "scale": "linear"}
    assert spaced(schema, tree, "train_loss")[made.LR].distribution == FloatDistribution(0.001, 0.5)
    node["automl_enabled"] = False
    assert made.LR not in spaced(schema, tree, "train_loss")


def test_further_keys_by_name(schema, tree):
    asked = ["dataset.train_dataset.loader.batch_size", "train.loss.alpha", "train.optimizer.type"]
    found = spaced(schema, tree, "hmean", asked)
    assert set(asked) < set(found)
    assert found[asked[0]].distribution == CategoricalDistribution([2, 4, 8, 16, 32])
    assert found[asked[1]].distribution == IntDistribution(1, 10)
    assert found[asked[2]].distribution == CategoricalDistribution(["Adam", "AdamW"])
    assert found[asked[2]].weights == (0.5, 0.5)


def test_weights_are_of_the_choices_that_are_searched(schema, tree):
    node = nodes.find(schema, "train.optimizer.type")
    node["search"] = {"choices": ["SGD", "Adam"]}
    found = spaced(schema, tree, "hmean", ["train.optimizer.type"])
    assert found["train.optimizer.type"].weights == pytest.approx((0.1 / 0.55, 0.45 / 0.55))


@pytest.mark.parametrize(
    "key", ["train.loss.alpha", "train.loss.beta", "train.loss.ohem_ratio", PRE_PROCESSES]
)
def test_what_changes_the_loss_s_measure_needs_hmean(schema, tree, key):
    error = refused(schema, tree, "train_loss", [key])
    assert (error.code, error.expected) == ("wrong-metric", "hmean")
    assert error.message == (
        f"{key!r} is searched with metric hmean alone: it changes what the loss measures, so that "
        "a lower train_loss would not mean a better detector"
    )
    assert error.hint == f"Add --metric hmean, or leave out --search {key}."
    assert key in spaced(schema, tree, "hmean", [key])


def test_a_list_of_steps_comes_back_as_it_was(schema, tree):
    parameter = spaced(schema, tree, "hmean", [PRE_PROCESSES])[PRE_PROCESSES]
    choices = nodes.find(schema, PRE_PROCESSES)["search"]["choices"]

    class Chosen:
        def __init__(self, at):
            self.at = at

        def suggest_categorical(self, _, told):
            return told[self.at]

    assert [parameter.draw(Chosen(at)) for at in range(len(choices))] == choices
    assert parameter.stored(choices[1]) == parameter.distribution.choices[1]


@pytest.mark.parametrize(
    ("condition", "low", "high"),
    [
        ("> 0.0", 1e-5, 1e-2),
        ("> 1e-4", 1e-4, 1e-2),
        (">= 0.001", 1e-3, 1e-2),
        ("< 0.002", 1e-5, 2e-3),
        ("<= 0.002", 1e-5, 2e-3),
    ],
)
def test_a_math_condition_bounds_the_range(schema, tree, condition, low, high):
    nodes.find(schema, made.LR)["math_cond"] = condition
    found = spaced(schema, tree, "train_loss")[made.LR].distribution
    assert (found.low, found.high) == pytest.approx((low, high))
    assert (found.low > low) == (condition == "> 1e-4")
    assert (found.high < high) == (condition == "< 0.002")


def test_a_strict_condition_on_a_whole_number(schema, tree):
    nodes.find(schema, "train.loss.alpha")["math_cond"] = "> 3"
    found = spaced(schema, tree, "hmean", ["train.loss.alpha"])["train.loss.alpha"].distribution
    assert (found.low, found.high) == (4, 10)


def test_a_condition_that_is_none_is_refused(schema, tree):
    nodes.find(schema, made.LR)["math_cond"] = "^ 2"
    assert refused(schema, tree, "train_loss").code == "bad-schema"


def test_what_a_switch_turns_off_has_no_effect(schema, tmp_path):
    key = "train.model_ema_decay"
    error = refused(schema, made.tree(tmp_path), "train_loss", [key])
    assert (error.code, error.hint) == (
        "no-effect",
        f"Set train.model_ema=true, or leave out --search {key}.",
    )
    on = made.tree(tmp_path, "train.model_ema=true")
    assert spaced(schema, on, "train_loss", [key])[key].distribution.choices == (
        0.9,
        0.99,
        0.999,
        0.9999,
    )


def test_what_has_no_range_is_refused(schema, tree):
    error = refused(schema, tree, "train_loss", ["train.seed"])
    assert error.code == "not-searchable"
    assert made.LR in error.expected


def test_an_unknown_key_is_told_what_was_meant(schema, tree):
    error = refused(schema, tree, "train_loss", ["train.optimizer.args.lrr"])
    assert (error.code, error.hint) == ("unknown-key", f"Did you mean {made.LR!r}?")


def test_what_is_fixed_is_not_searched(schema, tree):
    assert set(spaced(schema, tree, "train_loss", fixed=[made.DECAY])) == {made.LR}
    assert refused(schema, tree, "train_loss", fixed=[made.LR, made.DECAY]).code == (
        "nothing-to-search"
    )
    assert refused(schema, tree, "train_loss", [made.LR], [made.LR]).code == "conflict"


def test_a_value_outside_of_the_range_is_none_of_its(schema, tree):
    found = spaced(schema, tree, "train_loss")
    assert found[made.DECAY].stored(0.0) is None
    assert found[made.LR].stored(0.001) == 0.001

"""Dotted keys read what they wrote, and a typo finds the name that it meant."""

import copy

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ocdnet.tree import keys

NAME = st.from_regex(r"[a-z_]{1,4}", fullmatch=True)
TREE = st.recursive(
    st.none() | st.integers() | st.lists(st.integers(), max_size=2),
    lambda below: st.dictionaries(NAME, below, max_size=3),
    max_leaves=8,
).filter(lambda tree: isinstance(tree, dict))


def dotted(tree, prefix=""):
    for name, value in tree.items():
        yield f"{prefix}{name}", value
        if isinstance(value, dict):
            yield from dotted(value, f"{prefix}{name}.")


@given(TREE)
def test_every_value_is_where_its_key_says(tree):
    for key, value in dotted(tree):
        assert keys.has(tree, key)
        assert keys.get(tree, key) is value
    leaves = {key: value for key, value in dotted(tree) if not isinstance(value, dict) or not value}
    assert keys.nested(leaves) == tree


@given(TREE, st.lists(NAME, min_size=1, max_size=4).map(".".join))
def test_what_is_dropped_is_gone_and_the_rest_stays(tree, key):
    before = copy.deepcopy(tree)
    held = keys.has(tree, key)
    assert keys.drop(tree, key) == held
    assert not keys.has(tree, key)
    if not held:
        assert tree == before
        assert keys.get(tree, key, "default") == "default"


@given(TREE)
def test_the_leaves_are_the_tree_again(tree):
    assert keys.nested(dict(keys.leaves(tree))) == tree


def test_the_way_to_a_key():
    assert keys.prefixes("train.loss.alpha") == ["train", "train.loss", "train.loss.alpha"]


def test_a_number_is_a_place_in_a_list():
    tree = {"steps": [{"type": "A", "args": {}}, {"type": "B"}]}
    assert keys.get(tree, "steps.1.type") == "B"
    assert not keys.has(tree, "steps.2.type")
    assert not keys.has(tree, "steps.x")
    keys.set(tree, "steps.0.args.size", [1, 2])
    keys.set(tree, "steps.1", {"type": "C"})
    assert tree == {"steps": [{"type": "A", "args": {"size": [1, 2]}}, {"type": "C"}]}
    with pytest.raises(IndexError):
        keys.set(tree, "steps.5.type", "D")


@pytest.mark.parametrize(
    ("word", "meant"),
    [
        ("tao_docker", "tao-docker"),
        ("Kubernets", "kubernetes"),
        ("SLURM", "slurm"),
        ("x" * 100_000, None),
        ("", None),
        ("lokal", "local"),
    ],
)
def test_the_word_that_was_meant(word, meant):
    assert keys.nearest(word, ["local", "docker", "tao-docker", "slurm", "kubernetes"]) == meant

"""Keys that code names are keys of the spec, and the rules that light and heavy code share."""

from pathlib import Path

import pytest

from ocdnet import spec_keys
from ocdnet.catalogue_entry import ROOT_KEYS
from ocdnet.config import schema

NAMED = {name: value for name, value in vars(spec_keys).items() if isinstance(value, str)}
NAMED = {name: value for name, value in NAMED.items() if name.isupper()}


@pytest.mark.parametrize("name", NAMED)
def test_what_code_names_is_a_key_of_the_spec(name):
    assert NAMED[name] in schema.known_keys()


def test_no_key_has_two_names():
    assert len(set(NAMED.values())) == len(NAMED) > 20


def test_secrets_are_root_keys_and_hidden_where_they_are_given():
    assert set(spec_keys.SECRETS) <= set(ROOT_KEYS)
    given = {"encryption_key": "abc", "train": {"seed": 1}}
    assert spec_keys.masked(given) == {"encryption_key": "***", "train": {"seed": 1}}
    assert given["encryption_key"] == "abc"
    assert spec_keys.masked({"encryption_key": ""}) == {"encryption_key": ""}
    assert spec_keys.masked({}) == {}


@pytest.mark.parametrize(
    ("epochs", "given", "used"), [(10, 3, 3), (3, 3, 2), (1, 3, 0), (1, 0, 0), (4, 3, 3)]
)
def test_warmup_ends_before_the_last_epoch(epochs, given, used):
    assert spec_keys.clamped_warmup(epochs, given) == used


def test_a_sections_own_folder_goes_before_the_common_one():
    assert spec_keys.results_folder("out", "", "train") == Path("out/train")
    assert spec_keys.results_folder("out", "mine", "train") == Path("mine")

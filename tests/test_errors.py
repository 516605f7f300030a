"""Errors as programs and people see them: the text is an interface, so it is pinned."""

from __future__ import annotations

import json
import pickle

import pytest

from ocdnet import errors
from ocdnet.errors import DataError, SpecError, UserError

# What agents branch on: one code for each kind of error.
EXIT_CODES = {
    "UsageError": 2,
    "SpecError": 3,
    "DataError": 4,
    "EnvironmentFault": 5,
    "RunError": 6,
    "Interrupted": 130,
}


def test_every_kind_has_its_documented_exit_code():
    kinds = {kind.__name__: int(kind.exit_code) for kind in UserError.__subclasses__()}
    assert kinds == EXIT_CODES
    assert (errors.Exit.DONE, errors.Exit.BUG, errors.Exit.INTERRUPTED) == (0, 1, 130)


@pytest.mark.parametrize("name", EXIT_CODES)
def test_an_error_comes_whole_out_of_a_worker_process(name):
    error = getattr(errors, name)(
        "bad-label", "img_1.txt:3 is no polygon", "1,2", "8 numbers", "Mend it."
    )
    copy = pickle.loads(pickle.dumps(error))
    assert type(copy) is type(error)
    assert copy.to_dict() == error.to_dict()
    assert str(copy) == str(error)


def test_programs_get_five_fields():
    error = SpecError("out-of-range", "train.num_epochs is too small", got=0, expected="1 or more")
    assert json.loads(json.dumps(error.to_dict())) == {
        "code": "out-of-range",
        "message": "train.num_epochs is too small",
        "got": 0,
        "expected": "1 or more",
        "hint": None,
    }


@pytest.mark.parametrize(
    ("fields", "text"),
    [
        ({}, "There is no a.pth"),
        ({"hint": "Train first."}, "There is no a.pth. Train first."),
        ({"got": 0}, "There is no a.pth; got 0"),
        ({"expected": ["a: x.", "b: y."]}, "There is no a.pth; expected\n  a: x.\n  b: y."),
        (
            {"got": "x", "expected": "a file", "hint": "Train first."},
            "There is no a.pth; got 'x'; expected a file. Train first.",
        ),
    ],
)
def test_people_get_one_line(fields, text):
    assert str(DataError("no-checkpoint", "There is no a.pth", **fields)) == text

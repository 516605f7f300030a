"""`ocdnet spec validate`."""

import json

import pytest
from click.testing import CliRunner

from ocdnet.cli.spec import spec

VALID = "dataset: {train_dataset: {data_path: [/data/train]}}\n"


@pytest.fixture
def validate(tmp_path):
    def run(text, *overrides):
        path = tmp_path / "spec.yaml"
        path.write_text(text)
        result = CliRunner().invoke(spec, ["validate", "train", str(path), *overrides])
        return result.exit_code, json.loads(result.stdout)

    return run


def test_valid(validate):
    assert validate(VALID) == (0, {"ok": True, "errors": [], "notices": []})


def test_notices(validate):
    code, result = validate(VALID, "train.num_epochs=1")
    assert code == 0
    assert "warmup_epoch" in result["notices"][0]


def test_invalid_lists_every_error(validate):
    code, result = validate("train: {num_epoch: 3, seed: x}")
    assert (code, result["ok"]) == (3, False)
    assert result["errors"][0] == {
        "key": "train.num_epoch",
        "code": "unknown-key",
        "message": "'train.num_epoch' is not a key of the experiment",
        "got": None,
        "expected": None,
        "did_you_mean": "train.num_epochs",
    }
    assert [error["key"] for error in result["errors"][1:]] == [
        "train.seed",
        "dataset.train_dataset.data_path",
    ]


def test_only_archives_is_a_data_error(validate):
    archive = "dataset.train_dataset.data_path=[a.zip]"
    assert validate(VALID, archive)[0] == 4
    assert validate(VALID, archive, "train.seed=x")[0] == 3


@pytest.mark.parametrize("text", ["[", "- 1", "train: {seed: [" + "1," * 5000 + "]}", "x: 1\n" * 2])
def test_output_stays_small(validate, text):
    code, result = validate(text)
    assert code == 3
    assert len(json.dumps(result)) < 2000


def test_many_errors_are_counted(validate):
    result = validate("".join(f"key{i}: 1\n" for i in range(50)))[1]
    assert len(result["errors"]) + result["more_errors"] == 51

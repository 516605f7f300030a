"""Schemas from records: the rules, and the two on documents of real runs."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Literal

import jsonschema
import pytest

import support
from ocdnet.actions import evaluate
from ocdnet.config import spec
from ocdnet.runs.status import StatusWriter
from ocdnet.runs.status_line import Kpi
from ocdnet.runs.typed import Bounds, Pattern, Record, SchemaVersion, Size, With
from ocdnet_generator import records


@dataclass(frozen=True, kw_only=True)
class Short(Record):
    """One kind of route."""

    kind: Literal["short"] = "short"


@dataclass(frozen=True, kw_only=True)
class Long(Record):
    """The other."""

    kind: Literal["long"] = "long"
    stops: Annotated[tuple[Annotated[str, Size(least=1)], ...], Size(least=1, most=3)]


@dataclass(frozen=True, kw_only=True)
class Base(Record):
    """What a journey is built on."""

    schema_version: SchemaVersion = 1
    route: Short | Long
    """How it
    goes."""


@dataclass(frozen=True, kw_only=True)
class Journey(Base):
    """Every kind of field."""

    ticket: str | None
    price: Annotated[float, Bounds(minimum=0), With(("ticket",))] | None = None
    notes: Mapping[Annotated[str, Pattern("^[a-z]+$")], int | str]


STATUS = jsonschema.Draft202012Validator(records.status())
RESULTS = jsonschema.Draft202012Validator(records.results())


def test_a_field_is_required_null_bounded_and_described_by_its_declaration():
    node = records.schema(Journey, "A journey", "From here to there.")
    assert (node["title"], node["description"]) == ("A journey", "From here to there.")
    assert node["required"] == ["schema_version", "route", "ticket", "notes"]
    assert node["additionalProperties"] is False
    fields = node["properties"]
    assert fields["ticket"] == {"anyOf": [{"type": "string"}, {"type": "null"}]}
    assert fields["price"] == {"type": "number", "minimum": 0}
    assert node["dependentRequired"] == {"price": ["ticket"]}
    assert fields["notes"] == {
        "type": "object",
        "propertyNames": {"pattern": "^[a-z]+$"},
        "additionalProperties": {"anyOf": [{"type": "integer"}, {"type": "string"}]},
    }
    assert fields["route"]["description"] == "How it goes."
    assert fields["route"]["properties"] == {"kind": {"type": "string", "enum": ["long", "short"]}}


def test_a_union_is_told_apart_by_its_tag():
    validator = jsonschema.Draft202012Validator(records.schema(Short | Long, "", ""))
    assert validator.is_valid({"kind": "short"})
    assert validator.is_valid({"kind": "long", "stops": ["here"]})
    for wrong in ({}, {"kind": "x"}, {"kind": "long"}, {"kind": "short", "stops": ["here"]}):
        assert not validator.is_valid(wrong)
    for stops in ([], [""], list("abcd")):
        assert not validator.is_valid({"kind": "long", "stops": stops})


def test_what_has_no_schema_is_refused():
    with pytest.raises(KeyError):
        records.schema(set[int], "", "")


def test_they_are_valid_schemas():
    for validator in (STATUS, RESULTS):
        jsonschema.Draft202012Validator.check_schema(validator.schema)


@pytest.fixture(scope="module")
def runs(scenes, detector, tmp_path_factory):
    """Folders of a training run and of an evaluation of its best checkpoint."""
    out = tmp_path_factory.mktemp("evaluated")
    side = f"[{support.SIDE},{support.SIDE}]"
    with pytest.MonkeyPatch.context() as patch:
        support.shrink_network(patch)
        given = [
            f"results_dir={out}",
            f"evaluate.checkpoint={detector}",
            f"dataset.validate_dataset.data_path=[{scenes}/test]",
            f"dataset.validate_dataset.args.pre_processes.0.args.short_size={side}",
        ]
        evaluate.run(spec.load("evaluate", None, given))
    return detector.parent, out / "evaluate"


def test_every_line_of_a_run_is_described(runs):
    for folder in runs:
        lines = support.status_lines(folder)
        assert len(lines) > 2
        for line in lines:
            STATUS.validate(line)


def test_results_of_a_run_are_described(runs):
    for folder in runs:
        RESULTS.validate(json.loads((folder / "results.json").read_text()))
        assert json.loads((folder / "results.json").read_text())["schema_version"] == 1


def test_what_differs_is_refused(runs, tmp_path):
    result = json.loads((runs[0] / "results.json").read_text())
    assert not RESULTS.is_valid(result | {"hmean": 0.5})
    assert not RESULTS.is_valid({k: v for k, v in result.items() if k != "best_epoch"})
    assert not RESULTS.is_valid(result | {"action": "export"})
    StatusWriter(tmp_path / "status.json").write("RUNNING", "x", Kpi(hmean=0.5), epoch=1)
    (line,) = support.status_lines(tmp_path)
    assert not STATUS.is_valid(line)  # an epoch without its step
    del line["epoch"]
    STATUS.validate(line)
    for wrong in ({"status": "DONE"}, {"kpi": {"hmean": "0.5"}}, {"time": "1:2:3"}, {"loss": 1}):
        assert not STATUS.is_valid(line | wrong)

"""Records: what is written is read the same, and whatever is read is a record or a clear error."""

from __future__ import annotations

import dataclasses
import json
from typing import get_args

import jsonschema
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import results_folders as made
from ocdnet.catalogue import ACTIONS
from ocdnet.errors import DataError
from ocdnet.files import write_json
from ocdnet.runs.jobs import run_folders
from ocdnet.runs.parsing import loads, parse
from ocdnet.runs.printed import EngineResult, Failure, failure
from ocdnet.runs.records import EvaluateResult, Results, TrainResult, read_results, write_results
from ocdnet.runs.searches import SearchResult, TrialSummary
from ocdnet.runs.status import StatusWriter, read_status
from ocdnet.runs.status_line import Kpi, StatusLine
from ocdnet.runs.typed import SCHEMA_VERSION, to_json
from ocdnet_generator import records

SCHEMA = records.results()
VALIDATOR = jsonschema.Draft202012Validator(SCHEMA)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner),
    max_leaves=6,
)
KINDS = [*get_args(Results), StatusLine, EngineResult]


def values(node):  # noqa: PLR0911 - a kind of node each
    """What a node of a schema allows, of simple kinds."""
    if "enum" in node:
        return st.sampled_from(node["enum"])
    if "anyOf" in node:
        return st.one_of(*map(values, node["anyOf"]))
    low, high = node.get("minimum"), node.get("maximum")
    match node.get("type"):
        case "null":
            return st.none()
        case "boolean":
            return st.booleans()
        case "integer":
            return st.integers(low, high if high is not None else 10**9)
        case "number":
            return st.floats(low, high, allow_nan=False, allow_infinity=False)
        case "string" if "pattern" in node:
            return st.from_regex(node["pattern"].replace("\\d", "[0-9]"), fullmatch=True)
        case "string":
            return st.text(max_size=8)
        case "array":
            return st.lists(values(node["items"]), max_size=2)
        case "object" if "properties" in node:
            parts = {name: values(part) for name, part in node["properties"].items()}
            needed = {name: parts.pop(name) for name in node.get("required", ())}
            return st.fixed_dictionaries(needed, optional=parts)
        case "object" if "additionalProperties" in node:
            return st.dictionaries(st.text(max_size=8), values(node["additionalProperties"]))
        case "object":
            return st.dictionaries(st.text(max_size=8), st.integers(0, 9) | st.text(max_size=8))
    raise AssertionError(node)


DOCUMENTS = st.one_of(*(values(branch["then"]) for branch in SCHEMA["allOf"]))
STATUS = records.status()


def whole(line):
    """The line without an epoch that lacks its numbers, of which `values` knows nothing."""
    together = {"epoch", *STATUS["dependentRequired"]["epoch"]}
    return line if together <= line.keys() else {k: v for k, v in line.items() if k != "epoch"}


LINES = values(STATUS).map(whole)


def evaluation(**changes):
    """A small evaluate document as an early release wrote it."""
    score = {"hmean": 0.5, "precision": 0.5, "recall": 0.5}
    counts = {"matched": 1, "gt_care": 2, "det_care": 2}
    return {
        "action": "evaluate",
        **score,
        "counts": counts,
        "images": 1,
        "checkpoint": "model_best.pth",
        "thresholds": {"thresh": 0.3, "box_thresh": 0.6},
        "results": "results.json",
        "per_image": [{"image": "a.png", **score, **counts}],
        **changes,
    }


class TestWrittenAndRead:
    @settings(deadline=None)
    @given(DOCUMENTS)
    def test_what_the_schema_allows_is_read_whole_and_written_the_same(self, document):
        notes = []
        record = parse(Results, document, "results.json", notes)
        assert notes == []
        assert record.extra == {}
        written = json.loads(json.dumps(to_json(record), allow_nan=False))
        assert written == document
        VALIDATOR.validate(written)
        assert parse(Results, written, "results.json") == record

    @settings(deadline=None)
    @given(LINES)
    def test_so_is_a_status_line(self, document):
        line = parse(StatusLine, document, "status.json")
        assert json.loads(json.dumps(to_json(line))) == document
        jsonschema.Draft202012Validator(STATUS).validate(document)

    @settings(deadline=None)
    @given(DOCUMENTS, st.dictionaries(st.text(max_size=8).map("new_{}".format), JSON, max_size=3))
    def test_unknown_fields_are_written_again(self, document, more):
        more = json.loads(json.dumps(more), parse_constant=lambda _: None)
        record = parse(Results, document | more, "results.json")
        assert to_json(record) == document | more

    def test_unknown_fields_of_parts_are_kept_too(self):
        document = evaluation(counts={"matched": 1, "gt_care": 1, "det_care": 1, "lost": 2})
        record = parse(Results, document, "results.json")
        assert to_json(record)["counts"]["lost"] == 2

    def test_a_file_is_read_as_it_was_written(self, tmp_path):
        result = made.trained(tmp_path, 2, 0.5)
        write_results(tmp_path, result)
        assert read_results(tmp_path / "results.json") == result
        first = next(iter(json.loads((tmp_path / "results.json").read_text())))
        assert first == "schema_version"

    def test_every_record_keeps_its_order_and_leaves_out_what_is_unset(self):
        kpi = to_json(Kpi(train_loss=2.0, hmean=0.5))
        assert list(kpi) == ["hmean", "train_loss"]
        assert "value" not in to_json(TrialSummary(trial=1, state="running"))
        document = to_json(made.searched("folder"))
        assert document["best"] is None  # null is said, where it says something

    @pytest.mark.parametrize("kind", KINDS)
    def test_a_document_says_its_version_first(self, kind):
        names = [item.name for item in dataclasses.fields(kind) if item.name != "extra"]
        assert names[0] == "schema_version"
        assert "schema_version" in records.schema(kind, "", "")["required"]


class TestWhateverIsThere:
    @settings(deadline=None)
    @given(st.data())
    def test_junk_is_a_record_or_the_clear_error(self, data):
        document = data.draw(JSON | DOCUMENTS)
        if isinstance(document, dict):
            names = st.sampled_from(sorted(document) or ["action"])
            document = document | data.draw(st.dictionaries(names, JSON, max_size=3))
        document = loads(json.dumps(document))
        notes = []
        try:
            record = parse(Results, document, "results.json", notes)
        except DataError as error:
            assert error.code == "not-a-record"
            assert "results.json" in error.message
            assert error.expected
            assert error.hint
        else:
            json.dumps(to_json(record), allow_nan=False)
        assert len(notes) <= 21

    @settings(deadline=None)
    @given(st.binary(max_size=200) | st.text().map(str.encode) | JSON.map(json.dumps))
    def test_text_of_any_kind_is_json_or_a_value_error(self, text):
        try:
            value = loads(text)
        except ValueError:
            return
        json.dumps(value, allow_nan=False)

    @pytest.mark.parametrize(
        "text",
        [
            "[" * 100_000,
            '{"action": "train", "x": ' + "[" * 500 + "]" * 500 + "}",
            '{"a":' * 90_000,
            "1" * 10_000,
            '{"action": ' + "9" * 4000 + "}",
            '{"action": "train", "best_epoch": NaN}',
            '{"action": "train", "best_epoch": 1e999}',
            "",
            "null",
            "\x00",
        ],
    )
    def test_a_file_of_anything_is_the_clear_error(self, tmp_path, text):
        (tmp_path / "results.json").write_text(text)
        with pytest.raises(DataError) as caught:
            read_results(tmp_path / "results.json")
        assert caught.value.code in ("unreadable-record", "not-a-record")
        assert str(tmp_path / "results.json") in caught.value.message
        assert len(str(caught.value)) < 500

    @pytest.mark.parametrize("kind", ["missing", "folder", "huge"])
    def test_what_is_no_file_or_too_large_is_the_clear_error(self, tmp_path, kind):
        path = tmp_path / "results.json"
        if kind == "folder":
            path.mkdir()
        elif kind == "huge":
            with path.open("wb") as file:
                file.truncate(1 << 33)  # eight gigabytes, sparse
        with pytest.raises(DataError) as caught:
            read_results(path)
        assert caught.value.code == "unreadable-record"

    def test_the_error_names_the_field_what_it_holds_and_what_it_takes(self):
        with pytest.raises(DataError) as caught:
            parse(Results, evaluation(counts={"matched": -1}), "results.json")
        error = caught.value
        assert error.message == "'counts.matched' of results.json is not as this skill writes it"
        assert (error.got, error.expected) == (-1, "a number 0 or more")
        with pytest.raises(DataError, match=r"results\.json lacks 'action'"):
            parse(Results, {}, "results.json")

    def test_nothing_in_a_list_hides_the_rest(self):
        good = evaluation()["per_image"][0]
        rows = [good, 7, None, {"hmean": 2}, good | {"matched": "x"}, good]
        notes = []
        record = parse(Results, evaluation(per_image=rows), "results.json", notes)
        assert [row.image for row in record.per_image] == ["a.png", "a.png"]
        assert len(notes) == 4
        assert "per_image.1 is 7, not an object" in notes[0]

    def test_a_field_that_may_be_absent_hides_nothing_and_is_not_lost(self):
        notes = []
        record = parse(Results, evaluation(backend=[1]), "results.json", notes)
        assert record.backend is None
        assert to_json(record)["backend"] == [1]
        assert "backend is 'a list', not a text" in notes[0]

    def test_of_many_misfits_a_few_are_told(self):
        notes = []
        parse(Results, evaluation(per_image=[7] * 100_000), "results.json", notes)
        assert len(notes) == 20

    def test_no_line_hides_the_others(self, tmp_path):
        path = tmp_path / "status.json"
        StatusWriter(path).write("STARTED", "first")
        with path.open("ab") as file:
            lines = [b"{", b"[]", b"\xff\xfe", b'{"status": "DONE"}', b'{"status": 3}', b"[" * 9999]
            file.write(b"\n".join(lines) + b"\n")
            file.write(b'{"status": "RUNNING", "epoch": "x", "kpi": [], "message": "odd"}\n')
        StatusWriter(path).write("RUNNING", "last", Kpi(hmean=0.5))
        told = [(line.message, line.epoch) for line in read_status(path).lines]
        assert told == [("first", None), ("odd", None), ("last", None)]


class TestOtherReleases:
    def test_a_document_of_before_is_read(self):
        notes = []
        record = parse(Results, evaluation(), "results.json", notes)
        assert isinstance(record, EvaluateResult)
        assert (record.schema_version, notes) == (1, [])

    @pytest.mark.parametrize("version", [2, 10**6])
    def test_a_newer_one_is_read_as_far_as_it_is_known_and_noted(self, version):
        notes = []
        document = evaluation(schema_version=version, novel={"a": 1})
        record = parse(Results, document, "results.json", notes)
        assert record.hmean == 0.5
        assert to_json(record) == document | {"warnings": []}
        assert f"newer release (schema_version {version})" in notes[0]

    @pytest.mark.parametrize("version", [0, -1, "1", None, True, 10**30])
    def test_a_version_that_is_none_is_passed_over(self, version):
        record = parse(Results, evaluation(schema_version=version), "results.json")
        assert record.schema_version == SCHEMA_VERSION

    def test_a_newer_document_is_noted_where_a_folder_is_listed(self, tmp_path):
        folder = made.train(tmp_path / "train")
        document = json.loads((folder / "results.json").read_text()) | {"schema_version": 2}
        write_json(folder / "results.json", document)
        (job,) = run_folders(tmp_path)
        assert job.trained
        assert any("schema_version 2" in note for note in job.notes)

    def test_taos_lines_are_read(self, tmp_path):
        folder = made.tao(tmp_path / "train")
        lines = read_status(folder / "status.json").lines
        assert [line.kpi.hmean for line in lines if line.kpi and line.kpi.hmean] == [0.333, 0.333]
        assert lines[0].time == "15:11:9"  # as TAO writes it
        assert (lines[3].epoch, lines[3].max_epoch) == (0, 1)
        capital = {"status": "RUNNING", "kpi": {"Thresh": 0.6, "Hmean": "0.66", "Recall": 1.0}}
        kpi = parse(StatusLine, capital, "status.json").kpi
        assert (kpi.hmean, kpi.recall, kpi.extra) == (0.66, 1.0, {"Thresh": 0.6})


def test_every_action_that_writes_a_results_json_has_its_record():
    writers = {value for branch in SCHEMA["allOf"] for value in _actions(branch)}
    assert writers == {
        "automl",
        *(n for n, a in ACTIONS.items() if a.section in ("train", "evaluate", "prune", "quantize")),
    }


def _actions(branch):
    return branch["if"]["properties"]["action"]["enum"]


def test_a_folder_tells_what_of_its_results_could_not_be_read(tmp_path):
    folder = made.train(tmp_path / "train")
    document = json.loads((folder / "results.json").read_text())
    write_json(folder / "results.json", document | {"best_epoch": "third"})
    (job,) = run_folders(tmp_path)
    assert (job.result, job.best.epoch) == (None, 2)  # as status.json tells
    assert "'best_epoch' of" in job.notes[0]
    assert "'third'" in job.notes[0]


def test_a_failure_that_a_command_printed_is_its_error():
    error = {"code": "no-space", "message": "Full", "got": [1], "expected": None, "hint": "Free it"}
    raised = failure(json.dumps({"error": error}), 6)
    assert raised.to_dict() == error
    assert raised.exit_code == 6
    assert failure('{"error": 3}', 6) is None
    assert failure(b"", -9) is None
    assert failure(json.dumps({"error": error}), -9).exit_code == 6
    assert isinstance(parse(Failure, {"error": error}, "printed"), Failure)


def test_a_training_and_a_search_are_told_apart_by_their_action(tmp_path):
    for record, kind in (
        (made.trained(tmp_path, 1, 0.5), TrainResult),
        (made.searched(tmp_path), SearchResult),
    ):
        assert isinstance(parse(Results, to_json(record), "results.json"), kind)

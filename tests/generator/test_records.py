"""The schemas of status.json and results.json, on documents of real runs."""

import json

import jsonschema
import pytest

import support
from ocdnet.actions import evaluate
from ocdnet.config import spec
from ocdnet.runs.status import StatusWriter
from ocdnet_generator import records

STATUS = jsonschema.Draft202012Validator(records.status())
RESULTS = jsonschema.Draft202012Validator(records.results())


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


def test_what_differs_is_refused(runs, tmp_path):
    result = json.loads((runs[0] / "results.json").read_text())
    assert not RESULTS.is_valid(result | {"hmean": 0.5})
    assert not RESULTS.is_valid({k: v for k, v in result.items() if k != "best_epoch"})
    assert not RESULTS.is_valid(result | {"action": "export"})
    StatusWriter(tmp_path / "status.json").write("RUNNING", "x", {"hmean": 0.5}, epoch=1)
    (line,) = support.status_lines(tmp_path)
    assert not STATUS.is_valid(line)  # an epoch without its step
    del line["epoch"]
    STATUS.validate(line)
    for wrong in ({"status": "DONE"}, {"kpi": {"hmean": "0.5"}}, {"time": "1:2:3"}, {"loss": 1}):
        assert not STATUS.is_valid(line | wrong)

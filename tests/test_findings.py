"""What a run saw is counted where it is seen, and is in its result, its status and on stderr."""

import json
import logging
import threading

import pytest

from ocdnet import findings
from ocdnet.actions.session import session
from ocdnet.cli import running
from ocdnet.config import spec
from ocdnet.runs.status import read_status
from ocdnet.runs.typed import Warned


@pytest.fixture
def loaded(tmp_path):
    given = ["export.checkpoint=a.pth", f"results_dir={tmp_path}", "model.pretrained=true"]
    return spec.load("export", None, given)


def test_the_same_is_one_finding_with_its_first_files_and_its_number():
    with findings.collecting() as seen:
        workers = [
            threading.Thread(
                target=lambda k=k: [
                    findings.note("odd", "Odd pictures", file=f"{k}-{n}", key="a.b")
                    for n in range(20)
                ]
            )
            for k in range(4)
        ]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()
        findings.note("other", "Other", count=5)
    odd, other = seen.rows()
    assert (odd.count, len(odd.files), odd.key) == (80, findings.SHOWN, "a.b")
    assert odd.text.startswith("Odd pictures (80): ")
    assert odd.text.endswith(", ...")
    assert other.text == "Other (5)"


def test_without_a_collection_it_is_logged_at_once(caplog):
    findings.note("odd", "An odd picture", file="a.png")
    assert [record.getMessage() for record in caplog.records] == ["An odd picture: a.png"]


def test_it_is_in_the_status_once_and_said_once(loaded, tmp_path, caplog):
    with caplog.at_level(logging.WARNING, "ocdnet"), session(loaded) as here:
        findings.note("odd", "An odd picture", file="a.png", key="x.y")
        findings.note("odd", "An odd picture", file="b.png", key="x.y")
        given = here.warnings
    notice, odd = given
    assert notice.code == "notice"
    assert "model.pretrained" in notice.message
    assert odd == Warned(
        code="odd", message="An odd picture", files=("a.png", "b.png"), count=2, key="x.y"
    )
    lines = read_status(tmp_path / "export/status.json").lines
    warned = [line for line in lines if line.verbosity == "WARNING"]
    assert [line.warnings for line in warned] == [None, (odd,)]
    assert warned[1].message == "An odd picture (2): a.png, b.png"
    assert [record.getMessage() for record in caplog.records] == [
        notice.message,
        warned[1].message,
    ]
    assert lines[-1].status == "SUCCESS"


def test_a_failed_run_tells_it_too(loaded, tmp_path, caplog):
    with pytest.raises(KeyError), session(loaded):
        findings.note("odd", "An odd picture")
        raise KeyError
    lines = read_status(tmp_path / "export/status.json").lines
    assert [line.message for line in lines][1:-1][-1] == "An odd picture"
    assert lines[-1].status == "FAILURE"
    assert caplog.records[-1].getMessage() == "An odd picture"


def test_a_command_says_it_last(tmp_path, monkeypatch, caplog):
    from ocdnet.actions import export
    from ocdnet.catalogue import ACTIONS

    def run(loaded):
        with session(loaded):
            findings.note("odd", "An odd picture")
            raise KeyError

    monkeypatch.setattr(export, "run", run)
    path = tmp_path / "spec.yaml"
    path.write_text(json.dumps({"export": {"checkpoint": "a"}, "results_dir": str(tmp_path)}))
    with pytest.raises(KeyError):
        running.run_action(ACTIONS["export"], path, [])
    assert findings.collected() is None
    assert caplog.records[-1].getMessage() == "An odd picture"

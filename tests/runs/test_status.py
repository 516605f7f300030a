"""status.json: JSON lines that any parser reads, whatever happens around them."""

from __future__ import annotations

import json
import logging
import re
from datetime import datetime, timedelta

import pytest

from ocdnet.errors import EnvironmentFault
from ocdnet.runs.status import StatusWriter, WarningLines, last_state, read_status
from ocdnet.runs.status_line import Kpi


def lines(path):
    """The file's lines as a strict parser reads them."""

    def refuse(constant):
        raise ValueError(constant)

    text = path.read_text(encoding="utf-8")
    assert text.endswith("\n")
    return [json.loads(line, parse_constant=refuse) for line in text.splitlines()]


def test_lines_are_appended_in_taos_format(tmp_path):
    path = tmp_path / "status.json"
    begun = datetime.now().replace(microsecond=0)
    StatusWriter(path).write("STARTED", "Starting OCDNet train.")
    StatusWriter(path).write(  # a resumed run goes on in the same file
        "RUNNING", 'Größe "a"\nand b', kpi=Kpi(hmean=0.5), epoch=0, max_epoch=9, eta="0:01:02"
    )
    StatusWriter(path).write("FAILURE", "Out of memory.")
    started, running, failed = lines(path)
    assert {key: started[key] for key in ("status", "verbosity", "message")} == {
        "status": "STARTED",
        "verbosity": "INFO",
        "message": "Starting OCDNet train.",
    }
    assert "kpi" not in started
    assert running["message"] == 'Größe "a"\nand b'
    assert running["kpi"] == {"hmean": 0.5}
    assert (running["epoch"], running["max_epoch"], running["eta"]) == (0, 9, "0:01:02")
    assert failed["verbosity"] == "ERROR"
    assert "kpi" not in failed  # a number stands where it was measured only
    for line in (started, running, failed):
        assert re.fullmatch(r"\d\d/\d\d/\d{4}", line["date"])
        assert re.fullmatch(r"\d\d:\d\d:\d\d", line["time"])
        written = datetime.strptime(f"{line['date']} {line['time']}", "%m/%d/%Y %H:%M:%S")
        assert begun <= written <= begun + timedelta(minutes=1)


def test_a_number_that_json_lacks_never_reaches_the_file(tmp_path):
    writer = StatusWriter(tmp_path / "status.json")
    writer.write("RUNNING", "fine", kpi=Kpi(train_loss=1.5))
    with pytest.raises(ValueError, match="JSON compliant"):
        writer.write("RUNNING", "diverged", kpi=Kpi(train_loss=float("nan")))
    assert [line["message"] for line in lines(tmp_path / "status.json")] == ["fine"]


def test_other_ranks_write_nothing(tmp_path):
    StatusWriter(tmp_path / "status.json", enabled=False).write("STARTED", "rank 1")
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_cannot_be_written_is_the_users_error(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(EnvironmentFault) as caught:
        StatusWriter(tmp_path / "file" / "status.json").write("STARTED", "here")
    assert caught.value.code == "cannot-write"
    assert str(tmp_path / "file" / "status.json") in caught.value.message


def test_the_last_state_is_that_of_the_last_whole_line(tmp_path):
    path = tmp_path / "status.json"
    assert last_state(path) is None
    StatusWriter(path).write("STARTED", "a")
    StatusWriter(path).write("SUCCESS", "b")
    assert last_state(path) == "SUCCESS"
    with path.open("a") as file:
        file.write('{"status": "FAIL')  # the machine went down
    assert last_state(path) == "SUCCESS"
    path.write_bytes(b"\xff\xfe not ours")
    assert last_state(path) is None


def test_what_is_warned_of_is_a_line(tmp_path):
    logger = logging.getLogger("ocdnet.test")
    handler = WarningLines(StatusWriter(tmp_path / "status.json"))
    logger.addHandler(handler)
    try:
        logger.warning("%d labels are odd", 3)
        logger.info("not of interest")
    finally:
        logger.removeHandler(handler)
    (line,) = read_status(tmp_path / "status.json").lines
    told = (line.status, line.verbosity, line.message)
    assert told == ("RUNNING", "WARNING", "3 labels are odd")

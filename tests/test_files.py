"""Files are whole or absent, and trouble in writing them is told in the user's terms."""

from __future__ import annotations

import errno
import json
import os
import stat
from pathlib import Path

import pytest

from ocdnet.errors import EnvironmentFault, RunError
from ocdnet.files import replacing, write_json, write_text


def test_a_file_takes_the_place_of_the_old_one(tmp_path):
    path = tmp_path / "new" / "folder" / "a.txt"
    write_text(path, "one\n")
    write_text(path, "zwei 二\n")
    assert path.read_bytes() == "zwei 二\n".encode()
    assert list(path.parent.iterdir()) == [path]


def test_the_old_file_stands_until_the_block_ends(tmp_path):
    path = tmp_path / "a.txt"
    path.write_text("old")
    with replacing(path) as temporary:
        temporary.write_text("new")
        assert path.read_text() == "old"
        assert temporary.parent == path.parent  # a rename over a file system's border can fail
    assert path.read_text() == "new"


@pytest.mark.parametrize("failure", [ValueError, KeyboardInterrupt])
@pytest.mark.parametrize("before", [["a.txt"], []], ids=["replaced", "new"])
def test_a_failing_block_leaves_things_as_they_were(tmp_path, failure, before):
    path = tmp_path / "a.txt"
    for name in before:
        (tmp_path / name).write_text("old")
    with pytest.raises(failure), replacing(path) as temporary:
        temporary.write_text("half of i")
        raise failure
    assert [entry.name for entry in tmp_path.iterdir()] == before
    assert all((tmp_path / name).read_text() == "old" for name in before)


def test_others_may_read_the_file_as_the_umask_says(tmp_path):
    """A temporary file is its owner's alone; results are shared."""
    before = os.umask(0o027)
    try:
        write_text(tmp_path / "a.txt", "shared")
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "a.txt").stat().st_mode) == 0o640


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT])
def test_a_full_disk_is_a_run_error_and_leaves_the_old_file(tmp_path, monkeypatch, number):
    path = tmp_path / "a.txt"
    path.write_text("old")

    def full(self, *_, **__):
        raise OSError(number, os.strerror(number), str(self))

    with monkeypatch.context() as patch:
        patch.setattr(Path, "write_text", full)
        with pytest.raises(RunError) as caught:
            write_text(path, "new")
    assert caught.value.code == "disk-full"
    assert str(path) in caught.value.message
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_folder_that_cannot_be_made_is_an_environment_fault(tmp_path):
    """Below a regular file: permissions do not stop root, who runs in containers."""
    (tmp_path / "file").touch()
    path = tmp_path / "file" / "train" / "results.json"
    with pytest.raises(EnvironmentFault) as caught:
        write_json(path, {})
    assert caught.value.code == "cannot-write"
    assert str(path) in caught.value.message
    assert "results_dir" in caught.value.hint


def test_json_is_strict(tmp_path):
    path = tmp_path / "a.json"
    write_json(path, {"hmean": 0.5, "names": ["ä"]})
    assert json.loads(path.read_text()) == {"hmean": 0.5, "names": ["ä"]}
    with pytest.raises(ValueError, match="JSON compliant"):
        write_json(path, {"hmean": float("nan")})
    assert json.loads(path.read_text())["hmean"] == 0.5

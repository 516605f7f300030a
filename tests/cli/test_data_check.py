"""`ocdnet data check`: what a run would say of a set's labels, before there is one."""

import json

from click.testing import CliRunner

import support
from ocdnet.cli.main import cli


def check(*arguments):
    return CliRunner().invoke(cli, ["data", "check", *map(str, arguments)])


def test_a_sound_set_has_no_warnings(scenes):
    done = check(scenes / "train", scenes / "test")
    rows = json.loads(done.stdout)["data"]
    assert [(row["images"], row["warnings"]) for row in rows] == [(8, []), (4, [])]
    assert all(row["regions"] > row["ignored"] for row in rows)


def test_each_doubt_is_told_with_number_and_file(scenes, tmp_path):
    copy = support.copied(scenes, tmp_path / "copy") / "test"
    label = sorted((copy / "gt").iterdir())[0]
    label.write_text("0.1,0.1,0.9,0.1,0.9,0.2,0.1,0.2,word\n" * 2)
    (row,) = json.loads(check(copy).stdout)["data"]
    (warning,) = row["warnings"]
    assert (warning["code"], warning["count"]) == ("relative-label", 2)
    assert warning["files"] == [str(label)]


def test_other_ignore_tags(scenes):
    (plain,) = json.loads(check(scenes / "test").stdout)["data"]
    lines = [line for path in (scenes / "test" / "gt").iterdir() for line in path.open()]
    words = {line.rstrip("\n").split(",", 8)[8] for line in lines} - {"*", "###"}
    (row,) = json.loads(check(scenes / "test", "--ignore-tag", min(words)).stdout)["data"]
    cared = sum(line.rstrip("\n").split(",", 8)[8] != min(words) for line in lines)
    assert row["ignored"] == len(lines) - cared > 0
    assert plain["ignored"] == sum(line.rstrip("\n").endswith((",*", ",###")) for line in lines)


def test_what_cannot_be_read_is_exit_4(tmp_path):
    done = check(tmp_path)
    assert type(done.exception).__name__ == "DataError"
    assert done.exception.exit_code == 4

"""Detection in parts without a cluster: what Ray's actors do, done in this process."""

import errno
import io
import json
import re
import tarfile
from collections.abc import Iterator
from pathlib import Path

import fsspec
import pytest
from fsspec.implementations.memory import MemoryFileSystem

import rendered
import tiny_onnx
from ocdnet.cli.main import main
from ocdnet.config import spec
from ocdnet.errors import DataError, EnvironmentFault, RunError, UsageError
from ocdnet.findings import collecting
from ocdnet.runs.pages import PartsResult
from ocdnet.scale import detect
from ocdnet.scale.parts import rows_of

KINDS = ["jsonl", pytest.param("parquet", marks=pytest.mark.skipif("not has_pyarrow()"))]


def has_pyarrow() -> bool:
    try:
        import pyarrow  # noqa: F401
    except ImportError:
        return False
    return True


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return tiny_onnx.write_detector(tmp_path / "model.onnx")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return rendered.write(tmp_path / "set", 9)


@pytest.fixture
def store() -> Iterator[fsspec.AbstractFileSystem]:
    """An object store, as far as fsspec's own goes: what lies in it has no path."""
    fs = fsspec.filesystem("memory")
    yield fs
    fs.rm("/", recursive=True)


def run(model: Path, target: object, *sources: object, **more: object) -> PartsResult:
    arguments = {"model": str(model), "device": "cpu", "num_threads": 1, "size": rendered.SIZE}
    values = {"kind": "jsonl", "partition_size": 4} | more
    asked = detect.of_predict(
        arguments, sources=list(map(str, sources)), target=str(target), **values
    )
    with collecting() as findings:
        return detect.run(asked, findings, lambda job, parts: map(job.run, parts))


def rows(result: PartsResult) -> list[dict]:
    fs, pattern = fsspec.core.url_to_fs(result.parts)
    scheme = "memory://" if "memory://" in result.parts else ""
    return [row for file in sorted(fs.glob(pattern)) for row in rows_of(f"{scheme}{file}")]


def single(model: Path, source: Path, out: Path, monkeypatch: pytest.MonkeyPatch) -> list[dict]:
    """The rows of `ocdnet predict` in one process."""
    command = ["ocdnet", "predict", source, "--model", model, "--size", "320x192", "--json", out]
    monkeypatch.setattr("sys.argv", list(map(str, command)))
    with pytest.raises(SystemExit):
        main()
    return [json.loads(line) for line in out.read_text().splitlines()]


def pack(target: Path, folder: Path, mode: str = "w") -> Path:
    with tarfile.open(target, mode) as archive:
        for file in sorted(folder.iterdir()):
            archive.add(file, file.name)
            other = tarfile.TarInfo(f"{file.stem}.txt")
            archive.addfile(other, io.BytesIO())
    return target


@pytest.mark.parametrize("kind", KINDS)
def test_rows_are_those_of_one_process(model, folder, tmp_path, monkeypatch, kind):
    expected = single(model, folder, tmp_path / "single.jsonl", monkeypatch)
    result = run(model, tmp_path / "found", folder, kind=kind)

    found = rows(result)
    assert [row["image"] for row in found] == [row["image"] for row in expected]
    of_broken = [row.pop("error") for row in (found[-1], expected[-1])]
    assert found == expected
    assert sum(len(row["regions"]) for row in found) == result.regions > 9
    assert of_broken[0]["message"] == of_broken[1]["message"]
    assert (result.images, result.skipped_images, result.partitions) == (9, 1, 3)


def test_inference_spec_gives_the_rows_of_predict(model, folder, tmp_path):
    values = {"input_folder": folder, "checkpoint": model, "width": 320, "height": 192}
    overrides = [f"inference.{key}={value}" for key, value in values.items()]
    overrides += [f"results_dir={tmp_path}/results", "inference.shards=4"]
    loaded = spec.load("inference", None, overrides)
    with collecting() as findings:
        asked = detect.of_inference(loaded, kind="jsonl", partition_size=5)
        result = detect.run(asked, findings, lambda job, parts: map(job.run, parts))
    assert result.warnings[0].code == "shards-by-ray"
    assert result.parts == f"{tmp_path}/results/inference/part-*.jsonl"
    assert rows(result) == rows(run(model, tmp_path / "found", folder, partition_size=5))


def test_object_store_and_tar_give_the_same_rows(model, folder, tmp_path, store):
    store.put(f"{folder}/", "/bucket/set/", recursive=True)
    packed = run(model, tmp_path / "packed", pack(tmp_path / "set.tar", folder))
    stored = run(model, "memory://bucket/found", "memory://bucket/set")
    plain = rows(run(model, tmp_path / "plain", folder))

    names = [Path(row.pop("image")).name for row in plain]
    assert [row.pop("image") for row in rows(packed)] == [
        f"{tmp_path}/set.tar#{name}" for name in names
    ]
    for result in (packed, stored):
        found = rows(result)
        assert [row["regions"] for row in found] == [row["regions"] for row in plain]
        assert "set" in found[-1]["error"]["message"]
    assert rows(stored)[0]["image"] == "memory:///bucket/set/000000.png"


@pytest.mark.parametrize("size", [5000, 6144, 7200])
def test_tar_that_breaks_off_says_so_behind_what_could_be_read(model, folder, tmp_path, size):
    packed = pack(tmp_path / "set.tar", folder)
    packed.write_bytes(packed.read_bytes()[:size])
    found = rows(run(model, tmp_path / "found", packed))
    assert found[0]["regions"]
    assert found[-1]["image"] == str(packed)
    assert found[-1]["error"]["code"] == "broken-source"


def test_picture_that_has_gone_is_a_row(model, folder, store):
    store.put(f"{folder}/", "/bucket/set/", recursive=True)
    target = "memory://bucket/found"
    run(model, target, "memory://bucket/set")
    store.rm(["/bucket/set/000002.png", "/bucket/found/part-000000.jsonl"])
    found = rows(run(model, target, "memory://bucket/set"))
    assert len(found) == 10
    assert found[2]["error"]["code"] == "cannot-fetch"


def test_what_a_store_did_not_give_is_asked_for_again(model, folder, store, monkeypatch):
    store.put(f"{folder}/", "/bucket/set/", recursive=True)
    store.put(str(pack(folder / "set.tar", folder)), "/bucket/set.tar")
    asked = ("memory://bucket/found", "memory://bucket/set", "memory://bucket/set.tar")
    closed, inner = re.compile(r".*\.(png|tar)"), MemoryFileSystem._open

    def denied(self, path, *rest, **more):
        if closed.fullmatch(path):
            raise PermissionError(13, "expired")
        return inner(self, path, *rest, **more)

    monkeypatch.setattr(MemoryFileSystem, "_open", denied)
    monkeypatch.setattr("ocdnet.scale.job._OUTAGE", 4)
    with pytest.raises(EnvironmentFault, match="gave none of 4"):
        run(model, *asked)
    closed = re.compile(r".*(2\.png|\.tar)")
    assert run(model, *asked).skipped_images == 3
    closed = re.compile("")
    last = run(model, *asked)
    assert (last.images, last.skipped_images, last.partitions_before) == (18, 2, 2)


def test_full_disk_ends_the_run(model, folder, store, monkeypatch):
    store.put(f"{folder}/", "/bucket/set/", recursive=True)

    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(MemoryFileSystem, "get_file", full)
    with pytest.raises(RunError, match="No space left"):
        run(model, "memory://bucket/found", "memory://bucket/set")


def test_run_goes_on_where_it_was_ended(model, folder, tmp_path):
    target = tmp_path / "found"
    first = run(model, target, folder)
    whole = rows(first)
    times = {file: file.stat().st_mtime_ns for file in target.iterdir()}
    (target / "part-000001.jsonl").unlink()
    (folder / "later.png").write_bytes(rendered.picture(3))

    second = run(model, target, folder)
    assert (second.partitions, second.partitions_before) == (3, 2)
    assert (second.images, second.regions) == (first.images, first.regions)
    assert rows(second) == whole
    changed = {file.name for file, time in times.items() if file.stat().st_mtime_ns != time}
    assert changed == {"part-000001.jsonl"}


def test_results_that_a_node_does_not_see_are_told(model, folder, tmp_path, monkeypatch):
    monkeypatch.setattr("ocdnet.scale.plan.read_file", lambda *_: None)
    with pytest.raises(RunError, match="not there on the node") as error:
        run(model, tmp_path / "found", folder)
    assert "URI" in error.value.expected


def test_folder_of_others_is_left_alone(model, folder, tmp_path):
    target = tmp_path / "found"
    run(model, target, folder)
    before = {file: file.read_bytes() for file in target.iterdir()}
    with pytest.raises(UsageError) as error:
        run(model, target, folder, reading_order=True)
    assert error.value.got == {"reading_order": True}
    assert {file: file.read_bytes() for file in target.iterdir()} == before
    with pytest.raises(UsageError, match="other files"):
        run(model, folder, folder)


def test_sources_are_listed_once_and_results_are_none(model, folder, tmp_path):
    run(model, folder / "found", folder)
    (folder / "deep").mkdir()
    (folder / "deep" / "a.png").write_bytes(rendered.picture(1))
    spaced = folder.rename(tmp_path / "the set")
    uri = f"FILE://{spaced.as_uri()[7:]}"
    more = run(model, tmp_path / "all", uri, spaced / "000001.png", recursive=True)
    assert (more.images, more.skipped_images) == (10, 1)
    with pytest.raises(DataError) as error:
        run(model, tmp_path / "none", tmp_path / "absent")
    assert error.value.code == "no-such-source"


def test_what_a_listing_leaves_out_is_said_also_by_a_later_start(model, folder, tmp_path, store):
    store.put(f"{folder}/", "/bucket/set/", recursive=True)
    for name in ("a.psd", "a.txt", ".hidden.psd", "deep/b.png"):
        store.pipe(f"/bucket/set/{name}", b"x")
    out = {
        "other-suffix": ("memory:///bucket/set/a.psd",),
        "sub-folders": ("memory:///bucket/set/deep",),
        "left-out": ("memory:///bucket/set/broken.png",),
    }
    for _ in range(2):
        found = run(model, tmp_path / "found", "memory://bucket/set")
        assert {row.code: row.files for row in found.warnings} == out
    del out["sub-folders"]
    found = run(model, tmp_path / "pattern", "memory://bucket/set/*.p*")
    assert ({row.code: row.files for row in found.warnings}, found.images) == (out, 9)
    with pytest.raises(DataError) as error:
        run(model, tmp_path / "none", "memory://bucket/set/*.jpg")
    assert error.value.code == "no-such-source"


def test_links_of_a_tar_are_rows_and_other_files_are_told(model, folder, tmp_path):
    (folder / "link.png").symlink_to("000001.png")
    (folder / "a.psd").touch()
    found = run(model, tmp_path / "found", pack(tmp_path / "set.tar.xz", folder, "w:xz"))
    assert rows(found)[-1]["error"]["code"] == "no-file"
    assert {row.code for row in found.warnings} == {"left-out", "other-suffix"}


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--actors", "2"], "--actors is Ray's"),
        (["--out", "s3://bucket/found"], "--runner ray"),
        (["--runner", "ray"], "needs a folder"),
        (["--runner", "ray", "--out", "found", "--draw"], "not --draw"),
    ],
)
def test_options_that_do_not_go_together(options, said, monkeypatch, capsys):
    command = ["ocdnet", "predict", "x.png", "--model", "m.onnx", *options]
    monkeypatch.setattr("sys.argv", command)
    with pytest.raises(SystemExit) as exit_:
        main()
    assert exit_.value.code == 2
    assert said in capsys.readouterr().out


def test_parquet_gives_a_row_for_each_of_its_own(model, folder, tmp_path):
    pa, pq = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    plain = rows(run(model, tmp_path / "plain", folder))
    paths = [row["image"] for row in plain]
    data = [Path(path).read_bytes() for path in paths]
    tables = {
        "paths": {"path": [Path(path).name for path in paths[:-1]] + [None]},
        "bytes": {"content": pa.array(data, pa.binary())},
        "struct": {"image": [{"bytes": one, "path": "same"} for one in data]},
        "named": {"URL": pa.array(paths).dictionary_encode(), "text": paths},
        "several": {"content": pa.array(data), "thumbnail": pa.array([b""] * len(data))},
    }
    for name, columns in tables.items():
        pq.write_table(pa.table(columns), folder / f"{name}.parquet", row_group_size=6)
        result = run(model, tmp_path / name, folder / f"{name}.parquet")
        found = rows(result)
        told = {warning.code for warning in result.warnings}
        assert ("other-columns" in told) == (name == "several")
        assert [row["regions"] for row in found] == [row["regions"] for row in plain]
        assert [row.get("error") is None for row in found] == [True] * 9 + [False]
        assert len({row["image"] for row in found}) == 10

"""Evaluation in partitions without a cluster: what Ray's actors do, done in this process."""

import json
import pickle
from collections.abc import Iterator
from pathlib import Path

import fsspec
import pytest

import rendered
import tiny_onnx
from ocdnet.actions import evaluate
from ocdnet.config import spec
from ocdnet.config.spec import Loaded
from ocdnet.errors import DataError, SpecError
from ocdnet.runs.files import EXPLAINED, RESULTS, SAMPLES
from ocdnet.runs.records import EvaluateResult
from ocdnet.scale import evaluation

FILES = (RESULTS, SAMPLES, EXPLAINED)
URI = "memory://bucket/words"


@pytest.fixture
def words(tmp_path: Path) -> Path:
    """Seven pictures: some lack a label, one has an ignored one, and one has one too many."""
    split = rendered.write_labelled(tmp_path / "words", 7)
    labels = [split / "gt" / f"00000{number}.txt" for number in (1, 2)]
    labels[0].write_text(labels[0].read_text().replace("word", "###", 1))
    labels[1].write_text(labels[1].read_text() + "0,0,4,0,4,155,0,155,nothing\n")
    return split


@pytest.fixture
def store(words: Path) -> Iterator[fsspec.AbstractFileSystem]:
    """The same in an object store, as far as fsspec's own goes: what lies there has no path."""
    fs = fsspec.filesystem("memory")
    fs.put(f"{words}/", "/bucket/words/", recursive=True)
    yield fs
    fs.rm("/", recursive=True)


def loaded(data: object, out: Path, *more: str) -> Loaded:
    model = tiny_onnx.write_detector(out.parent / "model.onnx")
    overrides = [
        f"results_dir={out}",
        f"evaluate.checkpoint={model}",
        f"dataset.validate_dataset.data_path=[{data}]",
        "dataset.validate_dataset.args.pre_processes.0.args.short_size=[320,192]",
        "evaluate.post_processing.args.unclip_ratio=0.1",  # the network marks whole words
    ]
    return spec.load("evaluate", None, [*overrides, *more])


def in_parts(case: Loaded, size: int = 3) -> EvaluateResult:
    """As Ray does it: the work and what comes of it cross a process's border."""

    def runner(work, partitions):
        for partition in partitions:
            there = pickle.loads(pickle.dumps(work))
            yield pickle.loads(pickle.dumps(there.run(partition)))

    return evaluation.run(case, runner, size)


def written(out: Path) -> list[str]:
    return [(out / "evaluate" / name).read_text().replace(str(out), "OUT") for name in FILES]


@pytest.mark.parametrize("size", [1, 3, 50])
def test_results_are_those_of_one_process(words, tmp_path, size):
    one, parts = tmp_path / "one", tmp_path / "parts"
    evaluate.run(loaded(words, one))
    result = in_parts(loaded(words, parts), size)
    assert 0 < result.counts.matched < result.counts.gt_care
    assert result.images == 7
    assert written(parts) == written(one)


def test_relative_path_is_that_of_this_process(words, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert in_parts(loaded("words", tmp_path / "out")).images == 7
    row = json.loads((tmp_path / "out" / "evaluate" / RESULTS).read_text())["per_image"][0]
    assert row["image"] == "words/img/000000.png"


def test_object_store_gives_the_same_by_its_names(words, store, tmp_path):
    one, parts = tmp_path / "one", tmp_path / "parts"
    evaluate.run(loaded(words, one))
    result = in_parts(loaded(f"{URI}/", parts))
    assert not result.warnings
    assert written(parts) == [text.replace(str(words), URI) for text in written(one)]


def test_warnings_of_labels_name_the_store(words, store, tmp_path):
    beyond, flat = "100,100,900,100,900,130,100,130,far\n", "5,5,50,5,50,5,5,5,flat\n"
    for split in (str(words), URI):
        with fsspec.open(f"{split}/gt/000004.txt", "w") as file:
            file.write(beyond + flat)
    one = evaluate.run(loaded(words, tmp_path / "one"))
    parts = in_parts(loaded(URI, tmp_path / "parts"))
    named = [(row.code, row.message.replace(str(words), URI), row.count) for row in one.warnings]
    assert sorted((row.code, row.message, row.count) for row in parts.warnings) == sorted(named)
    assert {row.code for row in parts.warnings} == {"flat-region", "label-outside"}
    label = f"{URI}/gt/000004.txt"
    assert {file for row in parts.warnings for file in row.files} == {label, f"{label}:2"}


@pytest.mark.parametrize(
    ("file", "content", "code"),
    [
        ("img/000005.png", b"no picture", "unreadable-image"),
        ("gt/000005.txt", b"1,2,3\n", "bad-label-line"),
        ("gt/000005.txt", None, "missing-label"),
    ],
)
def test_errors_name_the_store(store, tmp_path, file, content, code):
    if content is None:
        store.rm(f"/bucket/words/{file}")
    else:
        store.pipe_file(f"/bucket/words/{file}", content)
    with pytest.raises(DataError) as raised:
        in_parts(loaded(URI, tmp_path / "out"))
    assert raised.value.code == code
    said = str(raised.value)
    assert f"{URI}/img/000005.png" in said or f"{URI}/{file}" in said
    assert "/tmp/ocdnet-" not in said


def outcome(run, case, name):
    """How an evaluation ended, with the store's name for the folder."""
    try:
        result = run(case)
    except DataError as error:
        return error.code, error.message.replace(name, URI)
    return result.images, [(row.code, row.message.replace(name, URI)) for row in result.warnings]


@pytest.mark.parametrize("part", ["img", "gt"])
def test_folders_below_are_taken_as_those_of_a_disk(words, store, tmp_path, part):
    for split in (str(words), URI):
        file = f"{split}/{part}/more/1.{'png' if part == 'img' else 'txt'}"
        with fsspec.open(file, "wb", auto_mkdir=True) as stream:
            stream.write((words / "img/000000.png").read_bytes())
    one = outcome(evaluate.run, loaded(words, tmp_path / "one"), str(words))
    assert outcome(in_parts, loaded(URI, tmp_path / "parts"), URI) == one


@pytest.mark.parametrize("name", ["a\x01b.png", "a\\b.png", "C:a.png", f"{'x' * 260}.png"])
def test_name_that_no_folder_can_hold_is_refused(store, tmp_path, name):
    store.pipe_file(f"/bucket/words/img/{name}", b"")
    with pytest.raises(DataError) as raised:
        in_parts(loaded(URI, tmp_path / "out"))
    assert raised.value.code == "bad-name"
    assert URI in raised.value.message


def test_picture_that_has_gone_is_named(store, tmp_path):
    case = loaded(URI, tmp_path / "out")

    def runner(work, partitions):
        store.rm("/bucket/words/img/000005.png")
        return map(work.run, partitions)

    with pytest.raises(DataError, match=f"{URI}/img/000005.png") as raised:
        evaluation.run(case, runner)
    assert raised.value.code == "cannot-fetch"


def test_uri_of_something_else_is_refused_with_a_way_out(store, tmp_path):
    with pytest.raises(DataError) as raised:
        in_parts(loaded("memory://bucket", tmp_path / "out"))
    assert raised.value.code == "bad-split-folder"
    assert "ocdnet data fetch memory://bucket" in raised.value.hint


def test_results_of_an_evaluation_are_files_of_this_machine(words, tmp_path):
    case = loaded(words, tmp_path / "out", "results_dir=s3://bucket/results")
    with pytest.raises(SpecError) as raised:
        in_parts(case)
    assert raised.value.code == "uri-as-folder"


def test_kept_maps_are_said_to_be_left_out(words, tmp_path):
    result = in_parts(loaded(words, tmp_path / "out", "evaluate.reuse_maps=true"))
    assert [row.code for row in result.warnings] == ["maps-by-ray"]
    assert result.reused_maps is None

"""Datasets in plans: which key they fill, what is checked, what is unpacked, what is asked."""

from __future__ import annotations

import shlex
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest
from hypothesis import given as for_all
from hypothesis import strategies as st

from ocdnet.catalogue import PLANNED
from ocdnet.errors import DataError
from ocdnet.notes import Notes
from ocdnet.policy.artifacts import Skill, skill_dir
from ocdnet.policy.case import Case
from ocdnet.policy.datasets import find_datasets
from ocdnet.policy.draft import Draft
from ocdnet.policy.request import Request
from ocdnet.policy.settings import batch, calibration
from ocdnet.policy.starting import step_of
from ocdnet.tree import keys
from plans import texts

TRAIN = "dataset.train_dataset.data_path"
EVAL = "dataset.validate_dataset.data_path"
INPUT = "inference.input_folder"
QUANT = "dataset.quant_calibration_dataset.images_dir"
INT8 = "gen_trt_engine.tensorrt.calibration.cal_image_dir"
RUNTIME = Path(__file__).parents[2] / "runtime"
SKILL = Skill(skill_dir())
SOURCES = SKILL.info["data_sources"]


def split(folder, images=2):
    (folder / "img").mkdir(parents=True)
    (folder / "gt").mkdir()
    for number in range(images):
        (folder / "img" / f"{number}.jpg").write_bytes(b"")
        (folder / "gt" / f"gt_{number}.txt").write_text("")
    return str(folder)


@pytest.fixture
def data(tmp_path):
    """Two split folders, a folder of images and a datalist, as strings by name."""
    photos = tmp_path / "photos"
    photos.mkdir()
    for name in ("a.JPG", "b.png", "notes.txt", ".hidden.jpg"):
        (photos / name).write_bytes(b"")
    listed = tmp_path / "list.txt"
    listed.write_text("train/img/0.jpg\ttrain/gt/gt_0.txt\n")
    return {
        "train": split(tmp_path / "train", 5),
        "test": split(tmp_path / "test", 2),
        "photos": str(photos),
        "list": str(listed),
    }


def plan(action, request=None, spec=None, *, int8=False, program="ocdnet"):
    request = Request(action=action, **(request or {}))
    case = Case(PLANNED[action], request, SKILL, Notes(), program)
    given = (spec or {}) | ({"gen_trt_engine.tensorrt.data_type": "INT8"} if int8 else {})
    draft = Draft(entry=case.entry, schema=None, defaults={}, given=keys.nested(given))
    return find_datasets(case, draft), case.notes


def asked_for(notes, *, blocking=True):
    return [question.about for question in notes.missing if question.blocking == blocking]


@pytest.mark.parametrize("action", ["train", "resume", "retrain"])
def test_training_reads_train_and_eval_data(data, action):
    found, notes = plan(
        action, {"train_datasets": (data["train"], data["list"]), "eval_datasets": (data["test"],)}
    )
    assert found.overrides == {TRAIN: [data["train"], data["list"]], EVAL: [data["test"]]}
    assert found.images == {TRAIN: 6, EVAL: 2}  # five files, and a line of the list
    assert not notes.warnings
    assert not notes.missing


@pytest.mark.parametrize("action", ["train", "resume", "retrain"])
def test_training_without_data_asks_and_without_validation_warns(action):
    found, notes = plan(action)
    assert not found.overrides
    assert asked_for(notes) == ["--train-dataset"]
    (warning,) = texts(notes.warnings)
    assert "hmean is not measured" in warning


@pytest.mark.parametrize("action", ["evaluate", "prune", "deploy_evaluate"])
def test_what_measures_reads_eval_data(data, action):
    found, _ = plan(action, {"eval_datasets": (data["test"], data["train"])})
    assert found.overrides == {EVAL: [data["test"], data["train"]]}
    assert found.images == {EVAL: 7}
    assert asked_for(plan(action)[1]) == ["--eval-dataset"]


@pytest.mark.parametrize("action", ["inference", "deploy_inference"])
class TestInference:
    def test_reads_the_inference_data_first(self, data, action):
        named = {"inference_dataset": data["photos"], "eval_datasets": (data["test"],)}
        found, notes = plan(action, named)
        assert found.overrides == {INPUT: data["photos"]}
        assert found.images == {INPUT: 2}
        assert any("--eval-dataset" in warning for warning in texts(notes.warnings))

    def test_reads_the_img_folder_of_labelled_data(self, data, action):
        expected = str(Path(data["test"]) / "img")
        found, notes = plan(action, {"eval_datasets": (data["test"],)})
        assert found.overrides == {INPUT: expected}
        assert any("--eval-dataset" in rule for rule in texts(notes.why))
        found, notes = plan(action, {"inference_dataset": data["test"]})
        assert found.overrides == {INPUT: expected}
        assert any("its img/" in rule for rule in texts(notes.why))

    def test_asks_which_of_several(self, data, action):
        found, notes = plan(action, {"eval_datasets": (data["test"], data["train"])})
        assert not found.overrides
        assert asked_for(notes) == ["--inference-dataset"]

    def test_asks_where_a_list_has_no_folder(self, data, action):
        assert asked_for(plan(action, {"eval_datasets": (data["list"],)})[1]) == [
            "--inference-dataset"
        ]

    def test_asks_without_data(self, action):
        assert asked_for(plan(action)[1]) == ["--inference-dataset"]


CALIBRATED = [
    {"quantize.backend": "modelopt.onnx"},
    {"quantize.backend": "modelopt.onnx", "quantize.mode": "weight_only_ptq"},
    {"quantize.backend": "modelopt.pytorch", "quantize.mode": "static_ptq"},
]


@pytest.mark.parametrize("spec", CALIBRATED)
def test_quantize_calibrates_on_the_training_images(data, spec):
    named = {"train_datasets": (data["train"],), "eval_datasets": (data["test"],)}
    found, notes = plan("quantize", named, spec)
    assert found.overrides == {EVAL: [data["test"]], QUANT: str(Path(data["train"]) / "img")}
    assert found.images[QUANT] == 5
    assert not notes.warnings
    found, _ = plan("quantize", {**named, "calibration_datasets": (data["photos"],)}, spec)
    assert found.overrides[QUANT] == data["photos"]
    assert asked_for(plan("quantize", spec=spec)[1]) == ["--eval-dataset", "--calibration-dataset"]


@pytest.mark.parametrize("backend", ["torchao", "modelopt.pytorch"])
def test_quantize_of_weights_alone_asks_for_no_calibration(data, backend):
    spec = {"quantize.backend": backend, "quantize.mode": "weight_only_ptq"}
    assert asked_for(plan("quantize", spec=spec)[1]) == ["--eval-dataset"]
    for flag, field in (
        ("--train-dataset", "train_datasets"),
        ("--calibration-dataset", "calibration_datasets"),
    ):
        found, notes = plan("quantize", {field: (data["train"],)}, spec)
        assert not found.overrides
        assert f"{flag} is not used: quantize without quantize.backend" in notes.warnings[0].text


def test_nvidias_quantize_is_given_what_its_skill_asks_for(data):
    named = {"train_datasets": (data["train"],), "platform": "tao-docker"}
    assert plan("quantize", named)[0].overrides == {TRAIN: [data["train"]]}
    asked = asked_for(plan("quantize", {"platform": "tao-docker"})[1])
    assert asked == ["--train-dataset", "--eval-dataset"]


def test_an_engine_is_calibrated_for_int8_alone(data):
    named = {"calibration_datasets": (data["photos"], data["test"])}
    found, _ = plan("gen_trt_engine", named, int8=True)
    assert found.overrides == {INT8: [data["photos"], str(Path(data["test"]) / "img")]}
    assert found.images == {INT8: 4}
    assert asked_for(plan("gen_trt_engine", int8=True)[1]) == ["--calibration-dataset"]
    found, notes = plan("gen_trt_engine", named)
    assert not found.overrides
    assert "INT8" in notes.warnings[0].text
    assert not plan("gen_trt_engine")[1].missing


@pytest.mark.parametrize("action", ["export", "default_specs"])
def test_what_reads_no_data(data, action):
    found, notes = plan(action, {"eval_datasets": (data["test"],)})
    assert not found.overrides
    assert "--eval-dataset is not used" in notes.warnings[0].text


def test_every_row_of_the_table_is_filled(data):
    everything = {
        "train_datasets": (data["train"],),
        "eval_datasets": (data["test"],),
        "inference_dataset": data["photos"],
        "calibration_datasets": (data["photos"],),
        "platform": "tao-docker",
    }
    for action, entries in SOURCES.items():
        found, notes = plan(action, everything, CALIBRATED[0], int8=True)
        sources = {key.removesuffix("[0]"): entry for key, entry in entries.items()}
        assert list(found.overrides) == list(sources)
        assert not notes.missing
        for key, entry in sources.items():
            assert isinstance(found.overrides[key], list) == entry["multiple_sources"]


class TestTheUsersOwnSpec:
    def test_stands_in_for_a_flag(self, data):
        found, notes = plan("train", spec={TRAIN: [data["train"]], EVAL: data["test"]})
        assert found.overrides == {TRAIN: [data["train"]], EVAL: [data["test"]]}
        assert not notes.missing
        assert not notes.warnings

    def test_comes_after_a_flag_and_before_another_datasets_images(self, data):
        spec = {INPUT: data["photos"]}
        assert plan("inference", {"eval_datasets": (data["test"],)}, spec)[0].overrides == spec
        found, _ = plan("inference", {"inference_dataset": data["test"]}, spec)
        assert found.overrides == {INPUT: str(Path(data["test"]) / "img")}

    def test_is_checked_alike(self, tmp_path):
        with pytest.raises(DataError) as caught:
            plan("train", spec={TRAIN: [str(tmp_path / "absent")]})
        assert caught.value.code == "missing-data-path"

    @pytest.mark.parametrize("value", [None, "", "???", [], [""], 5, [5], {}])
    def test_that_says_nothing_of_use_is_no_answer(self, value):
        assert asked_for(plan("train", spec={TRAIN: value})[1]) == ["--train-dataset"]


def make(tmp_path, what):
    """A path that an action can't train on."""
    path = tmp_path / "it"
    if what == "images alone":
        path.mkdir()
        (path / "a.jpg").write_bytes(b"")
    elif what == "img without gt":
        (path / "img").mkdir(parents=True)
        (path / "img" / "a.jpg").write_bytes(b"")
    elif what == "the img of a split":
        path = Path(split(path)) / "img"
    elif what == "no images":
        split(path, 0)
    elif what == "the folder of splits":
        split(path / "train")
    elif what == "an image":
        path.write_bytes(b"\xff\xd8\xff\xe0" + bytes(20))
    elif what == "an empty file":
        path.write_bytes(b"\xef\xbb\xbf \n")
    return path


@pytest.mark.parametrize(
    ("what", "code", "hint"),
    [
        ("nothing", "missing-data-path", None),
        ("images alone", "no-labels", "gt/gt_NAME.txt"),
        ("img without gt", "no-labels", "gt/gt_NAME.txt"),
        ("the img of a split", "no-labels", "Give "),
        ("no images", "empty-dataset", None),
        ("the folder of splits", "bad-split-folder", "it/train"),
        ("an image", "not-a-datalist", None),
        ("an empty file", "empty-dataset", None),
    ],
)
def test_what_is_no_labelled_data(tmp_path, what, code, hint):
    path = str(make(tmp_path, what))
    for platform in ("local", "docker", "tao-docker"):
        with pytest.raises(DataError) as caught:
            plan("evaluate", {"eval_datasets": (path,), "platform": platform})
        assert caught.value.code == code
        assert path in caught.value.message
        assert (hint or "") in (caught.value.hint or "")
    for platform in ("slurm", "kubernetes"):
        found, notes = plan("evaluate", {"eval_datasets": (path,), "platform": platform})
        assert found.overrides == {EVAL: [path]}
        assert path in notes.warnings[0].text


def test_images_without_labels_are_right_for_inference(tmp_path):
    path = make(tmp_path, "img without gt")
    found, _ = plan("inference", {"inference_dataset": str(path)})
    assert found.overrides == {INPUT: str(path / "img")}


def test_a_folder_without_images(tmp_path, data):
    for path, code in ((tmp_path, "no-images"), (data["list"], "not-a-folder")):
        with pytest.raises(DataError) as caught:
            plan("inference", {"inference_dataset": str(path)})
        assert caught.value.code == code


def test_sub_folders_and_pdf_files_are_inputs_of_inference(tmp_path):
    (tmp_path / "in" / "deep").mkdir(parents=True)
    for name in ("in/a.pdf", "in/deep/b.jpg", "in/deep/c.png"):
        (tmp_path / name).touch()
    inner = {"inference_dataset": str(tmp_path / "in")}
    assert plan("inference", inner)[0].images == {INPUT: 1}
    outer = {"inference_dataset": str(tmp_path)}
    with pytest.raises(DataError) as caught:
        plan("inference", outer)
    assert "inference.recursive" in caught.value.hint
    found, _ = plan("inference", outer, {"inference.recursive": True})
    assert (found.overrides, found.images) == ({INPUT: str(tmp_path)}, {INPUT: 3})


def test_a_datalist_whose_first_kilobyte_ends_within_a_letter(tmp_path):
    path = tmp_path / "list.txt"
    path.write_text("x" + "é" * 600 + ".jpg\tgt.txt")
    assert plan("evaluate", {"eval_datasets": (str(path),)})[0].overrides == {EVAL: [str(path)]}


def test_paths_are_kept_for_local_and_absolute_elsewhere(data, monkeypatch):
    root = Path(data["test"]).parent
    monkeypatch.chdir(root)
    monkeypatch.setenv("HOME", str(root))
    assert plan("evaluate", {"eval_datasets": ("test",)})[0].overrides == {EVAL: ["test"]}
    assert plan("evaluate", {"eval_datasets": ("~/test",)})[0].overrides == {EVAL: [data["test"]]}
    for platform in ("docker", "tao-docker", "slurm", "kubernetes"):
        found, _ = plan("evaluate", {"eval_datasets": ("test",), "platform": platform})
        assert found.overrides == {EVAL: [data["test"]]}


@pytest.mark.parametrize("platform", ["local", "docker", "kubernetes"])
def test_what_a_uri_names_is_fetched_first(platform, data, tmp_path, monkeypatch):
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    root = "" if platform == "local" else f"{tmp_path}/here/"
    uris = ("s3://bucket/a/train", "https://x.org/train.zip?a=1&b=2")
    found, notes = plan("train", {"train_datasets": uris, "platform": platform})
    assert "Cannot" not in str(notes.warnings)
    assert found.overrides == {TRAIN: [f"{root}train", f"{root}train-fetched"]}
    commands = [shlex.split(step.command) for step in found.extract]
    assert commands == [
        ["ocdnet", "data", "fetch", uri, "--out", path]
        for uri, path in zip(uris, found.overrides[TRAIN], strict=True)
    ]
    found, _ = plan("inference", {"eval_datasets": ("gs://b/test/",), "platform": platform})
    assert found.overrides == {INPUT: f"{root}test/img"}


@pytest.mark.parametrize("uri", ["s3://b/.", "https://x.org/..", f"s3://b/{'a' * 300}"])
def test_a_uri_whose_last_name_is_none_for_a_folder(uri, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert plan("train", {"train_datasets": (uri,)})[0].overrides == {TRAIN: ["data"]}
    with pytest.raises(DataError, match="unpacked here"):
        plan("train", {"train_datasets": ("https://x.org/a.tar.zst",)})


def test_what_is_fetched_already_is_used(data, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    found, notes = plan("evaluate", {"eval_datasets": (Path(data["test"]).as_uri(),)})
    assert (found.overrides, found.images, found.extract) == ({EVAL: ["test"]}, {EVAL: 2}, [])
    assert "fetched already" in notes.warnings[0].text


def test_training_data_that_is_measured_on_too_is_told(data):
    _, notes = plan("train", {"train_datasets": (data["test"],), "eval_datasets": (data["test"],)})
    assert "new images" in notes.warnings[0].text


def packed(folder, name):
    path = folder.parent / name
    with tarfile.open(path, "w:gz") as bundle:
        bundle.add(folder, folder.name)
    return path


class TestArchives:
    def test_an_archive_is_unpacked_beside_itself_by_a_command_that_works(self, data, tmp_path):
        odd = tmp_path / "my data; touch $HOME"
        odd.mkdir()
        archive = packed(Path(data["train"]), str(odd / "train.tar.gz"))
        program = f"{shlex.quote(sys.executable)} -m ocdnet.cli.main"
        found, _ = plan("evaluate", {"eval_datasets": (str(archive),)}, program=program)
        (step,) = found.extract
        assert found.overrides == {EVAL: [step.to]}
        assert step.archive == str(archive)
        assert step.to == str(odd / "train")
        assert not found.images
        subprocess.run(
            ["sh", "-c", step.command],
            check=True,
            capture_output=True,
            env={"PYTHONPATH": str(RUNTIME)},
        )
        # Planned again, the folder is used.
        found, notes = plan("evaluate", {"eval_datasets": (str(archive),)})
        assert (found.overrides, found.images) == ({EVAL: [str(odd / "train")]}, {EVAL: 5})
        assert not found.extract
        assert "unpacked already" in notes.warnings[0].text

    def test_something_else_in_the_way(self, data, tmp_path):
        archive = str(packed(Path(data["train"]), "photos.tgz"))
        found, _ = plan("evaluate", {"eval_datasets": (archive,)})
        assert found.overrides == {EVAL: [str(tmp_path / "photos-extracted")]}
        (tmp_path / "photos-extracted").mkdir()
        assert plan("evaluate", {"eval_datasets": (archive,)})[0].extract == found.extract
        (tmp_path / "photos-extracted" / "mine").write_text("")
        with pytest.raises(DataError) as caught:
            plan("evaluate", {"eval_datasets": (archive,)})
        assert caught.value.code == "archive-not-unpacked"

    def test_one_step_for_one_archive_and_two_folders_for_two(self, tmp_path, data):
        folder = tmp_path / "x"
        folder.mkdir()
        names = [folder / name for name in ("data.tar.gz", "data.zip")]
        for path in names:
            packed(Path(data["train"]), str(path))
        named = {"train_datasets": (str(names[0]),), "eval_datasets": (str(names[1]),)}
        found, _ = plan("quantize", {**named, "platform": "tao-docker"}, CALIBRATED[0])
        assert found.overrides == {
            TRAIN: [str(folder / "data")],
            EVAL: [str(folder / "data-extracted")],
            QUANT: str(folder / "data" / "img"),
        }
        assert len(found.extract) == 2

    def test_an_archive_by_its_content_alone(self, data, tmp_path):
        archive = packed(Path(data["train"]), "bundle")
        found, _ = plan("evaluate", {"eval_datasets": (str(archive),)})
        assert found.extract[0].to == str(tmp_path / "bundle-extracted")

    def test_images_alone(self, data, tmp_path):
        archive = packed(Path(data["photos"]), "img.tar.gz")
        found, notes = plan("inference", {"inference_dataset": str(archive)})
        assert found.overrides == {INPUT: str(tmp_path / "img")}
        assert str(tmp_path / "img" / "img") in notes.warnings[0].text

    def test_images_of_labelled_data(self, data, tmp_path):
        archive = packed(Path(data["test"]), "new.tar.gz")
        found, notes = plan("inference", {"eval_datasets": (str(archive),)})
        assert found.overrides == {INPUT: str(tmp_path / "new" / "img")}
        assert not notes.warnings

    def test_only_the_job_sees_it(self):
        named = {"train_datasets": ("/far/train.zip",), "platform": "slurm"}
        found, _ = plan("train", named)
        assert found.overrides == {TRAIN: ["/far/train"]}
        with pytest.raises(DataError) as caught:
            plan("train", named | {"platform": "docker"})
        assert caught.value.code == "missing-data-path"

    def test_a_kind_that_is_not_unpacked_here(self, tmp_path):
        (tmp_path / "a.7z").write_bytes(b"7z\xbc\xaf\x27\x1c")
        with pytest.raises(DataError) as caught:
            plan("evaluate", {"eval_datasets": (str(tmp_path / "a.7z"),)})
        assert caught.value.code == "unsupported-archive"

    def test_a_name_that_looks_like_an_option(self, data, monkeypatch, tmp_path):
        monkeypatch.chdir(tmp_path)
        packed(Path(data["train"]), "-x.tgz")
        found, _ = plan("evaluate", {"eval_datasets": ("-x.tgz",)})
        assert found.extract[0].command == "ocdnet data extract ./-x.tgz --out ./-x"


@pytest.mark.parametrize("times", [1, 300])
def test_a_list_of_paddleocr_is_refused_with_what_it_is(data, tmp_path, times):
    label = tmp_path / "Label.txt"
    points = '[{"transcription": "A", "points": [[1, 1], [9, 1], [9, 5], [1, 5]]}]' * times
    label.write_text(f"train/img/0.jpg\t{points}\n" * 3)
    with pytest.raises(DataError) as caught:
        plan("train", {"train_datasets": (str(label),)})
    assert caught.value.code == "bad-datalist-line"
    assert "PaddleOCR" in caught.value.message
    _, notes = plan("train", {"train_datasets": (str(label),), "platform": "slurm"})
    assert any("PaddleOCR" in warning for warning in texts(notes.warnings))


def test_a_list_of_files_that_are_not_there_is_told(data, tmp_path):
    listed = tmp_path / "windows.txt"
    listed.write_text("train\\img\\0.jpg\ttrain\\gt\\gt_0.txt\n")
    found, notes = plan("train", {"train_datasets": (str(listed),)})
    assert found.overrides == {TRAIN: [str(listed)]}
    assert "folders by /" in "".join(texts(notes.warnings))


def drafted(action, **given):
    """A case, and a draft over the action's template."""
    case = Case(PLANNED[action], Request(action=action), SKILL, Notes(), "ocdnet")
    schema = SKILL.schema(action)
    draft = Draft(entry=case.entry, schema=schema, defaults=schema["default"])
    return case, draft.with_changes(given)


def test_a_batch_that_is_larger_than_the_data_is_told():
    case, draft = drafted("train", **{"dataset.train_dataset.loader.batch_size": 16})
    batch(draft, step_of(case, draft), 16, case.notes)
    assert not case.notes.warnings
    batch(draft, step_of(case, draft), 15, case.notes)
    assert "15 training images" in case.notes.warnings[0].text


@for_all(st.integers(1, 500), st.integers(1, 64), st.integers(1, 64))
def test_calibration_never_reads_more_images_than_there_are(images, batch_size, batches):
    prefix = "gen_trt_engine.tensorrt.calibration."
    given = {f"{prefix}cal_batch_size": batch_size, f"{prefix}cal_batches": batches}
    case, draft = drafted("gen_trt_engine", **given)
    notes, changes = case.notes, calibration(draft, images, case.notes)
    size = changes.get(f"{prefix}cal_batch_size", batch_size)
    count = changes.get(f"{prefix}cal_batches", batches)
    assert 1 <= size <= batch_size
    assert 1 <= count <= batches
    assert size * count <= images
    assert bool(changes) == bool(notes.warnings) == (batch_size * batches > images)
    assert set(changes) <= {f"{prefix}cal_batch_size", f"{prefix}cal_batches"}
    for number in (images, batch_size, batches, size, count):
        assert str(number) in "".join(texts(notes.warnings) + texts(notes.why))

"""`ocdnet predict`: every kind of source in, every kind of result out, and nobody's file lost."""

from __future__ import annotations

import io
import json
import os
import shutil
import signal
import subprocess
import sys
import time

import cv2
import jsonschema
import numpy as np
import pytest
from pycocotools.coco import COCO

import support
from loopback import serving
from ocdnet.actions.page_files import PageFiles
from ocdnet.actions.predict import Request, run
from ocdnet.data.reading import read_image
from ocdnet.errors import DataError, Exit, SpecError
from ocdnet.findings import collecting
from ocdnet.policy.artifacts import skill_dir
from ocdnet.runs.typed import to_json
from ocdnet.training.folder_lock import locked_folder
from tiny_onnx import write_detector

SCHEMA = json.loads((skill_dir() / "schemas/page.schema.json").read_text())
BLOCKS = [(40, 100, 230, 140), (30, 20, 150, 50), (180, 20, 300, 60)]
"""Left, top, right and bottom of what is found in `photo`, 320x160 pixels."""
READ = [BLOCKS[1], BLOCKS[2], BLOCKS[0]]
"""The same as it is read."""


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return write_detector(tmp_path_factory.mktemp("model") / "light.onnx")


@pytest.fixture(scope="module")
def photo(tmp_path_factory):
    image = np.zeros((160, 320, 3), np.uint8)
    for left, top, right, bottom in BLOCKS:
        image[top:bottom, left:right] = 255
    path = tmp_path_factory.mktemp("photo") / "photo.png"
    cv2.imwrite(str(path), image)
    return path


@pytest.fixture
def here(tmp_path, photo, monkeypatch):
    """A folder to be in: photos/{a.png, more/b.png, .hidden.png, notes.txt, bad.jpg}."""
    for name in ("photos/a.png", "photos/more/b.png", "photos/.hidden.png"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(photo, tmp_path / name)
    (tmp_path / "photos/notes.txt").write_text("mine")
    (tmp_path / "photos/bad.jpg").write_bytes(b"no picture")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def found(model, *sources, stdin=b"", files=None, **more):
    """What `run` returns, as JSON."""
    detector = {"model": model, "size": (320, 160), "unclip_ratio": 0}
    request = Request([*map(str, sources)], files or PageFiles(), detector=detector, **more)
    with collecting() as findings:
        return to_json(run(request, findings, io.BytesIO(stdin)))


def names(result):
    return [page["image"] for page in result["pages"]]


def command(model, *arguments):
    own = ["--model", str(model), "--size", "320x160", "--unclip-ratio", "0"]
    return [sys.executable, "-m", "ocdnet.cli.main", "predict", *map(str, arguments), *own]


def lines(text):
    records = [json.loads(line) for line in text.splitlines()]
    for record in records:
        jsonschema.Draft202012Validator(SCHEMA).validate(record)
    return records


def boxes(record):
    corners = [np.array(region["polygon"]) for region in record["regions"]]
    return [(*c.min(axis=0), *c.max(axis=0)) for c in corners]


def as_blocks(record, blocks):
    np.testing.assert_allclose(boxes(record), blocks, atol=2.01)


def test_stdin_urls_and_files_a_line_each(model, photo, tmp_path):
    """As a shell has it; what can't be fetched is a line, too, in its place."""
    with serving(photo.read_bytes()) as site:
        sources = ["-", f"{site}/gone.png", f"{site}/x/photo.png", photo, "-", photo]
        done = subprocess.run(
            command(model, *sources, "--json", "-", "--reading-order"),
            stdin=photo.open("rb"),
            capture_output=True,
            text=True,
            check=True,
            cwd=tmp_path,
        )
    records = lines(done.stdout)
    assert [r["image"] for r in records] == ["stdin", *sources[1:3], str(photo)]
    assert [r["error"]["code"] if "error" in r else None for r in records] == [
        None,
        "unreadable-url",
        None,
        None,
    ]
    for record in (records[0], *records[2:]):
        as_blocks(record, READ)
    assert "left out" in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_without_files_the_summary_shows_the_first_images(model, photo, here):
    for number in range(12):
        shutil.copy(photo, here / f"photos/{number}.png")
    done = subprocess.run(
        command(model, "photos"), capture_output=True, text=True, check=True, cwd=here
    )
    result = json.loads(done.stdout)
    assert names(result)[:3] == ["photos/0.png", "photos/1.png", "photos/2.png"]  # 10 is behind 9
    assert len(result["pages"]) == 10
    assert (result["images"], result["regions"]) == (13, 39)
    assert result["not_shown"] == {"images": 4, "regions": 9}
    assert result["skipped"] == ["photos/bad.jpg"]
    assert {row["code"] for row in result["warnings"]} == {"left-out", "sub-folders"}
    assert len(done.stdout) < 8000


def test_everything_that_can_be_written(model, here, photo):
    done = subprocess.run(
        command(
            model,
            *("photos", "--recursive", "--out", "found", "--draw", "--reading-order"),
            *("--crops", "found/crops", "--coco", "coco.json"),
        ),
        capture_output=True,
        text=True,
        check=True,
        cwd=here,
    )
    result = json.loads(done.stdout)
    assert "pages" not in result
    records = lines((here / result["json"]).read_text())
    assert [r["image"] for r in records] == ["photos/a.png", "photos/bad.jpg", "photos/more/b.png"]
    good = [record for record in records if "error" not in record]
    image = read_image(photo)
    for record in good:
        as_blocks(record, READ)
        for region, (_, top, _, bottom) in zip(record["regions"], READ, strict=True):
            crop = read_image(here / result["crops"] / region["crop"])
            assert abs(crop.shape[0] - 1.1 * (bottom - top)) < 4  # a margin of a twentieth each
            assert crop[2:-2].mean() > 0.7 * 255
    assert good[1]["regions"][2]["crop"] == "more/b_3.png"
    drawn = sorted(path.relative_to(here).as_posix() for path in (here / "found").rglob("*.jpg"))
    assert drawn == [
        *("found/a_heatmap.jpg", "found/a_overlay.jpg"),
        *("found/more/b_heatmap.jpg", "found/more/b_overlay.jpg"),
    ]
    overlay = read_image(here / "found/a_overlay.jpg")
    assert overlay.shape == image.shape
    assert np.abs(overlay[98:103, 60:200].astype(int) - image[98:103, 60:200]).mean() > 40
    data = COCO(str(here / "coco.json"))
    results = data.loadRes(list(data.anns.values()))
    assert [row["file_name"] for row in data.imgs.values()] == ["photos/a.png", "photos/more/b.png"]
    assert len(results.anns) == 6
    mask = data.annToMask(data.anns[4])
    left, top, right, bottom = READ[0]
    assert mask[top + 3 : bottom - 3, left + 3 : right - 3].all()
    assert data.anns[4]["bbox"] == pytest.approx([left, top, right - left, bottom - top], abs=2.01)
    assert data.anns[4]["area"] == pytest.approx(mask.sum(), rel=0.1)
    assert data.anns[4]["crop"] == good[1]["regions"][0]["crop"]
    assert support.leftovers(here) == []


def test_a_second_predict_replaces_the_first_and_does_not_read_it(model, here):
    files = PageFiles(here / "photos/out", ["overlay"], here / "photos/out/p.jsonl", None)
    first = found(model, "photos", files=files, recursive=True)
    (here / "photos/more/b.png").unlink()
    second = found(model, "photos", files=files, recursive=True)
    assert (first["images"], second["images"]) == (2, 1)
    left = {path.name for path in (here / "photos/out").rglob("*") if path.is_file()}
    assert left == {"a_overlay.jpg", "p.jsonl", ".ocdnet_files.jsonl"}
    codes = {row["code"] for row in second["warnings"]}
    assert codes == {"left-out", "own-results", "earlier-results"}
    image = "photos/out/a_overlay.jpg"
    (here / image).write_bytes((here / "photos/a.png").read_bytes())  # now it is the user's
    assert image in names(found(model, "photos/out", "photos/a.png"))


def test_a_file_beside_others_changes_nothing_else(model, here, photo):
    """Two results in one folder, and a file that a user has changed since."""
    for name in ("one.jsonl", "two.jsonl", "one.jsonl"):
        found(model, photo, files=PageFiles(json=here / name))
    assert len(lines((here / "one.jsonl").read_text())) == 1
    assert (here / "two.jsonl").exists()
    for name, text in (("one.jsonl", "changed"), ("photos/notes.txt", "mine")):
        (here / name).write_text(text)
        with pytest.raises(SpecError, match="written over"):
            found(model, photo, files=PageFiles(json=here / name))
        assert (here / name).read_text() == text
    with pytest.raises(SpecError, match="among the images"):
        found(model, "photos", files=PageFiles(folder=here / "photos"))


def test_two_at_a_time_do_not_remove_each_other_s_files(model, here):
    files = PageFiles(here / "out", ["overlay"])
    found(model, "photos", files=files)
    before = sorted((here / "out").iterdir())
    with locked_folder(here / "out"), pytest.raises(SpecError, match="Another run"):
        found(model, "photos", files=files)
    assert sorted((here / "out").iterdir()) == before
    found(model, "photos", files=files)


@pytest.mark.parametrize(
    ("sources", "recursive", "expected"),
    [
        (["photos/*.png"], False, ["photos/a.png"]),
        (["photos/**/*.png"], True, ["photos/a.png", "photos/more/b.png"]),
        (["photos/[ab].png", "./photos/a.png", "photos"], False, ["photos/a.png"]),
        (["photos/.hidden.png"], False, ["photos/.hidden.png"]),
        (["photos/more", "photos"], False, ["photos/more/b.png", "photos/a.png"]),
    ],
)
def test_patterns_folders_and_repetitions(model, here, sources, recursive, expected):
    (here / "photos/bad.jpg").unlink()
    assert names(found(model, *sources, recursive=recursive)) == expected


def test_missing_sources_are_named_before_anything_runs(model, here):
    with pytest.raises(DataError) as raised:
        found(model, "photos", "x.png", "no/*.png", "ftp://a/b.png", files=PageFiles(here / "out"))
    assert raised.value.got == ["x.png", "no/*.png", "ftp://a/b.png"]
    assert not (here / "out").exists()
    (here / "empty").mkdir()
    with pytest.raises(DataError, match="no images"):
        found(model, "empty")
    beside = found(model, "photos/a.png", "empty")
    assert [row["files"] for row in beside["warnings"]] == [["empty"]]


def test_where_nothing_can_be_read(model, here):
    with pytest.raises(DataError, match=r"bad\.jpg: not a whole image"):
        found(model, "photos/bad.jpg", files=PageFiles(json=here / "p.jsonl"))
    assert not (here / "p.jsonl").exists()
    with pytest.raises(DataError, match="Cannot read the image stdin: it is empty"):
        found(model, "-")
    with pytest.raises(DataError, match="None of the images"):
        found(model, "photos/bad.jpg", "-", stdin=b"neither")


def test_pages_and_pictures_of_one_name_are_kept_apart(model, here, photo):
    """Pages of a document from a file and from stdin; a picture from the web beside its like."""
    image = cv2.imread(str(photo))
    _, data = cv2.imencodemulti(".tiff", [image, image])
    (here / "scan.tif").write_bytes(data.tobytes())
    with serving(photo.read_bytes()) as site:
        files = PageFiles(crops=here / "crops")
        sources = ("scan.tif", "photos/a.png", f"{site}/a.png", "photos/more/b.png", "-")
        result = found(model, *sources, files=files, stdin=data.tobytes())
    pages = [(page["image"], page.get("page")) for page in result["pages"]]
    web = f"{site}/a.png"
    assert pages[:3] == [("scan.tif", 0), ("scan.tif", 1), ("photos/a.png", None)]
    assert pages[3:] == [(web, None), ("photos/more/b.png", None), ("stdin", 0), ("stdin", 1)]
    firsts = [page["regions"][0]["crop"] for page in result["pages"]]
    assert firsts == [
        *("scan_p1_1.png", "scan_p2_1.png", "photos/a_1.png", "a_1.png"),
        *("photos/more/b_1.png", "stdin_p1_1.png", "stdin_p2_1.png"),
    ]


def test_interrupted_it_leaves_whole_files_of_what_is_done(model, photo, here):
    """Of 3,000 pictures; what was there before is replaced, and nothing is half."""
    for number in range(3000):
        os.link(photo, here / f"photos/{number}.png")
    process = subprocess.Popen(
        command(model, "photos", "--json", "p.jsonl", "--coco", "c.json", "--out", "found"),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=here,
    )
    for line in process.stderr:
        if line.startswith("detecting"):
            break
    time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    printed, _ = process.communicate(timeout=60)
    assert process.returncode == Exit.INTERRUPTED
    records = lines((here / "p.jsonl").read_text())
    assert 300 <= len(records) < 3000
    assert f"{len(records)} of 3002 images" in json.loads(printed)["error"]["message"]
    images = len(json.loads((here / "c.json").read_text())["images"])
    assert images == sum("error" not in record for record in records)
    assert support.leftovers(here) == []


def test_a_reader_that_goes_ends_it(model, photo, here):
    for number in range(300):
        os.link(photo, here / f"photos/{number}.png")
    process = subprocess.Popen(
        command(model, "photos", "--json", "-"),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=here,
    )
    assert json.loads(process.stdout.readline())["image"] == "photos/0.png"
    process.stdout.close()
    assert "Traceback" not in process.stderr.read()
    assert process.wait(60) == Exit.INTERRUPTED

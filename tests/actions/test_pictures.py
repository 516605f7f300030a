"""Inference on folders as people have them: every image has its results, the rest is counted."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest

import support
from ocdnet.actions import detection
from ocdnet.actions.result_names import result_names
from ocdnet.data.annotations import index_dataset
from ocdnet.data.reading import FilePage
from ocdnet.errors import DataError
from ocdnet.findings import collecting

pytestmark = pytest.mark.usefixtures("small_network", "stub")


class Identity:
    """A predictor whose map is the blue channel: white blocks are text."""

    backend = "stub"
    img_mode = size = normalisation = batch = None
    path = Path("stub.onnx")

    def __call__(self, images):
        return (images[:, 0] > 0).astype(np.float32)


@pytest.fixture
def stub(monkeypatch):
    monkeypatch.setattr(detection, "open_predictor", lambda *_: Identity())


def page(blocks):
    """A black picture 160x160 with some white blocks."""
    image = np.zeros((160, 160, 3), np.uint8)
    for number in range(blocks):
        image[10 + 30 * number : 25 + 30 * number, 20:120] = 255
    return image


def put(path, blocks=1):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(cv2.imencode(path.suffix, page(blocks))[1].tobytes())


def infer(folder, out, *more):
    result = support.infer(folder, "model.pth", out, *more)
    return result, {row["code"]: row for row in result["warnings"]}


def lines(out):
    """The number of boxes in each text file, by its path in the results folder."""
    root = out / "inference"
    found = (path for path in root.rglob("*.txt"))
    return {str(path.relative_to(root)): len(path.read_text().splitlines()) for path in found}


def test_names_that_look_alike(tmp_path):
    folder = tmp_path / "photos"
    put(folder / "x.jpg", 1)
    put(folder / "x.png", 2)
    shutil.copy(folder / "x.png", folder / "x.jpg.png")
    put(folder / "x.jpg.png", 3)
    result, _ = infer(folder, tmp_path)
    assert result["images"] == 3
    assert lines(tmp_path) == {"x.jpg.txt": 1, "x.png.txt": 2, "x.jpg.png.txt": 3}


@pytest.mark.parametrize(
    "files",
    [
        ["x.jpg", "x.png", "x.jpg.png", "x.jpg.png.png", "x.png.jpg"],
        ["a.tif:0", "a.tif:1", "a_p2.png", "a.tif_p1.jpg", "a.png"],
        ["n" * 250 + ".jpg", "n" * 249 + ".jpeg", "n" * 250 + ".png"],
        ["é" * 120 + ".jpg", "é" * 120 + ".png", "b/x.jpg", "b/x.png", "x.jpg"],
    ],
)
def test_results_have_names_of_their_own(tmp_path, files):
    pages = []
    for file in files:
        name, _, number = file.partition(":")
        pages.append(FilePage(tmp_path / name, int(number) if number else None))
    names = result_names(pages, tmp_path)
    assert len(set(names.values())) == len(files)
    for page_, name in names.items():
        assert name.parent == page_.path.parent.relative_to(tmp_path)
        assert len(os.fsencode(name.name)) <= 230


def test_long_names(tmp_path):
    folder = tmp_path / "photos"
    for stem in ("n" * 245, "n" * 244 + "m", "ü" * 120):
        put(folder / f"{stem}.jpg")
    put(folder / ("k" * 228 + ".jpg"))
    result, warnings = infer(folder, tmp_path)
    found = lines(tmp_path)
    assert result["images"] == len(found) == 4
    assert "k" * 228 + ".txt" in found
    assert warnings["long-name"]["count"] == 3
    assert support.leftovers(tmp_path) == []


def test_every_page_of_a_tiff(tmp_path):
    folder = tmp_path / "scans"
    folder.mkdir()
    cv2.imwritemulti(str(folder / "two.tif"), [page(2), page(3)])
    put(folder / "one.tif", 1)
    result, warnings = infer(folder, tmp_path)
    assert (result["images"], warnings) == (3, {})
    assert lines(tmp_path) == {"one.txt": 1, "two_p1.txt": 2, "two_p2.txt": 3}
    assert (tmp_path / "inference" / "two_p2_result.jpg").is_file()


def test_what_is_left_out_is_counted(tmp_path):
    folder = tmp_path / "photos"
    for name in ("a.jpg", "b.jp2", "c.gif", "inner/d.jpg", "other/e.jpg"):
        put(folder / name)
    for name in ("f.psd", "g.dng", "h", "labels.txt", ".hidden.cr2"):
        (folder / name).write_bytes(b"?")
    result, warnings = infer(folder, tmp_path)
    assert result["images"] == 3
    others, folders = warnings["other-suffix"], warnings["sub-folders"]
    assert (others["count"], folders["count"]) == (3, 2)
    assert sorted(others["files"]) == [str(folder / name) for name in ("f.psd", "g.dng", "h")]
    assert folders["key"] == "inference.recursive"


def test_sub_folders_are_searched_and_kept(tmp_path):
    folder = tmp_path / "photos"
    for number, name in enumerate(("x.jpg", "in/x.jpg", "in/x.png", "in/deep/y.png")):
        put(folder / name, number)
    (folder / "link").symlink_to(folder)
    for _ in range(2):  # the results of the first run are no input of the second
        result, warnings = infer(folder, folder / "out", "inference.recursive=true")
        assert result["images"] == 4
        assert warnings["sub-folders"]["files"] == [str(folder / "link")]
        want = {"x.txt": 0, "in/x.jpg.txt": 1, "in/x.png.txt": 2, "in/deep/y.txt": 3}
        assert lines(folder / "out") == want
        shutil.rmtree(folder / "out" / "inference" / "in")


def test_damaged_images_and_pipes_are_errors_or_counted(tmp_path):
    folder = tmp_path / "photos"
    put(folder / "good.jpg")
    os.mkfifo(folder / "pipe.jpg")
    (folder / "gone.png").symlink_to(folder / "absent")
    (folder / "loop.png").symlink_to(folder / "loop.png")
    (folder / "zero.bmp").symlink_to("/dev/zero")
    with pytest.raises(DataError):
        infer(folder, tmp_path)
    result, warnings = infer(folder, tmp_path / "b", "inference.skip_unreadable=true")
    assert (result["images"], result["skipped_images"]) == (1, 4)
    assert warnings["left-out"]["count"] == 4


def test_the_limit_of_the_spec(tmp_path):
    folder = tmp_path / "photos"
    folder.mkdir()
    cv2.imwrite(str(folder / "a.png"), np.zeros((1001, 1000), np.uint8))
    infer(folder, tmp_path / "a")
    with pytest.raises(DataError) as caught:
        infer(folder, tmp_path / "b", "max_megapixels=1")
    assert caught.value.code == "image-too-large"


@pytest.mark.parametrize("name", ["pipe", "zero", "loop", "n" * 300, "n/" * 3000 + "n", "nul\0"])
def test_no_folder(tmp_path, name):
    path = f"{tmp_path}/{name}"
    if name == "pipe":
        os.mkfifo(path)
    if name in ("zero", "loop"):
        Path(path).symlink_to("/dev/zero" if name == "zero" else path)
    with pytest.raises(DataError):
        infer(path, tmp_path)
    for listed in (path, f"{tmp_path}/list.txt"):
        (tmp_path / "list.txt").write_text(f"{path}.jpg\t{path}.txt\n")
        with pytest.raises(DataError), collecting():
            index_dataset([listed], [])

"""What users may put into a dataset, and how a bad one is refused."""

from __future__ import annotations

import gzip
import io
import json
import logging
import os
import pickle
import tarfile
import zipfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ocdnet import findings
from ocdnet.data.annotations import index_dataset
from ocdnet.errors import DataError, Exit

TAGS = ["###", "*"]
QUAD = "10,20,110,20,110,50,10,50"
ICDAR2015 = Path(__file__).parents[3] / "shared/data/icdar2015"


def make_split(root, labels):
    """A split folder; images are empty files, as indexing must not open them."""
    (root / "img").mkdir(parents=True)
    (root / "gt").mkdir()
    for stem, content in labels.items():
        (root / "img" / f"{stem}.jpg").touch()
        if content is not None:
            (root / "gt" / f"gt_{stem}.txt").write_text(content, encoding="utf-8")
    return root


def refused(call):
    with pytest.raises(DataError) as caught:
        call()
    assert caught.value.exit_code == Exit.DATA
    return caught.value


def test_a_split_folder_is_read_in_natural_order(tmp_path, caplog):
    root = make_split(tmp_path / "s", dict.fromkeys(("img_10", "img_9", "b\u00fcro \u00b2"), ""))
    (root / "img" / "UPPER.JPEG").touch()
    (root / "gt" / "UPPER.txt").write_text(f"{QUAD},plain name\n")
    (root / "img" / "notes.md").touch()
    (root / "gt" / "gt_gone.txt").touch()
    with caplog.at_level(logging.WARNING, logger="ocdnet"):
        found = index_dataset([root], TAGS)
    assert [a.image.name for a in found] == [
        "UPPER.JPEG",
        "b\u00fcro \u00b2.jpg",
        "img_9.jpg",
        "img_10.jpg",
    ]
    assert found[0].texts == ["plain name"]
    assert found[1].polygons == []
    assert "Label files that belong to no image are left out" in caplog.text
    assert "gt_gone.txt" in caplog.text


def test_the_icdar_label_name_comes_first(tmp_path):
    root = make_split(tmp_path, {"1": f"{QUAD},first"})
    (root / "gt" / "1.txt").write_text("not a label")
    assert index_dataset([root], TAGS)[0].texts == ["first"]


@pytest.mark.parametrize("name", ["truth_{}.txt", "poly_gt_{}.txt"])
def test_the_label_names_of_other_datasets(tmp_path, name):
    root = make_split(tmp_path, {"7": None})
    (root / "gt" / name.format(7)).write_text(f"{QUAD},found")
    assert index_dataset([root], TAGS)[0].texts == ["found"]


LINES = st.lists(
    st.tuples(
        st.lists(st.integers(-9, 2000), min_size=8, max_size=8),
        st.sampled_from(TAGS) | st.text("ab\u5716\U0001f600, ", max_size=8).map(str.strip),
    ),
    max_size=5,
)


@settings(max_examples=60, deadline=None)
@given(st.lists(LINES, min_size=1, max_size=6))
def test_annotations_come_out_as_they_went_in(tmp_path_factory, files):
    labels = {
        str(number): "".join(f"{','.join(map(str, values))},{text}\n" for values, text in lines)
        for number, lines in enumerate(files)
    }
    root = make_split(tmp_path_factory.mktemp("data") / "r\u00f6\u00f6t", labels)
    found = index_dataset([root], TAGS)
    assert len(found) == len(files)
    for number, annotation in enumerate(pickle.loads(pickle.dumps(found))):
        label = root / "gt" / f"gt_{number}.txt"
        assert (annotation.image, annotation.label) == (root / "img" / f"{number}.jpg", label)
        assert annotation.texts == [text for _, text in files[number]]
        assert annotation.ignore.dtype == np.bool_
        rows = zip(files[number], annotation.polygons, annotation.ignore, strict=True)
        for (values, text), polygon, ignored in rows:
            points = np.array(values).reshape(4, 2)
            # The corners of a quad that crosses itself are put in order.
            assert sorted(polygon.tolist()) == sorted(points.tolist())
            assert polygon[0].tolist() == points[0].tolist()
            (x, y), (x_next, y_next) = polygon.T, np.roll(polygon, -1, axis=0).T
            assert ignored == (text in TAGS or (x @ y_next - x_next @ y) == 0)
    assert [a.label for a in found[-2:]] == [a.label for a in list(found)[-2:]]
    census = found.census
    every = [flag for annotation in found for flag in annotation.ignore]
    assert (census.images, census.regions) == (len(files), len(every))
    assert census.cared == len(every) - sum(every)
    with pytest.raises(IndexError):
        found[len(files)]


@pytest.mark.parametrize("odd", [("img",), ("gt",), ("img", "gt")])
def test_a_file_name_that_is_not_utf8_is_refused(tmp_path, odd):
    """Records, reports and TensorBoard hold UTF-8 alone: a run must not end there."""
    root = make_split(tmp_path, {"a": f"{QUAD},x"})
    for folder, name in (("img", b"caf\xe9.jpg"), ("gt", b"gt_caf\xe9.txt")):
        if folder in odd:
            Path(os.fsdecode(os.fsencode(root / folder) + b"/" + name)).write_text(f"{QUAD},x")
    error = refused(lambda: index_dataset([root], TAGS))
    assert error.code == "not-utf8-name"
    assert "caf" in error.got[0]
    json.dumps(error.to_dict(), ensure_ascii=False).encode()


@pytest.mark.parametrize("what", ["image", "label", "list", "listed"])
@pytest.mark.parametrize("kind", ["pipe", "device", "loop"])
def test_only_files_are_read(tmp_path, what, kind):
    root = make_split(tmp_path / "s", {"a": f"{QUAD},x"})
    listing = tmp_path / "list.txt"
    listing.write_text("s/img/a.jpg\ts/gt/gt_a.txt\n")
    path = {"image": root / "img/a.jpg", "label": root / "gt/gt_a.txt", "list": listing}.get(
        what, root / "gt/gt_a.txt"
    )
    path.unlink()
    if kind == "pipe":
        os.mkfifo(path)
    else:
        path.symlink_to("/dev/zero" if kind == "device" else path)
    refused(lambda: index_dataset([listing if what.startswith("list") else root], TAGS))


def test_a_label_file_of_gigabytes_is_not_read(tmp_path):
    root = make_split(tmp_path, {"a": ""})
    with (root / "gt" / "gt_a.txt").open("wb") as file:
        file.truncate(1 << 36)
    assert "more than" in refused(lambda: index_dataset([root], TAGS)).message


def test_what_a_set_leaves_out_is_counted(tmp_path):
    root = make_split(tmp_path, {"a": f"{QUAD},x"})
    (root / "img" / "b.psd").touch()
    (root / "img" / "a.txt").touch()
    (root / "img" / "more").mkdir()
    with findings.collecting() as seen:
        index_dataset([root], TAGS)
    assert {row.code: row.files for row in seen.rows()} == {
        "other-suffix": [str(root / "img" / "b.psd")],
        "sub-folders": [str(root / "img" / "more")],
    }


def test_a_dataset_without_a_cared_region_is_told_of(tmp_path, caplog):
    make_split(tmp_path / "one", {"a": f"{QUAD},###\n1,1,1,1,1,1,1,1,flat"})
    index_dataset([tmp_path / "one"], TAGS)
    assert "2 text regions (2 ignored: 1 by ignore_tags, 1 without area)" in caplog.text
    caplog.clear()
    make_split(tmp_path / "two", {"a": ""})
    index_dataset([tmp_path / "two"], TAGS)
    assert caplog.text == ""


def test_datalists_and_several_roots(tmp_path):
    first = make_split(tmp_path / "one", {"a": f"{QUAD},A"})
    second = make_split(tmp_path / "two words", {"b c": f"{QUAD},B"})
    datalist = tmp_path / "two words" / "list.txt"
    datalist.write_text(
        "\ufeffimg/b c.jpg\tgt/gt_b c.txt\r\n\r\n"
        "img/b c.jpg gt/gt_b c.txt\n"
        f"{first / 'img/a.jpg'}   {first / 'gt/gt_a.txt'}\n",
        encoding="utf-8",
    )
    found = index_dataset([str(datalist), second, first], TAGS)
    assert [a.texts[0] for a in found] == ["B", "B", "A", "B", "A"]


@pytest.mark.parametrize(
    ("line", "code"),
    [
        ("img/a.jpg", "bad-datalist-line"),
        ("no image here", "bad-datalist-line"),
        ("\tgt/gt_a.txt", "bad-datalist-line"),
        ("img/gone.jpg\tgt/gt_a.txt", "missing-image"),
        ("img/a.jpg\tgt/gone.txt", "missing-label"),
    ],
)
def test_a_bad_datalist_line_is_named(tmp_path, line, code):
    make_split(tmp_path, {"a": ""})
    datalist = tmp_path / "list.txt"
    datalist.write_text(f"img/a.jpg\tgt/gt_a.txt\n{line}\n")
    error = refused(lambda: index_dataset([datalist], TAGS))
    assert error.code == code
    assert f"{datalist}:2" in error.message


def test_of_many_bad_files_ten_are_listed_with_their_number(tmp_path):
    bad = {str(n): f"{QUAD},ok\n{n}x{',bad' * n}" for n in range(1, 13)}
    root = make_split(tmp_path, bad | {"99": f"{QUAD},ok"})
    error = refused(lambda: index_dataset([root], TAGS))
    assert f"{root / 'gt' / 'gt_1.txt'}:2" in error.message
    assert "12 of 13 files" in error.message
    assert len(error.got) == 11
    for n in range(1, 11):
        assert f"gt_{n}.txt:2: " in error.got[n - 1]
    assert error.got[-1] == "and 2 more"


def test_a_missing_label_names_image_and_both_names(tmp_path):
    root = make_split(tmp_path, {"7": None, "8": ""})
    error = refused(lambda: index_dataset([root], TAGS))
    assert error.code == "missing-label"
    assert str(root / "img" / "7.jpg") in error.message
    assert "gt_7.txt" in error.expected


def test_paths_that_are_no_dataset(tmp_path):
    (tmp_path / "img").mkdir()
    assert refused(lambda: index_dataset([], TAGS)).code == "no-data-path"
    assert refused(lambda: index_dataset([""], TAGS)).code == "no-data-path"
    assert refused(lambda: index_dataset([tmp_path / "no"], TAGS)).code == "missing-data-path"
    assert "gt/" in refused(lambda: index_dataset([tmp_path], TAGS)).message
    (tmp_path / "gt").mkdir()
    assert refused(lambda: index_dataset([tmp_path], TAGS)).code == "empty-dataset"


def archives():
    packed = {"a.tar": io.BytesIO(), "a.tar.gz": io.BytesIO(), "a.zip": io.BytesIO()}
    for name, mode in (("a.tar", "w"), ("a.tar.gz", "w:gz")):
        with tarfile.open(fileobj=packed[name], mode=mode) as archive:
            archive.addfile(tarfile.TarInfo("img/"))
    with zipfile.ZipFile(packed["a.zip"], "w") as archive:
        archive.writestr("img/a", "")
    packed["list.txt"] = io.BytesIO(gzip.compress(b"img/a.jpg\tgt/a.txt"))
    packed["train"] = packed["a.tar"]
    packed["empty.7z"] = io.BytesIO()
    return [(name, content.getvalue()) for name, content in packed.items()]


@pytest.mark.parametrize(("name", "content"), archives(), ids=lambda v: v if len(v) < 9 else "")
def test_an_archive_is_refused_by_name_or_content(tmp_path, name, content):
    (tmp_path / name).write_bytes(content)
    error = refused(lambda: index_dataset([tmp_path / name], TAGS))
    assert error.code == "archive-as-data-path"
    assert str(tmp_path / name) in error.message
    assert "Extract" in error.hint


@pytest.mark.skipif(not ICDAR2015.exists(), reason="../shared/data/icdar2015 is not here")
def test_icdar2015_is_all_quads():
    # Counts by an independent reading: awk -F, over the same files.
    found = index_dataset([ICDAR2015 / "train", ICDAR2015 / "test"], TAGS)
    # 2,933 and 2,002 of the regions are "###", by the README of the data.
    assert (found.census.regions, found.census.tagged) == (4706 + 3248, 2933 + 2002)
    assert len(found) == 648
    assert {len(p) for a in found for p in a.polygons} == {4}
    assert sum(len(a.texts) for a in found) == 4706 + 3248
    assert {"100,000", "36,000,000", "1,888"} <= {t for a in found for t in a.texts}

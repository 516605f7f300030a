"""What users may put into a dataset, and how a bad one is refused."""

from __future__ import annotations

import gzip
import io
import logging
import tarfile
import zipfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ocdnet.data.annotations import index_dataset, parse_label_file
from ocdnet.errors import DataError, Exit

TAGS = ["###", "*"]
QUAD = "10,20,110,20,110,50,10,50"
ICDAR2015 = Path(__file__).parents[3] / "shared/data/icdar2015"


def parse(tmp_path, content):
    path = tmp_path / "gt.txt"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return parse_label_file(path, TAGS)


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


def test_byte_order_mark_crlf_and_blank_lines_are_accepted(tmp_path):
    polygons, texts, ignore = parse(
        tmp_path, f"\ufeff{QUAD},Genaxis\r\n\r\n  \r\n1.5,2,3,4,5,6,-7,8,###\r\n"
    )
    assert texts == ["Genaxis", "###"]
    assert ignore.tolist() == [False, True]
    assert polygons[0].dtype == np.float32
    assert polygons[1].tolist() == [[1.5, 2], [3, 4], [5, 6], [-7, 8]]


@pytest.mark.parametrize(
    ("rest", "text", "cared"),
    [
        (",300,000", "300,000", True),
        (",hello, world", "hello, world", True),
        (',"say ""hi"""', '"say ""hi"""', True),
        (",", "", True),
        ("", "", True),
        (",###", "###", False),
        (", ### ", "###", False),
        (",*", "*", False),
        (",####", "####", True),
        (",2014", "2014", True),
        (",1,888", "1,888", True),
        (",36,000,000", "36,000,000", True),
        (",1,200,300km", "1,200,300km", True),
        (",8,62,03", "8,62,03", True),
    ],
)
def test_transcriptions_of_quads(tmp_path, rest, text, cared):
    quad = "300,400,380,402,379,425,299,424"
    polygons, texts, ignore = parse(tmp_path, quad + rest)
    assert polygons[0].shape == (4, 2)
    assert (texts, ignore.tolist()) == ([text], [not cared])


def curved(n, width=200.0, height=30.0, x=400.0, y=300.0):
    """2n points of a word bent along half an arc: n above, n back below."""
    across = np.linspace(0, 1, n)
    sag = 40 * np.sin(np.pi * across)
    top = np.stack([x + width * across, y - sag], axis=1)
    below = top[::-1] + np.array([0, height])
    return np.round(np.concatenate([top, below]))


@pytest.mark.parametrize("text", ["GARDEN", "", "###", "2014", "12,30", "1,000,000", "a,b,3"])
@pytest.mark.parametrize("n", [3, 5, 7, 10])
def test_polygons_of_many_points(tmp_path, n, text):
    points = curved(n)
    line = ",".join(f"{v:g}" for v in points.ravel()) + f",{text}"
    polygons, texts, _ = parse(tmp_path, f"{QUAD},plain\n{line}\n{QUAD},last\n")
    assert [len(p) for p in polygons] == [4, 2 * n, 4]
    np.testing.assert_array_equal(polygons[1], points)
    assert texts == ["plain", text, "last"]


@settings(max_examples=60, deadline=None)
@given(
    n=st.integers(3, 12),
    width=st.floats(40, 900),
    aspect=st.floats(0.1, 1),
    words=st.booleans(),
)
def test_any_curved_word_keeps_its_points(tmp_path_factory, n, width, aspect, words):
    turn = np.array([[0.8, 0.6], [-0.6, 0.8]])
    points = np.round(curved(n, width, width * aspect, 0, 0) @ turn + 800, 1)
    line = ",".join(f"{v:g}" for v in points.ravel()) + (",word" if words else "")
    polygons, _, _ = parse(tmp_path_factory.mktemp("gt"), line)
    np.testing.assert_allclose(polygons[0], points, rtol=1e-6)


def test_polygons_are_kept_as_given_and_flat_ones_are_ignored(tmp_path):
    crossing = "0,0,10,10,10,0,0,12"
    polygons, _, ignore = parse(
        tmp_path, f"{crossing},a\n0,0,5,5,9,9,3,3,flat\n0,50,10,50,10,0,0,0,counter\n"
    )
    assert polygons[0].ravel().tolist() == [float(v) for v in crossing.split(",")]
    assert ignore.tolist() == [False, True, False]


def test_an_empty_label_file_has_no_text(tmp_path):
    polygons, texts, ignore = parse(tmp_path, "")
    assert (polygons, texts, ignore.shape, ignore.dtype) == ([], [], (0,), np.bool_)


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("1,2,3,4,5,6,word", "field 7 is not a coordinate: 'word'"),
        ("1,2,3,4,5,6,7,word", "field 8 is not a coordinate: 'word'"),
        ("1,2,3,4,5,6", "6 coordinates are too few"),
        ("1,2,3,x,5,6,7,8,word", "field 4 is not a coordinate: 'x'"),
        ("1,2,3,nan,5,6,7,8,word", "field 4 is not a coordinate: 'nan'"),
        ("1,2,3,4,5,6,7,inf,word", "field 8 is not a coordinate: 'inf'"),
        ("1,2,3,4,5,6,7,1e30,word", "field 8 is not a coordinate"),
        ("1 2 3 4 5 6 7 8 word", "field 1 is not a coordinate"),
        ("word", "field 1 is not a coordinate"),
    ],
)
def test_a_bad_line_is_named(tmp_path, line, told):
    error = refused(lambda: parse(tmp_path, f"{QUAD},good\n\n{line}\n"))
    assert f"{tmp_path / 'gt.txt'}:3: " in error.message
    assert told in error.message
    assert (error.code, error.got) == ("bad-label-line", line)
    assert error.expected
    assert "line 3" in error.hint


def test_latin1_is_named_with_its_line(tmp_path):
    error = refused(lambda: parse(tmp_path, f"{QUAD},ok\n{QUAD},caf\u00e9\n".encode("latin-1")))
    assert error.code == "not-utf8"
    assert f"{tmp_path / 'gt.txt'}:2" in error.message
    assert error.got == "byte 0xe9"


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
    assert "1 label file(s)" in caplog.text
    assert "gt_gone.txt" in caplog.text


def test_the_icdar_label_name_comes_first(tmp_path):
    root = make_split(tmp_path, {"1": f"{QUAD},first"})
    (root / "gt" / "1.txt").write_text("not a label")
    assert index_dataset([root], TAGS)[0].texts == ["first"]


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


def test_of_many_bad_files_the_first_is_told_with_the_number_of_the_others(tmp_path):
    root = make_split(tmp_path, {"1": "bad", "2": f"{QUAD},ok", "3": "worse", "10": "1,2"})
    error = refused(lambda: index_dataset([root], TAGS))
    assert f"{root / 'gt' / 'gt_1.txt'}:1" in error.message
    assert "and 2 more" in error.message


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
    assert len(found) == 648
    assert {len(p) for a in found for p in a.polygons} == {4}
    assert sum(len(a.texts) for a in found) == 4706 + 3248
    assert {"100,000", "36,000,000", "1,888"} <= {t for a in found for t in a.texts}

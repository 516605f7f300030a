"""Sets of labels as people have them: read as their owners meant them, or named in a warning.

Cases of ../shared/cases, made here.
"""

from __future__ import annotations

import os
import struct
import time

import cv2
import numpy as np
import pytest

from ocdnet.data.annotations import index_dataset
from ocdnet.data.look import doubts
from ocdnet.data.picture_header import PictureSize, picture_size
from ocdnet.errors import DataError
from ocdnet.findings import collecting

TAGS = ["*", "###"]
KEY = "dataset.validate_dataset.data_path"
QUADS = ["10,20,110,20,110,50,10,50", "20,100,180,100,180,140,20,140"]


def split_of(root, files, size=(200, 160)):
    """A split folder; each picture is black, (width, height) large."""
    (root / "img").mkdir(parents=True)
    (root / "gt").mkdir()
    picture = np.zeros((size[1], size[0], 3), np.uint8)
    for stem, lines in files.items():
        cv2.imwrite(str(root / "img" / f"{stem}.png"), picture)
        (root / "gt" / f"gt_{stem}.txt").write_text("\n".join(lines), encoding="utf-8")
    return root


def seen_in(*roots):
    """The annotations of folders, and what was noted by its code."""
    with collecting() as seen:
        found = index_dataset(roots, TAGS)
    return found, {row.code: row for row in seen.rows()}


def refused(*roots):
    with pytest.raises(DataError) as caught:
        index_dataset(roots, TAGS)
    return caught.value


def lines_of(*texts):
    return [f"{QUADS[n % 2]},{text}" for n, text in enumerate(texts)]


@pytest.mark.parametrize(
    ("texts", "code", "ignored"),
    [
        (["Latin,HOTEL", "Latin,###", "Chinese,A, B"], "script-column", 1),
        (["en,HOTEL", "fr,###", "en,a", 'en,"###"'], "script-column", 2),
        (['"HOTEL"', '"###"', '"*"'], "quoted-tag", 2),
        (["HOTEL", "'###'", "\u201c###\u201d"], "quoted-tag", 2),
        (['0,"HOTEL"', '1,"HOTEL"', '0,"42"', '1,"a, b"'], "difficult-column", 2),
        (["0,HOTEL", "1,HALF", "0,42", "0,a"], "difficult-column", 1),
        (["HOTEL", "###,0", "word"], "hidden-tag", 0),
        (["HOTEL", "Latin ###", "word"], "hidden-tag", 0),
        (["HOTEL", "#", "word"], "hidden-tag", 0),
    ],
)
def test_ignore_tags_in_other_layouts(tmp_path, texts, code, ignored):
    root = split_of(tmp_path / "s", {"a": lines_of(*texts), "b": lines_of(*texts)})
    found, seen = seen_in(root)
    assert found.census.tagged == 2 * ignored
    assert seen.keys() <= {code, "quoted-tag"}
    assert seen[code].count == 2 * max(ignored, 1)
    assert seen[code].key == "dataset.validate_dataset.args.ignore_tags"
    assert [file.split(":")[0] for file in seen[code].files] == [
        str(root / "gt" / f"gt_{stem}.txt") for stem in "ab"
    ]


@pytest.mark.parametrize(
    "texts",
    [
        ["hello, world", "a,b", "###"],
        ["0,HOTEL", "1,OTHER", "word", "and more"],
        ["Latin,HOTEL", "Latin,OTHER"],
    ],
)
def test_text_with_commas_stays_text(tmp_path, texts):
    found, seen = seen_in(split_of(tmp_path / "s", {"a": lines_of(*texts)}))
    assert found[0].texts == texts
    assert not seen


@pytest.mark.parametrize(
    "texts", [['1,"HOTEL"', '1,"OTHER"'], ["1,A", "1,B", "1,C", "0,D"], ["A,1", "B,0", "C,D,1"]]
)
def test_a_flag_that_may_mean_either_is_told(tmp_path, texts):
    found, seen = seen_in(split_of(tmp_path / "s", {"a": lines_of(*texts)}))
    assert found.census.tagged == 0
    assert (list(seen), seen["flag-column"].count) == (["flag-column"], len(texts))


@pytest.mark.parametrize("tag", ["word", "###"])
@pytest.mark.parametrize("bend", [5, 0])
def test_an_outline_with_both_edges_from_left_to_right(tmp_path, tag, bend):
    edges = f"10,20,60,{20 - bend},110,20,10,50,60,{50 - bend},110,50"
    found, seen = seen_in(split_of(tmp_path / "s", {"a": [f"{edges},{tag}"] * 3}))
    below = [[110, 50], [60, 50 - bend], [10, 50]]
    round_it = [[10, 20], [60, 20 - bend], [110, 20], *below]
    assert found[0].polygons[2].tolist() == round_it
    assert (list(seen), seen["mended-corners"].count) == (["mended-corners"], 3)


@pytest.mark.parametrize("ends", ["", ",", ",###", ",7"])
def test_outlines_whose_lines_have_no_words(tmp_path, ends):
    outline = "10,20,60,15,110,20,110,50,60,45,10,50"
    found, seen = seen_in(split_of(tmp_path / "s", {"a": [outline + ends] * 3}))
    assert [len(p) for p in found[0].polygons] == [6] * 3
    assert found[0].texts == [ends.strip(",")] * 3
    assert not seen


def test_each_data_path_is_read_by_itself(tmp_path):
    outline = "10,20,60,15,110,20,110,50,60,45,10,50,WORD"
    outlines = split_of(tmp_path / "one", {"a": [outline] * 3})
    quads = split_of(tmp_path / "two", {"b": lines_of("HOTEL", "12,34", "MORE", "a", "b")})
    found, seen = seen_in(outlines, quads)
    assert [len(p) for a in found for p in a.polygons] == [6] * 3 + [4] * 5
    assert [a.image.stem for a in found] == ["a", "b"]
    assert found[1].texts[1] == "12,34"
    assert list(seen) == ["numbers-as-text"]


def test_a_set_of_which_half_the_files_have_crossed_corners(tmp_path):
    crossed = "10,20,110,20,10,50,110,50,HOTEL"
    root = split_of(tmp_path / "s", {"a": [crossed] * 2, "b": lines_of("HOTEL", "word")})
    found, seen = seen_in(root)
    assert found[0].polygons[0].tolist() == found[1].polygons[0].tolist()
    assert not found[0].ignore.any()
    assert (seen["mended-corners"].count, seen["mended-corners"].key) == (2, KEY)
    assert seen["mended-corners"].files == [str(root / "gt" / "gt_a.txt")]


def scaled(fx, fy, digits=2):
    rows = []
    for quad in QUADS:
        values = [float(v) * (fy if n % 2 else fx) for n, v in enumerate(quad.split(","))]
        rows.append(",".join(f"{v:.{digits}f}" for v in values) + ",word")
    return rows


@pytest.mark.parametrize(
    ("factors", "code", "count", "told"),
    [
        ((2, 2), "label-outside", 6, "labels of pictures 1.8 times as large or more?"),
        ((1 / 200, 1 / 160), "relative-label", 6, "6 of 6 regions, in 3 of 3 images"),
        ((0, 0), "zero-label", 6, "coordinates that are all 0"),
    ],
)
def test_coordinates_that_cannot_be_right(tmp_path, factors, code, count, told):
    root = split_of(tmp_path / "s", {stem: scaled(*factors) for stem in "abc"})
    _, seen = seen_in(root)
    assert list(seen) == [code]
    assert (seen[code].count, len(seen[code].files), seen[code].key) == (count, 3, KEY)
    assert told in seen[code].message
    assert any(told in doubt for doubt in doubts(root))


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such names")
def test_labels_of_smaller_pictures(tmp_path):
    root = split_of(tmp_path / "s", {stem: scaled(1, 1) * 2 for stem in "abc"}, size=(800, 640))
    _, seen = seen_in(root)
    assert "4.4 times smaller" in seen["small-labels"].message


def test_a_region_that_hangs_over_the_edge_is_counted_without_a_guess(tmp_path):
    lines = lines_of(*["word"] * 30)
    over = "150,20,230,20,230,50,150,50,over"
    root = split_of(tmp_path / "s", {"a": [*lines, over], "b": ["-2,0,90,0,90,30,-2,30,edge"]})
    _, seen = seen_in(root)
    assert seen["label-outside"].count == 1
    assert "a.png has 200x160 pixels" in seen["label-outside"].message
    assert seen["label-outside"].message.endswith(")")


def test_labels_of_stored_pixels_of_turned_photographs(tmp_path):
    pillow = pytest.importorskip("PIL.Image")
    exif = pillow.Exif()
    exif[0x0112] = 6
    turned = "40,20,60,20,60,180,40,180,word"
    root = split_of(tmp_path / "s", {stem: [turned] for stem in "abc"})
    for stem in "abc":
        (root / "img" / f"{stem}.png").unlink()
        stored = pillow.new("RGB", (160, 200))
        stored.save(root / "img" / f"{stem}.jpg", exif=exif)
    _, seen = seen_in(root)
    assert seen["label-outside"].count == 3
    assert "200x160" in seen["label-outside"].message
    assert "EXIF" in seen["label-outside"].message


@pytest.mark.parametrize("suffix", ["jpg", "png", "bmp", "tif"])
@pytest.mark.parametrize("orientation", [1, 3, 6])
def test_a_picture_is_as_large_as_its_reader_makes_it(tmp_path, suffix, orientation):
    pillow = pytest.importorskip("PIL.Image")
    path = tmp_path / f"x.{suffix}"
    tag = {}
    if suffix in {"jpg", "png"}:
        exif = pillow.Exif()
        exif[0x0112] = orientation
        tag = {"exif": exif}
    pillow.new("RGB", (30, 20)).save(path, **tag)
    height, width = cv2.imread(str(path)).shape[:2]
    size = PictureSize(width, height, orientation if tag else 1)
    assert picture_size(str(path)) == size
    assert size.turned == (bool(tag) and orientation == 6)
    whole = path.read_bytes()
    for end in (0, 1, 3, 17, 25, 40, len(whole) // 2):
        path.write_bytes(whole[:end])
        assert picture_size(str(path)) in {None, size}


def test_hostile_headers_end(tmp_path):
    path = tmp_path / "x.jpg"
    bodies = [
        b"\xff\xd8" + b"\xff" * 100_000,
        b"\xff\xd8" + b"\xff\xe1\x00\x02" * 5000,
        b"\xff\xd8\xff\xe1\x00\x20Exif\0\0II*\0\xff\xff\xff\xff" + bytes(40),
        b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR" + struct.pack(">II", 9, 9) + b"\0" * 40_000,
        b"II*\0\x08\0\0\0\xff\xff" + b"\x01\x01\x04\0\x01\0\0\0\xff\xff\xff\xff" * 300,
    ]
    for body in bodies:
        path.write_bytes(body)
        start = time.perf_counter()
        picture_size(str(path))
        assert time.perf_counter() - start < 1


def test_two_images_of_one_stem_are_told(tmp_path):
    root = split_of(tmp_path / "s", {"a": lines_of("word"), "b": lines_of("word")})
    (root / "img" / "a.bmp").write_bytes((root / "img" / "a.png").read_bytes())
    _, seen = seen_in(root)
    assert seen["shared-label"].files == [str(root / "img" / f"a.{s}") for s in ("bmp", "png")]
    assert any("share their label file" in doubt for doubt in doubts(root))


@pytest.mark.parametrize("name", ["a.xml", "GT_a.TXT", "a.json", "gt_a.txt.bak", "a.png.txt"])
def test_labels_of_another_name_are_named_and_never_made_empty(tmp_path, name):
    root = split_of(tmp_path / "s", {"a": [], "b": lines_of("word")})
    (root / "gt" / "gt_a.txt").rename(root / "gt" / name)
    error = refused(root)
    assert error.code == "missing-label"
    assert str(root / "gt" / name) in error.hint
    assert "empty" not in error.hint
    (doubt,) = (d for d in doubts(root) if "no label file" in d)
    assert name in doubt
    assert "empty" not in doubt


def test_labels_beside_the_images_are_named(tmp_path):
    root = split_of(tmp_path / "s", {"a": lines_of("word"), "b": lines_of("word")})
    for stem in "ab":
        (root / "gt" / f"gt_{stem}.txt").rename(root / "img" / f"{stem}.txt")
    error = refused(root)
    assert str(root / "img" / "a.txt") in error.hint
    assert len(error.got) == 2


@pytest.mark.parametrize(
    ("encoding", "mark"), [("utf-16", ""), ("utf-16-le", ""), ("utf-16-be", ""), ("utf-32", "")]
)
def test_the_encoding_of_windows_is_named(tmp_path, encoding, mark):
    root = split_of(tmp_path / "s", {"a": [], "b": []})
    for stem in "ab":
        text = "\r\n".join(lines_of("word", "other"))
        (root / "gt" / f"gt_{stem}.txt").write_bytes(text.encode(encoding))
    error = refused(root)
    assert error.code == "not-utf8"
    name = {"utf-16-le": "utf-16le", "utf-16-be": "utf-16be"}.get(encoding, encoding)
    assert f"iconv -f {name} -t utf-8" in error.hint
    assert len(error.got) == 2


def test_a_picture_as_data_path_is_no_text_to_convert(tmp_path):
    root = split_of(tmp_path / "s", {"a": []})
    error = refused(root / "img" / "a.png")
    assert "is a picture" in error.message
    assert "iconv" not in error.hint


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("x1,y1,x2,y2,x3,y3,x4,y4,text", "header"),
        ('{"shapes": [{"label": "a"}]}', "JSON"),
        ("<annotation><object>", "XML"),
        ("0 0.5 0.5 0.25 0.125", "YOLO"),
        ('38, 43, 920, 215, "Tiredness"', "ICDAR2013"),
        ("10;20;110;20;110;50;10;50;word", "commas"),
        ("10 20 110 20 110 50 10 50 word", "commas"),
        ("10,20,110,20,60,50,word", "3 points"),
    ],
)
def test_the_same_wrong_line_in_every_file_is_a_format(tmp_path, line, told):
    root = split_of(tmp_path / "s", {f"{n}": [line] for n in range(30)})
    error = refused(root)
    assert error.code == "bad-label-line"
    assert "30 of 30 files" in error.message
    assert told in error.hint
    assert "remove it." not in error.hint
    assert len(error.got) == 12  # the line, ten files, the number of the others


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ('img/a.png\t[{"transcription": "A", "points": [[1, 2]]}]', "PaddleOCR"),
        ("img/a.png\t" + '[{"transcription": "A", "points": [[1, 2]]}]' * 200, "PaddleOCR"),
        ('"img/a.png"\t"gt/gt_a.txt"', "quotes"),
        ("'img/a.png' 'gt/gt_a.txt'", "quotes"),
        ("img\\a.png\tgt\\gt_a.txt", "folders by /"),
        ("img/a.png\tgt/gt_a.txt\t1", "3 columns"),
        ("gt/gt_a.txt\timg/a.png", "second"),
        ("img/a.png,gt/gt_a.txt", "Put a tab"),
        (f"{QUADS[0]},word", "label file: give the folder"),
        ("img/a.png\t" + "x" * 5000, "does not exist"),
        ("img/a.png\tgt/a\0.txt", "not UTF-8"),
    ],
)
def test_a_datalist_of_another_kind_says_what_it_is(tmp_path, line, told):
    root = split_of(tmp_path / "s", {"a": lines_of("word")})
    (root / "list.txt").write_text(f"{line}\n{line}\n")
    error = refused(root / "list.txt")
    assert told in f"{error.message} {error.hint}"
    assert any(told in doubt for doubt in doubts(root / "list.txt"))


def test_work_on_labels_is_bounded(tmp_path):
    angles = np.linspace(0, 2 * np.pi, 10_000, endpoint=False)
    circle = np.round(4000 + 3900 * np.stack([np.cos(angles), np.sin(angles)], 1), 4)
    line = ",".join(f"{v:g}" for v in circle.ravel()) + ",round"
    root = split_of(tmp_path / "s", {"a": [line]}, size=(8000, 20))
    (root / "img" / "a.png").write_bytes(b"")  # its size is not asked here
    start = time.perf_counter()
    found, seen = seen_in(root)
    assert len(found[0].polygons[0]) == 10_000
    assert not seen
    more = ",".join(["1,2"] * 10_001) + ",long"
    error = refused(split_of(tmp_path / "t", {"a": [more]}))
    assert error.code == "too-many-points"
    assert "gt_a.txt:1" in error.message
    entry = "x: [[1 2 3 4]], y: [[1 2 3 4]], transcriptions: ['" + "transcriptions: ['" * 20_000
    assert refused(split_of(tmp_path / "u", {"a": [entry]})).code == "bad-label-line"
    entries = ["x: [[1 20 20 1]], y: [[1 1 9 9]], transcriptions: ['a']"] * 5_000
    assert len(seen_in(split_of(tmp_path / "v", {"a": entries}))[0][0].texts) == 5_000
    assert time.perf_counter() - start < 20


def test_a_total_text_entry_is_read_whole_or_refused(tmp_path):
    entry = "x: [[1 20 20 1]], y: [[1 1 9 9]], ornt: [u'h'], transcriptions: [u'a']"
    found, _ = seen_in(split_of(tmp_path / "s", {"a": [f"  {entry}", entry]}))
    assert found[0].texts == ["a", "a"]
    found, _ = seen_in(split_of(tmp_path / "r", {"a": [f"\u2028{entry}"]}))
    assert found[0].texts == ["a"]
    error = refused(split_of(tmp_path / "t", {"a": [entry, f"{QUADS[0]},word"]}))
    assert error.code == "bad-label-line"

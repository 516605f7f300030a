"""Label files: what may stand in a line, and how a bad one is refused."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ocdnet.data.annotations import index_dataset
from ocdnet.errors import DataError, Exit
from ocdnet.findings import collecting

TAGS = ["###", "*"]
QUAD = "10,20,110,20,110,50,10,50"


def parse(tmp_path, content):
    """The regions of a set of one label file."""
    path = tmp_path / "gt.txt"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    (tmp_path / "image.jpg").touch()
    (tmp_path / "list.txt").write_text("image.jpg\tgt.txt\n")
    (annotation,) = index_dataset([tmp_path / "list.txt"], TAGS)
    return annotation.polygons, annotation.texts, annotation.ignore


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


def as_line(points, text):
    return ",".join(f"{v:g}" for v in points.ravel()) + f",{text}"


@pytest.mark.parametrize("text", ["GARDEN", "", "###", "2014", "12,30", "1,000,000", "a,b,3"])
@pytest.mark.parametrize("n", [3, 5, 7, 10])
def test_polygons_of_many_points(tmp_path, n, text):
    points = curved(n)
    lines = [f"{QUAD},plain", as_line(points, text), as_line(points, "w"), as_line(points, "1 a")]
    polygons, texts, _ = parse(tmp_path, "\n".join([*lines, as_line(points, "A, B")]))
    assert [len(p) for p in polygons] == [4, *[2 * n] * 4]
    np.testing.assert_array_equal(polygons[1], points)
    assert texts == ["plain", text, "w", "1 a", "A, B"]


@settings(max_examples=60, deadline=None)
@given(
    n=st.integers(3, 12),
    width=st.floats(1, 900),
    aspect=st.floats(0.1, 1),
    text=st.sampled_from(["", "word", "###", "WORD, TWO", "x1"]),
    spread=st.sampled_from([1, 1e-3, 30]),
)
def test_any_outline_keeps_its_points(tmp_path_factory, n, width, aspect, text, spread):
    turn = np.array([[0.8, 0.6], [-0.6, 0.8]])
    points = np.round(curved(n, width, width * aspect, 0, 0) @ turn + 800, 1)
    points[:4] = points[0] + (points[:4] - points[0]) * spread  # dense or far apart
    points = np.round(points, 4)
    polygons, texts, _ = parse(tmp_path_factory.mktemp("gt"), as_line(points, text))
    np.testing.assert_allclose(polygons[0], points, rtol=1e-6)
    assert texts == [text]


def test_most_lines_with_text_say_whether_a_set_has_more_points(tmp_path):
    price = "1,2,30,2,30,12,1,12,5,6,EUR"
    few = [f"{QUAD},word"] * 2 + [price]
    many = [f"{QUAD},word"] * 2 + [price] * 3
    assert {len(p) for p in parse(tmp_path, "\n".join(few))[0]} == {4}
    assert [len(p) for p in parse(tmp_path, "\n".join(many))[0]] == [4, 4, 5, 5, 5]


def test_our_own_outlines_are_read_back(tmp_path):
    points = curved(6)
    lines = [as_line(points, "0.987654"), as_line(points[:5], "0.612345"), f"{QUAD},0.500000"]
    polygons, _, _ = parse(tmp_path, "\n".join([*lines, *[f"{QUAD},word"] * 9]))
    assert [len(p) for p in polygons[:4]] == [12, 5, 4, 4]


def test_numbers_that_could_be_points_are_told(tmp_path):
    with collecting() as seen:
        parse(tmp_path, f"{QUAD},1,888\n{QUAD},word\n{QUAD},100,000\n{QUAD},12,5,3")
    (row,) = seen.rows()
    assert (row.code, row.count) == ("numbers-as-text", 2)
    assert row.files == [f"{tmp_path / 'gt.txt'}:{n}" for n in (1, 4)]
    assert row.key == "dataset.validate_dataset.data_path"


@pytest.mark.parametrize("corners", ["0,0,90,0,0,30,90,30", "5,0,90,0,0,30,90,38"])
def test_corners_that_cross_are_put_in_order_and_counted(tmp_path, corners):
    x = [float(v) for v in corners.split(",")]
    round_it = [x[0:2], x[2:4], x[6:8], x[4:6]]
    with collecting() as seen:
        polygons, _, ignore = parse(tmp_path, f"{corners},a\n{QUAD},b\n{corners},c")
    assert polygons[0].tolist() == polygons[2].tolist() == round_it
    assert not ignore.any()
    (row,) = seen.rows()
    assert (row.code, row.count, row.files) == ("mended-corners", 2, [str(tmp_path / "gt.txt")])


def test_an_outline_that_cannot_be_put_in_order_is_named(tmp_path):
    star = "50,0,80,90,0,35,100,35,20,90,star"
    touching = "0,0,100,0,100,50,50,0,touches"
    concave = "0,0,100,0,30,30,0,100,fine"
    with collecting() as seen:
        polygons, _, ignore = parse(tmp_path, "\n".join([star] * 4 + [touching, concave]))
    assert [len(p) for p in polygons] == [5] * 4 + [4, 4]
    assert not ignore.any()
    (row,) = seen.rows()
    assert (row.code, row.count) == ("crossing-outline", 5)
    assert row.files[-1] == f"{tmp_path / 'gt.txt'}:5"


def test_winding_is_kept_and_flat_ones_are_ignored(tmp_path):
    polygons, _, ignore = parse(
        tmp_path, "0,0,5,5,9,9,3,3,flat\n0,50,10,50,10,0,0,0,counter\n0,0,0,0,0,0,0,0,zero\n"
    )
    assert polygons[1].tolist() == [[0, 50], [10, 50], [10, 0], [0, 0]]
    assert ignore.tolist() == [True, False, True]


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


def test_uber_text(tmp_path):
    polygons, texts, ignore = parse(
        tmp_path,
        "10 20 60 15 110 20 110 50 10 50 10 20\tGRAND HOTEL\tBusinessName\r\n"
        "0 0 9.5 0 9 5 0 5\t*\tNone\n"
        "0 0 9 0 9 5 0 5\t\n",
    )
    # The outline is closed: its last point is the first one again.
    assert polygons[0].tolist() == [[10, 20], [60, 15], [110, 20], [110, 50], [10, 50]]
    assert polygons[1].tolist() == [[0, 0], [9.5, 0], [9, 5], [0, 5]]
    assert texts == ["GRAND HOTEL", "*", ""]
    assert ignore.tolist() == [False, True, False]


def test_total_text(tmp_path):
    polygons, texts, ignore = parse(
        tmp_path,
        "x: [[206 251 386 542 620 646]], y: [[633 811 931 946 926 976]], ornt: [u'c'], "
        "transcriptions: [u'PETROSAINS']\n"
        "x: [[ 1 20\n  20  1]], y: [[1 1\n 9 9]], ornt: [u'#'], transcriptions: [u'#']\n"
        'x: [[0 50 50 0]], y: [[0 0 9 9]], ornt: ["h"], transcriptions: ["it\'s, [x]"]',
    )
    assert [len(p) for p in polygons] == [6, 4, 4]
    assert polygons[0][:2].tolist() == [[206, 633], [251, 811]]
    assert polygons[1].tolist() == [[1, 1], [20, 1], [20, 9], [1, 9]]
    assert texts == ["PETROSAINS", "###", "it's, [x]"]
    assert ignore.tolist() == [False, True, False]


@pytest.mark.parametrize(
    ("content", "line"),
    [
        ("0 0 9 0 9 5 0 5\tok\n0 0 9 0 9 5 0\todd\n", 2),
        ("0 0 9 0 9 5 0 0\ta triangle, closed\n", 1),
        ("0 0 9 0 9 5 0 nan\tx\n", 1),
        ("0 0 9 0 9 5 0 1e30\tx\n", 1),
        ("x: [[0 9 9 0]], y: [[0 0 9\n 9]], transcriptions: [u'a']\nx: [[0 9]], y: [[0 0]]\n", 3),
        ("x: [[0 9 9 0]], y: [[0 0 9]], ornt: [u'h'], transcriptions: [u'a']\n", 1),
        ("x: 1\n", 1),
    ],
)
def test_a_bad_line_of_another_style_is_named(tmp_path, content, line):
    error = refused(lambda: parse(tmp_path, content))
    assert error.code == "bad-label-line"
    assert f"{tmp_path / 'gt.txt'}:{line}: " in error.message


@settings(max_examples=200, deadline=None)
@given(st.text(alphabet="0123456789.,-+eE \t\n[]x:y'#nainf\r\ufeff", max_size=120))
def test_any_text_is_read_or_refused(tmp_path_factory, text):
    folder = tmp_path_factory.mktemp("gt")
    try:
        polygons, texts, ignore = parse(folder, text)
    except DataError as error:
        assert error.code == "bad-label-line"
    else:
        assert len(polygons) == len(texts) == len(ignore)
        assert all(len(p) >= 4 and np.isfinite(p).all() for p in polygons)

"""Labels of other tools: each format read, every set written and read back, odd input named."""

import json
import math
import os
import re
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from ocdnet.data.annotations import index_dataset
from ocdnet.data.formats import coco, labelme, pages, tools
from ocdnet.data.formats.convert import Conversion, convert
from ocdnet.data.formats.labelled import Shape, text_of
from ocdnet.data.formats.left_out import LeftOut
from ocdnet.data.formats.writing import Picture, Writers
from ocdnet.errors import DataError, EnvironmentFault, UsageError
from ocdnet.findings import collecting

cv2 = pytest.importorskip("cv2")
TAGS = ["*", "###"]
CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]+")
PNG = cv2.imencode(".png", np.zeros((100, 100, 3), np.uint8))[1].tobytes()
QUAD = [1, 2, 50, 2, 50, 20, 1, 20]
SIX = [1, 2, 20, 4, 40, 2, 40, 12, 20, 14, 1, 12]
PAIRS = [QUAD[at : at + 2] for at in range(0, 8, 2)]
SIX_PAIRS = [SIX[at : at + 2] for at in range(0, 12, 2)]


def picture(path, width=100, height=60):
    path.parent.mkdir(parents=True, exist_ok=True)
    assert cv2.imwrite(str(path), np.zeros((height, width, 3), np.uint8))
    return path


def write(path, content):
    path.parent.mkdir(parents=True, exist_ok=True)
    text = content if isinstance(content, str) else json.dumps(content)
    path.write_text(text, encoding="utf-8")


def converted(source, tmp_path, form="auto", to="icdar2015", **more):
    return convert(Conversion(source, form, to, tmp_path / "out", **more))


def rows(data):
    """Of each picture: its name, and outline, text and ignored of its regions."""
    return {
        row.image.name: [
            ([round(float(v), 2) for v in polygon.ravel()], text, bool(ignored))
            for polygon, text, ignored in zip(row.polygons, row.texts, row.ignore, strict=True)
        ]
        for row in index_dataset([data], TAGS)
    }


def labelme_of(*shapes, **more):
    return {"shapes": list(shapes), "imagePath": "a.png", "imageData": None, **more}


LABELME = labelme_of(
    {"label": "Hi, you", "points": SIX_PAIRS, "shape_type": "polygon", "flags": {}},
    {"label": "text", "points": [PAIRS[2], PAIRS[0]], "shape_type": "rectangle"},
    {"label": "x", "points": PAIRS, "flags": {"difficult": True}},
    {"label": "text", "description": "words", "points": PAIRS},
    {"label": "x", "points": [[1, 1]], "shape_type": "point"},
    {"label": "x", "points": [[1], [2]], "shape_type": "rectangle"},
)
COCO = {
    "images": [{"id": 7, "file_name": "sub/a.png", "width": 100, "height": 60}],
    "categories": [{"id": 1, "name": "sign"}],
    "annotations": [
        {"id": 1, "image_id": 7, "category_id": 1, "segmentation": [SIX, QUAD], "text": "two"},
        {"id": 2, "image_id": 7, "category_id": 1, "bbox": [1, 2, 49, 18], "iscrowd": 1},
        {"id": 3, "image_id": 7, "category_id": 1, "segmentation": [[1, 2, 3, 4]]},
    ],
}
COCO_TEXT = {
    "imgs": {"7": {"id": 7, "file_name": "a.png", "set": "train", "width": 100, "height": 60}},
    "anns": {
        "1": {"id": 1, "image_id": 7, "mask": QUAD, "utf8_string": "Hi", "legibility": "legible"},
        "2": {"id": 2, "image_id": 7, "bbox": [1, 2, 49, 18], "legibility": "illegible"},
    },
    "imgToAnns": {"7": [1, 2]},
}
PADDLE = "dir/a.png\t" + json.dumps(
    [
        {"transcription": "Hi\there", "points": PAIRS, "difficult": False},
        {"transcription": "###", "points": SIX_PAIRS},
        {"transcription": "x", "points": [[1, 2], ["NaN", 3], [4, 5]]},
    ]
)
DOCTR = {"a.png": {"img_dimensions": [60, 100], "img_hash": "0", "polygons": [PAIRS, SIX_PAIRS]}}
MMOCR = {
    "metainfo": {"dataset_type": "TextDetDataset"},
    "data_list": [
        {
            "img_path": "imgs/a.png",
            "instances": [
                {"polygon": SIX, "bbox": [1, 2, 40, 14], "ignore": False, "text": "Hi"},
                {"bbox": [1, 2, 50, 20], "ignore": True},
            ],
        }
    ],
}
CVAT = """<?xml version="1.0" encoding="utf-8"?><annotations><version>1.1</version>
<meta><task><labels/></task></meta><image id="0" name="d/a.png" width="100" height="60">
<polygon label="text" points="1,2;20,4;40,2;40,12;20,14;1,12" occluded="0">
<attribute name="transcription">Hi</attribute></polygon>
<box label="text" xtl="16.5" ytl="-13.5" xbr="34.5" ybr="35.5" rotation="90">
<attribute name="ignore">true</attribute></box>
<polyline label="text" points="1,2;20,4"/></image></annotations>"""
VIA = {
    "a.png123": {
        "filename": "a.png",
        "size": 123,
        "regions": [
            {
                "shape_attributes": {
                    "name": "polygon",
                    "all_points_x": SIX[0::2],
                    "all_points_y": SIX[1::2],
                },
                "region_attributes": {"text": "Hi"},
            },
            {
                "shape_attributes": {"name": "rect", "x": 1, "y": 2, "width": 49, "height": 18},
                "region_attributes": {"illegible": {"yes": True}},
            },
            {"shape_attributes": {"name": "circle", "cx": 1, "cy": 2, "r": 3}},
        ],
    }
}
VIA_CSV = (
    "#filename,file_size,file_attributes,region_count,region_id,region_shape_attributes,"
    'region_attributes\na.png,1,"{}",1,0,"{""name"":""rect"",""x"":1,""y"":2,""width"":49,'
    '""height"":18}","{""text"":""a, b""}"\n'
)
VOC = """<annotation><filename>a.jpg</filename><size><width>100</width><height>60</height></size>
<object><name>text</name><difficult>1</difficult><bndbox><xmin>1</xmin><ymin>2</ymin>
<xmax>50</xmax><ymax>20</ymax></bndbox></object><object><name>text</name><difficult>0</difficult>
<robndbox><cx>25.5</cx><cy>11</cy><w>49</w><h>18</h><angle>3.14159265</angle></robndbox></object>
</annotation>"""
YOLO = "0 .01 .2 .5 .2 .5 .4 .01 .4\n0 .255 .3 .49 .2\n"
TURNED = [50, 20, 1, 20, 1, 2, 50, 2]
CASES = {
    "labelme": (
        {"a.json": LABELME},
        [(SIX, "Hi, you", False), (QUAD, "", False), (QUAD, "###", True), (QUAD, "words", False)],
        {"other-shape": 1, "bad-region": 1},
    ),
    "coco": (
        {"annotations/instances_train.json": COCO},
        [(SIX, "two", False), (QUAD, "two", False), (QUAD, "###", True)],
        {"bad-region": 1},
    ),
    "coco-text": ({"c.json": COCO_TEXT}, [(QUAD, "Hi", False), (QUAD, "###", True)], {}),
    "paddleocr": (
        {"Label.txt": PADDLE},
        [(QUAD, "Hi here", False), (SIX, "###", True)],
        {"bad-region": 1},
    ),
    "doctr": ({"labels.json": DOCTR}, [(QUAD, "", False), (SIX, "", False)], {}),
    "mmocr": ({"train.json": MMOCR}, [(SIX, "Hi", False), (QUAD, "###", True)], {}),
    "cvat": (
        {"annotations.xml": CVAT},
        [(SIX, "Hi", False), ([50, 2, 50, 20, 1, 20, 1, 2], "###", True)],
        {"other-shape": 1},
    ),
    "via": ({"via.json": VIA}, [(SIX, "Hi", False), (QUAD, "###", True)], {"other-shape": 1}),
    "via ": ({"via.csv": VIA_CSV}, [(QUAD, "a, b", False)], {}),
    "voc": ({"xml/a.xml": VOC}, [(QUAD, "###", True), (TURNED, "", False)], {}),
    "yolo-obb": (
        {"labels/a.txt": YOLO, "classes.txt": "text\n"},
        [
            ([1, 12, 50, 12, 50, 24, 1, 24], "", False),
            ([1, 12, 50, 12, 50, 24, 1, 24], "", False),
        ],
        {"other-file": 1},
    ),
    "total-text": (
        {
            "gt/poly_gt_a.txt": f"x: [[{' '.join(map(str, SIX[0::2]))}]], "
            f"y: [[{' '.join(map(str, SIX[1::2]))}]], ornt: [u'c'], transcriptions: [u'Hi']\n"
        },
        [(SIX, "Hi", False)],
        {},
    ),
    "uber-text": ({"gt/truth_a.txt": "1 2 50 2 50 20 1 20 1 2\tHi\n"}, [(QUAD, "Hi", False)], {}),
    "mlt": (
        {"gt_a.txt": "1,2,50,2,50,20,1,20,Latin,Hi\n1,2,50,2,50,20,1,20,Latin,###\n"},
        [(QUAD, "Hi", False), (QUAD, "###", True)],
        {},
    ),
    "rctw": (
        {"a.txt": '1,2,50,2,50,20,1,20,0,"Hi"\n1,2,50,2,50,20,1,20,1,"No"\n'},
        [(QUAD, "Hi", False), (QUAD, "###", True)],
        {},
    ),
    "icdar2015": ({"a.txt": "1,2,50,2,50,20,1,20,12,50\n"}, [(QUAD, "12,50", False)], {}),
    "datalist": (
        {
            "list.txt": "img/a.png\tgt/b.txt\nno.png\tgt/b.txt\n",
            "gt/b.txt": "1,2,50,2,50,20,1,20,x",
        },
        [(QUAD, "x", False)],
        {"bad-picture-entry": 1},
    ),
}


@pytest.mark.parametrize("form", CASES)
def test_each_format_is_recognised_and_read(tmp_path, form):
    files, expected, left_out = CASES[form]
    source = tmp_path / "source"
    png = picture(source / "img" / "a.png").read_bytes()
    for name, content in files.items():
        write(source / name, content)
    given_path = source / "list.txt" if form == "datalist" else source
    done = converted(given_path, tmp_path)
    assert (done["from"], done["images"], done["left_out"]) == (form.strip(), 1, left_out)
    ignored = sum(region[2] for region in expected)
    assert (done["regions"], done["ignored"]) == (len(expected), ignored)
    assert sum(done["shapes"].values()) == len(expected)
    folder = Path(done["data"][0])
    assert rows(folder)["a.png"] == [(list(map(float, v)), t, i) for v, t, i in expected]
    assert (folder / "img" / "a.png").read_bytes() == png
    listing = tmp_path / "out" / "left_out.txt"
    assert listing.is_file() == bool(left_out)
    assert not left_out or len(listing.read_text().splitlines()) == sum(left_out.values())


@st.composite
def outlines(draw):
    """A simple outline of four points or more, round a point."""
    count = draw(st.integers(4, 9))
    turn = draw(st.floats(0, 6))
    radii = draw(st.lists(st.floats(8, 40), min_size=count, max_size=count))
    return [
        value
        for at, radius in enumerate(radii)
        for value in (
            50 + radius * math.cos(turn + at * math.tau / count),
            50 + radius * math.sin(turn + at * math.tau / count),
        )
    ]


HARD = ["12,50", "1,a", '0,"T"', "Latin,###", "###", '"###"', "* ", "a\tb", "x\r\ny", "1,2,3,4,5,6"]
TEXTS = st.one_of(st.text(max_size=8), st.sampled_from(HARD), st.text("01,#*\"'. x", max_size=8))
SHAPES = st.lists(st.builds(Shape, outlines(), TEXTS.map(text_of), st.booleans()), max_size=4)


def read_back(to, root):
    if to in {"icdar2015", "datalist"}:
        (row,) = index_dataset([root / "datalist.txt" if to == "datalist" else root], TAGS)
        return [
            Shape([float(v) for v in polygon.ravel()], text, bool(ignore))
            for polygon, text, ignore in zip(row.polygons, row.texts, row.ignore, strict=True)
        ]
    with (root / "log").open("w") as log:
        if to == "coco":
            read = coco.read(root / "annotations" / "instances_default.json", LeftOut(log))
        else:
            read = pages.read_paddleocr(root / "Label.txt", LeftOut(log))
        (one,) = read
    return one.shapes


@pytest.mark.parametrize("to", ["icdar2015", "datalist", "coco", "paddleocr"])
@settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@example([Shape(QUAD, "Latin,###", False)])
@example([Shape(QUAD, "12,50", False)])
@given(shapes=SHAPES)
def test_what_is_written_is_read_back(tmp_path_factory, to, shapes):
    root = tmp_path_factory.mktemp("set")
    (root / "a.png").write_bytes(PNG)
    writers = Writers(to, root, link=False)
    writers.add("", Picture(str(root / "a.png"), (100, 100), shapes))
    writers.close()
    back = read_back(to, root)
    assert [one.ignore for one in back] == [one.ignore for one in shapes]
    for one, other in zip(shapes, back, strict=True):
        assert len(one.values) == len(other.values)
        assert max(abs(a - b) for a, b in zip(one.values, other.values, strict=True)) < 0.01
        lines = to in {"icdar2015", "datalist"}
        text = CONTROL.sub(" ", one.text).strip() if lines else one.text
        if not one.ignore and text.strip().strip("\"'`").strip() not in TAGS:
            assert other.text == text


ODD = st.one_of(
    st.sampled_from(
        [None, True, -1, 10**400, math.nan, "", "a.png", [], {}, [[]], [{}], [[1], [2]]]
    ),
    st.sampled_from(["rectangle", "rect", "circle", {"x": 1}, [1, "2"], {"a": {}}, "9" * 400]),
    st.sampled_from([[[1, 2], [3, 4]], [1, 2, 3, 4], {"size": [2, 2], "counts": [1, 3]}, ["rect"]]),
)
JSON = [
    (labelme.read, LABELME),
    (coco.read, COCO),
    (coco.read_text, COCO_TEXT),
    (pages.read_doctr, DOCTR),
    (pages.read_mmocr, MMOCR),
    (tools.read_via, VIA),
]
XML = [(tools.read_cvat, CVAT), (tools.read_voc, VOC)]


def nodes(value):
    """Where each value within a JSON value is: the list or object, and the key."""
    inner = value.items() if isinstance(value, dict) else enumerate(value)
    for key, item in inner:
        yield value, key
        if isinstance(item, dict | list):
            yield from nodes(item)


def read_all(read, path):
    with Path(os.devnull).open("w") as log, collecting():
        try:
            for one in read(path, LeftOut(log)):
                assert all(len(shape.values) >= 8 for shape in one.shapes)
        except (DataError, EnvironmentFault) as error:
            assert str(path) in error.message or "pycocotools" in error.message


@settings(max_examples=400, deadline=None)
@given(st.sampled_from(JSON), st.integers(0, 10**6), ODD, st.integers(0, 10**6), ODD)
def test_no_json_breaks_a_reader(tmp_path_factory, case, at, odd, other, second):
    path = tmp_path_factory.getbasetemp() / "odd.json"
    read, document = case[0], json.loads(json.dumps(case[1]))
    for place, value in ((at, odd), (other, second)):
        places = list(nodes(document))
        if places:
            holder, key = places[place % len(places)]
            holder[key] = json.loads(json.dumps(value))
    path.write_text(json.dumps(document))
    read_all(read, path)


@settings(max_examples=150, deadline=None)
@given(st.sampled_from(XML), st.integers(0, 10**6), st.sampled_from(["", "nan", "x", "1e999", "-"]))
def test_no_xml_breaks_a_reader(tmp_path_factory, case, at, odd):
    path = tmp_path_factory.getbasetemp() / "odd.xml"
    found = list(re.finditer(r"\w[\w.,;]*", case[1]))
    one = found[at % len(found)]
    path.write_text(case[1][: one.start()] + odd + case[1][one.end() :])
    read_all(case[0], path)


def test_masks_keep_their_outline(tmp_path, monkeypatch):
    pytest.importorskip("pycocotools")
    from pycocotools import mask

    drawn = np.zeros((60, 100), np.uint8, order="F")
    drawn[10:30, 20:70] = 1
    packed = mask.encode(drawn)
    flat = drawn.ravel(order="F")
    changes = np.flatnonzero(np.diff(flat)) + 1
    counts = np.diff([0, *changes, flat.size]).tolist()
    for encoded in (packed["counts"].decode(), counts):
        document = COCO | {
            "annotations": [
                {"id": 1, "image_id": 7, "segmentation": {"size": [60, 100], "counts": encoded}}
            ]
        }
        write(tmp_path / "c.json", document)
        with Path(os.devnull).open("w") as log:
            (one,) = coco.read(tmp_path / "c.json", LeftOut(log))
        (shape,) = one.shapes
        found = np.array(shape.values).reshape(-1, 2)
        assert np.abs(found.min(0) - (20, 10)).max() <= 0.5
        assert np.abs(found.max(0) - (70, 30)).max() <= 0.5
    monkeypatch.setitem(sys.modules, "pycocotools", None)
    picture(tmp_path / "a.png")
    with pytest.raises(EnvironmentFault, match="pycocotools") as caught:
        converted(tmp_path, tmp_path)
    assert "ocdnet[coco]" in caught.value.hint
    assert not (tmp_path / "out").exists()


def test_names_in_labels_never_lead_out(tmp_path):
    secret = picture(tmp_path / "secret.png")
    source = tmp_path / "source"
    picture(source / "a.png")
    for at, name in enumerate(["../secret.png", str(secret), "..\\..\\secret.png", "/etc/passwd"]):
        write(source / f"{at}.json", labelme_of(LABELME["shapes"][0], imagePath=name))
    write(source / "a.json", LABELME)
    done = converted(source, tmp_path)
    assert done["left_out"]["missing-picture"] == 4
    assert [path.name for path in (tmp_path / "out" / "img").iterdir()] == ["a.png"]


BOMB = '<!DOCTYPE a [<!ENTITY b "x"><!ENTITY c "&b;&b;">]><annotation><filename>&c;</filename>'
HOSTILE = {
    "bomb.xml": (BOMB + "</annotation>", "DTD"),
    "deep.xml": ("<annotation>" + "<a>" * 40 + "</a>" * 40 + "</annotation>", "deep"),
    "cut.xml": ("<annotation><object>", "XML"),
    "deep.json": ('{"shapes": ' + "[" * 200_000, "deep"),
    "cut.json": ('{"shapes": [', "JSON"),
    "other.json": ('{"shapes": 5}', "shapes"),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_and_broken_files_are_named_and_the_others_read(tmp_path, name):
    source, (content, why) = tmp_path / "source", HOSTILE[name]
    picture(source / "a.png")
    form = {"xml": ("voc", "a.xml", VOC), "json": ("labelme", "a.json", LABELME)}
    form, good, whole = form[name.rpartition(".")[2]]
    write(source / name, content)
    with pytest.raises(DataError, match="Nothing could be read") as caught:
        converted(source, tmp_path, form)
    assert any(name in line and why in line for line in caught.value.got)
    assert not (tmp_path / "out").exists()
    write(source / good, whole)
    done = converted(source, tmp_path, form)
    assert (done["images"], done["left_out"]["bad-label-file"]) == (1, 1)


def test_mixed_and_unknown_sources_are_refused_by_name(tmp_path):
    source = tmp_path / "source"
    picture(source / "a.png")
    with pytest.raises(DataError) as caught:
        converted(source, tmp_path)
    assert caught.value.code == "unknown-format"
    write(source / "a.json", LABELME)
    write(source / "a.xml", VOC)
    with pytest.raises(DataError) as caught:
        converted(source, tmp_path)
    assert caught.value.code == "mixed-formats"
    assert {"a.json", "a.xml"} <= {line.rpartition("/")[2] for line in caught.value.got}
    assert converted(source, tmp_path, "voc")["regions"] == 2


def test_labels_that_hold_nothing_are_doubted(tmp_path):
    source = tmp_path / "source"
    picture(source / "a.png")
    write(source / "a.xml", "<annotation/>")
    done = converted(source, tmp_path)
    assert [row["code"] for row in done["warnings"]] == ["no-text"]


def test_a_folder_of_the_users_is_never_written_over(tmp_path):
    source = tmp_path / "source"
    picture(source / "a.png")
    write(source / "a.json", LABELME)
    write(tmp_path / "out" / "mine.txt", "mine")
    with pytest.raises(UsageError):
        converted(source, tmp_path)
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["mine.txt"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out", "source"]


@pytest.mark.parametrize("orientation", [1, 3, 5, 6, 7, 8])
def test_labels_of_the_stored_pixels_turn_with_their_picture(tmp_path, orientation):
    pillow = pytest.importorskip("PIL.Image")
    source = tmp_path / "source"
    source.mkdir()
    stored = np.zeros((60, 100, 3), np.uint8)
    stored[10:21, 20:51] = 255
    exif = pillow.Exif()
    exif[0x0112] = orientation
    pillow.fromarray(stored).save(source / "a.jpg", exif=exif, quality=95)
    shown = cv2.imread(str(source / "a.jpg"), cv2.IMREAD_GRAYSCALE)
    turned = shown.shape != (60, 100)
    box = {"label": "text", "points": [[20, 10], [51, 21]], "shape_type": "rectangle"}
    size = {"imagePath": "a.jpg", "imageWidth": 100, "imageHeight": 60}
    write(source / "a.json", labelme_of(box, **size))
    done = converted(source, tmp_path)
    assert [row["code"] for row in done["warnings"]] == (["turned-labels"] if turned else [])
    assert (tmp_path / "out/img/a.jpg").read_bytes() == (source / "a.jpg").read_bytes()
    if orientation != 3:  # of equal size upside down: no size tells
        ((values, _, _),) = rows(tmp_path / "out")["a.jpg"]
        ys, xs = np.nonzero(shown > 128)
        ends = [min(values[0::2]), min(values[1::2]), max(values[0::2]), max(values[1::2])]
        assert (
            np.abs(np.subtract(ends, [xs.min(), ys.min(), xs.max() + 1, ys.max() + 1])).max() <= 1
        )


def test_splits_stay_apart_and_pictures_of_one_name_find_their_labels(tmp_path):
    source = tmp_path / "source"
    for split, shift in (("train", 0), ("val", 5)):
        picture(source / "images" / split / "a.png")
        y = 0.2 + shift / 60
        write(source / "labels" / split / "a.txt", f"0 .1 {y} .5 {y} .5 .5 .1 .5")
    picture(source / "images" / "val" / "alone.png")
    done = converted(source, tmp_path)
    assert done["splits"] == {"train": 1, "val": 1}
    assert done["left_out"] == {"no-labels": 1}
    tops = [rows(folder)["a.png"][0][0][1] for folder in done["data"]]
    assert tops == [12, 17]


@pytest.mark.parametrize("to", ["icdar2015", "datalist", "coco", "paddleocr"])
def test_pictures_are_linked_copied_or_left_where_they_are(tmp_path, to):
    source = tmp_path / "source"
    for name in ("x/a.png", "y/a.png", "y/A.PNG"):
        picture(source / name)
        write(source / f"{name}.json", labelme_of(LABELME["shapes"][0], imagePath=name))
    done = converted(source, tmp_path, to=to, link=True)
    assert done["images"] == 3
    made = [path for path in (tmp_path / "out").rglob("*") if path.suffix.lower() == ".png"]
    assert len({path.stem.casefold() for path in made}) == (0 if to == "datalist" else 3)
    assert all(path.stat().st_nlink == 2 for path in made)
    back = convert(Conversion(Path(done["data"][0]), "auto", "icdar2015", tmp_path / "back"))
    assert (back["images"], back["regions"], back["left_out"]) == (3, 3, {})

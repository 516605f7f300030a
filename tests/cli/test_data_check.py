"""`ocdnet data check`: what a run would say of a set's labels, before there is one."""

import json
import re
from pathlib import Path

import cv2
import jsonschema
import numpy as np
import pytest
from click.testing import CliRunner

import support
from ocdnet.cli.main import cli
from ocdnet.data.annotations import index_dataset


def check(*arguments):
    return CliRunner().invoke(cli, ["data", "check", *map(str, arguments)])


def test_a_sound_set_has_no_warnings(scenes):
    done = check(scenes / "train", scenes / "test")
    rows = json.loads(done.stdout)["data"]
    assert [(row["images"], row["warnings"]) for row in rows] == [(8, []), (4, [])]
    assert all(row["regions"] > row["ignored"] for row in rows)


def test_each_doubt_is_told_with_number_and_file(scenes, tmp_path):
    copy = support.copied(scenes, tmp_path / "copy") / "test"
    label = sorted((copy / "gt").iterdir())[0]
    label.write_text("0.1,0.1,0.9,0.1,0.9,0.2,0.1,0.2,word\n" * 2)
    (row,) = json.loads(check(copy).stdout)["data"]
    (warning,) = row["warnings"]
    assert (warning["code"], warning["count"]) == ("relative-label", 2)
    assert warning["files"] == [str(label)]


def test_other_ignore_tags(scenes):
    (plain,) = json.loads(check(scenes / "test").stdout)["data"]
    lines = [line for path in (scenes / "test" / "gt").iterdir() for line in path.open()]
    words = {line.rstrip("\n").split(",", 8)[8] for line in lines} - {"*", "###"}
    (row,) = json.loads(check(scenes / "test", "--ignore-tag", min(words)).stdout)["data"]
    cared = sum(line.rstrip("\n").split(",", 8)[8] != min(words) for line in lines)
    assert row["ignored"] == len(lines) - cared > 0
    assert plain["ignored"] == sum(line.rstrip("\n").endswith((",*", ",###")) for line in lines)


def test_what_cannot_be_read_is_exit_4(tmp_path):
    done = check(tmp_path)
    assert type(done.exception).__name__ == "DataError"
    assert done.exception.exit_code == 4


def document(*arguments):
    return json.loads(check(*arguments).stdout)


def spoilt(scenes, tmp_path, name, content):
    """A copy of the test scenes of which one file is other; the copy, and that file."""
    copy = support.copied(scenes, tmp_path / "copy") / "test"
    file = copy / name
    file.write_bytes(content(file.read_bytes()))
    return copy, file


def test_what_stops_a_run_is_told_at_once_and_all_of_it(scenes, tmp_path):
    copy, picture = spoilt(scenes, tmp_path, "img/img_1.png", lambda data: data[: len(data) // 2])
    (copy / "gt/gt_img_2.txt").unlink()
    (copy / "gt/gt_img_3.txt").write_text("0 .5 .5 .1 .1\n")
    done = check(copy)
    told = json.loads(done.stdout)
    assert (done.exit_code, told["verdict"]) == (4, "cannot be used")
    (row,) = told["data"]
    codes = {error["code"] for error in row["errors"]}
    assert codes == {"missing-label", "bad-label-line", "unreadable-image"}
    assert any(str(picture) in reason for reason in told["reasons"])
    assert row["images"] == 2  # whose labels could be read


def test_quick_reads_no_pixels(scenes, tmp_path):
    copy, _ = spoilt(scenes, tmp_path, "img/img_1.png", lambda data: data[: len(data) // 2])
    told = document(copy, "--quick")
    assert (told["verdict"], told["shared_images"]) == ("good", None)
    assert check(copy, "--quick", "--fix", tmp_path / "out").exit_code != 0


def test_a_picture_of_another_path_is_found_again(scenes, tmp_path):
    copy, file = spoilt(scenes, tmp_path, "img/img_2.png", lambda data: data)
    cv2.imwrite(str(file), cv2.imread(str(scenes / "train/img/img_5.png")))
    told = document(scenes / "train", copy)
    assert told["verdict"] == "look at"
    assert told["shared"] == [[str(scenes / "train/img/img_5.png"), str(file)]]
    assert document(scenes / "train", scenes / "test")["shared"] == []


def quad(x, y, width, height, text="word"):
    corners = (x, y, x + width, y, x + width, y + height, x, y + height)
    return ",".join([*map(str, corners), text])


@pytest.fixture
def wide(tmp_path):
    """A path of ten pictures of 2000x1000 with words 10 pixels high, 400 long; one turned."""
    split = tmp_path / "wide"
    (split / "img").mkdir(parents=True)
    (split / "gt").mkdir()
    for number in range(10):
        picture = tmp_path / "wide" / "img" / f"{number}.png"
        cv2.imwrite(str(picture), cv2.UMat(1000, 2000, cv2.CV_8U, (number,)).get())
        lines = [quad(10, 50 * n, 400, 10) for n in range(1, 4)] + [quad(900, 10, 6, 300, "###")]
        (split / "gt" / f"{number}.txt").write_text("\n".join(lines))
    (split / "gt" / "9.txt").write_text(quad(900, 10, 8, 300))
    return split


def test_the_numbers_are_those_of_the_labels(wide):
    (row,) = document(wide, "--quick")["data"]
    assert (row["images"], row["regions"], row["words"], row["ignored"]) == (10, 37, 28, 9)
    assert row["heights"] | {"edges": [], "counts": []} == {
        "least": 8,
        "p10": 10,
        "median": 10,
        "p90": 10,
        "most": 10,
        "edges": [],
        "counts": [],
    }
    assert (row["heights"]["edges"], row["heights"]["counts"]) == ([8], [28])
    assert (row["angles"]["least"], row["angles"]["median"]) == (-90, 0)
    assert row["sizes"] == [{"width": 2000, "height": 1000, "images": 10}]
    done = CliRunner().invoke(cli, ["data", "stats", str(wide)])
    (stats,) = json.loads(done.stdout)["data"]
    assert stats == {name: row[name] for name in stats}


def test_the_settings_make_small_words_legible_and_a_plan_takes_them(wide, tmp_path):
    told = document(wide, "--quick")
    found = {one["key"]: one["value"] for one in told["settings"]}
    steps = {step["type"]: step for step in found["dataset.train_dataset.args.pre_processes"]}
    width, height = found["inference.width"], found["inference.height"]
    assert steps["WordCrop"]["args"]["size"] == [480, 480]  # of words 400 long
    assert (width, height) == (2016, 1024)  # 10 pixels of 2000 stay 10
    plan = ["plan", "--action", "train", "--train-dataset", str(wide), "--automl-policy", "off"]
    for override in told["set"]:
        plan += ["--set", override]
    done = CliRunner().invoke(cli, [*plan, "--full"])
    assert done.exit_code == 0, done.stdout
    spec = json.loads(done.stdout)["spec"]
    assert spec["train"]["num_epochs"] == found["train.num_epochs"] == 400
    resize = spec["dataset"]["validate_dataset"]["args"]["pre_processes"][0]["args"]
    assert resize["short_size"] == [width, height]


def test_a_mended_copy_has_no_doubts_and_the_original_is_untouched(scenes, tmp_path):
    copy = support.copied(scenes, tmp_path / "copy") / "test"
    labels = [copy / "gt" / f"gt_img_{number}.txt" for number in (1, 2, 3, 4)]
    crossed, far, wide_text, outside = labels
    crossed.write_text("10,10,60,10,10,30,60,30,a, b\n70,70,70,90,70,90,70,70,flat\n")
    far.write_text("\n".join(quad(900 + n, 900, 50, 20) for n in range(3)))
    wide_text.write_text(quad(10, 10, 50, 20, "\u00e9t\u00e9"), encoding="utf-16")
    outside.write_text(
        f"{quad(130, 10, 90, 20)}\n{quad(10, 60, 50, 20)}\n0.1,.1,.2,.1,.2,.2,.1,.2,c"
    )
    before = {file: file.read_bytes() for file in copy.rglob("*.*")}
    out = tmp_path / "mended"
    fixed = document(copy, "--fix", out)["fixed"]
    assert {file: file.read_bytes() for file in copy.rglob("*.*")} == before
    assert (fixed["images"], fixed["left_out"]) == (3, 1)
    assert str(copy / "img" / "img_2.png") in fixed["left_out_first"][0]
    assert fixed["mended"]["clipped to the picture"] == 1
    told = document(out)
    assert told["data"][0]["errors"] == []
    assert {w["code"] for w in told["data"][0]["warnings"]} <= {"relative-label"}
    assert (out / "gt/gt_img_1.txt").read_text() == "10,10,60,10,60,30,10,30,a, b\n"
    assert (out / "gt/gt_img_3.txt").read_text(encoding="utf-8").endswith(",\u00e9t\u00e9\n")
    assert (out / "gt/gt_img_4.txt").read_text().splitlines()[
        0
    ] == "130,10,159,10,159,30,130,30,word"
    assert (out / "img/img_1.png").read_bytes() == (copy / "img/img_1.png").read_bytes()
    again = check(copy, "--fix", out)
    assert again.exception.code == "output-exists"


@pytest.mark.parametrize("orientation", [5, 6, 7, 8])
def test_labels_of_stored_pixels_are_turned_with_their_photograph(tmp_path, orientation):
    pillow = pytest.importorskip("PIL.Image")
    for name in ("img", "gt"):
        (tmp_path / "set" / name).mkdir(parents=True)
    exif = pillow.Exif()
    exif[0x0112] = orientation
    for stem, (left, top) in {"a": (250, 20), "unsure": (50, 20)}.items():
        stored = np.zeros((160, 320, 3), np.uint8)
        stored[top : top + 20, left : left + 40] = 255
        pillow.fromarray(stored).save(tmp_path / "set/img" / f"{stem}.png", exif=exif)
        (tmp_path / "set/gt" / f"{stem}.txt").write_text(quad(left, top, 39, 19))
    fixed = document(tmp_path / "set", "--fix", tmp_path / "out")["fixed"]
    assert (fixed["images"], fixed["left_out"]) == (1, 1)
    (one,) = index_dataset([tmp_path / "out"], ["###"])
    inside = np.zeros((320, 160), np.uint8)
    cv2.fillPoly(inside, [one.polygons[0].astype(int)], 255)
    shown = cv2.imread(str(one.image), cv2.IMREAD_GRAYSCALE)
    assert (inside == shown).all()


def test_a_copy_keeps_outlines_beside_quads(scenes, tmp_path):
    copy = support.copied(scenes, tmp_path / "copy") / "test"
    label = copy / "gt/gt_img_1.txt"
    label.write_text("10 10 40 5 70 10 70 30 40 25 10 30\tcurved\n" + quad(10, 60, 50, 20, "12,5"))
    document(copy, "--fix", tmp_path / "out")
    one, two = (index_dataset([folder], ["###"])[0] for folder in (copy, tmp_path / "out"))
    assert [len(p) for p in two.polygons] == [6, 4]
    assert two.texts == one.texts
    assert all((a == b).all() for a, b in zip(one.polygons, two.polygons, strict=True))


def test_the_page_is_whole_offline_and_harmless(scenes, tmp_path):
    copy, label = spoilt(scenes, tmp_path, "gt/gt_img_1.txt", lambda _: b"")
    label.write_text(quad(150, 20, 40, 20))
    evil = copy / "img" / "<script>alert(1)<b>.png"
    (copy / "img/img_2.png").rename(evil)
    (copy / "gt/gt_img_2.txt").rename(copy / "gt" / f"gt_{evil.stem}.txt")
    out = tmp_path / "page.html"
    told = document(copy, scenes / "test", "--html", out)
    assert told["html"] == str(out)
    page = out.read_text()
    assert "<script" not in page
    assert "&lt;script&gt;alert(1)" in page
    assert set(re.findall(r'(?:src|href)="([^"#]{5})', page)) == {"data:"}
    assert page.count('class="bar"') >= 8
    assert all(kind in page for kind in ("Labels beyond the picture", "Most words", "Pairs"))
    assert all(one["key"] in page for one in told["settings"])
    (tmp_path / "notes.html").write_text("mine")
    assert check(copy, "--html", tmp_path / "notes.html").exception.code == "file-exists"


def test_what_is_printed_is_as_its_schema_says(scenes, tmp_path):
    schema = Path(__file__).parents[2] / "schemas/data_check.schema.json"
    told = document(scenes / "test", "--fix", tmp_path / "out")
    jsonschema.validate(told, json.loads(schema.read_text()))


def split(*arguments):
    done = CliRunner().invoke(cli, ["data", "split", *map(str, arguments)])
    assert done.exit_code == 0, done.output
    return json.loads(done.stdout)


@pytest.fixture
def many(scenes, tmp_path):
    """60 pictures with 0 to 2 words in equal parts; every fifth is a copy of the one before."""
    folder = tmp_path / "many"
    (folder / "gt").mkdir(parents=True)
    support.write_blocks(tmp_path / "source", 60, seed=3)
    (tmp_path / "source" / "img").rename(folder / "img")
    for number in range(1, 61):
        if number % 5 == 0:
            picture = cv2.imread(str(folder / "img" / f"img_{number - 1}.png"))
            cv2.imwrite(str(folder / "img" / f"img_{number}.png"), picture)
        lines = [quad(5, 5 + 40 * n, 50, 20) for n in range(number % 3)]
        (folder / "gt" / f"gt_img_{number}.txt").write_text("\n".join(lines))
    return folder


def test_a_split_is_stratified_whole_and_keeps_copies_together(many, tmp_path):
    told = split(many, "--out", tmp_path / "parts", "--val", "0.25")
    lists = [Path(told[part]["datalist"]) for part in ("train", "val")]
    names = [{Path(line.split("\t")[0]).stem for line in one.open()} for one in lists]
    assert not names[0] & names[1]
    assert len(names[0] | names[1]) == 60
    assert abs(len(names[1]) - 15) <= 1
    assert told["alike_images"] == 24
    for number in range(5, 61, 5):
        pair = {f"img_{number - 1}", f"img_{number}"}
        assert pair <= names[0] or pair <= names[1]
    assert 3 <= told["val"]["empty_images"] <= 7
    assert [document(one)["data"][0]["images"] for one in lists] == [len(n) for n in names]


def test_a_split_is_the_same_by_its_seed_and_another_by_another(many, tmp_path):
    texts = []
    for number, seed in enumerate((4, 4, 5)):
        split(many, "--out", tmp_path / f"{number}", "--seed", seed)
        texts.append((tmp_path / f"{number}" / "val.txt").read_text())
    assert texts[0] == texts[1] != texts[2]

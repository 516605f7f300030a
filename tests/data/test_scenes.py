"""The synthetic scene renderer: labels match the pixels, sets are whole and repeatable."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st

from ocdnet.cli.data import data
from ocdnet.data.annotations import index_dataset
from ocdnet.data.scenes import camera, dataset, fonts, signs, words
from ocdnet.data.scenes.dataset import label_lines, write_dataset
from ocdnet.data.scenes.scene import Scene, add_text, render_scene
from ocdnet.data.scenes.style import EASY, SceneStyle
from ocdnet.errors import EnvironmentFault, UsageError

SMALL = replace(EASY, size=(160, 128), height=(18, 28), words=(1, 4))
# Nothing but ink on one flat colour, so that ink can be told from the rest by its pixels.
PLAIN = replace(
    EASY, size=(480, 400), words=(4, 16), height=(14, 56), rotate=20, turn=40, contrast=55,
    clutter=0, plates=0, blur=0, noise=0, ignored=0, empty=0,
)  # fmt: skip
# Every ingredient, in a small picture.
BUSY = SceneStyle(size=(400, 240), words=(5, 20), fonts="bundled")


def scenes(style: SceneStyle, count: int) -> list[Scene]:
    return [render_scene(style, np.random.default_rng(index)) for index in range(count)]


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def ink(scene: Scene) -> np.ndarray:
    """Mask of the pixels that differ from the flat background by 0.3 of the words' contrast."""
    gap = np.abs(scene.image.astype(int) - scene.image[0, 0].astype(int)).sum(axis=2)
    mask = np.zeros(gap.shape, bool)
    for quad in scene.polygons:
        inside = np.zeros(gap.shape, np.uint8)
        cv2.fillConvexPoly(inside, np.round(quad).astype(np.int32), 1)
        near = cv2.dilate(inside, np.ones((7, 7), np.uint8)) > 0
        mask |= near & (gap > 0.3 * np.quantile(gap[inside > 0], 0.98))
    return mask


def upright(mask: np.ndarray, quad: np.ndarray, margin: int = 6) -> np.ndarray:
    """The mask around one quad, seen straight on: the quad starts `margin` pixels inside."""
    w = max(np.hypot(*(quad[1] - quad[0])), np.hypot(*(quad[2] - quad[3])))
    h = max(np.hypot(*(quad[3] - quad[0])), np.hypot(*(quad[2] - quad[1])))
    flat = np.float32([(0, 0), (w, 0), (w, h), (0, h)]) + margin - 0.5
    shape = (round(w) + 2 * margin, round(h) + 2 * margin)
    to_flat = cv2.getPerspectiveTransform(quad.astype(np.float32), flat)
    return cv2.warpPerspective(mask.astype(np.uint8) * 255, to_flat, shape) > 127


@pytest.mark.parametrize("rotate", [0, 35, 180])
def test_quads_hug_the_ink(rotate: float) -> None:
    style = replace(PLAIN, words=(1, 1), height=(16, 60), rotate=rotate, turn=30)
    checked = 0
    for scene in scenes(style, 25):
        mask = ink(scene)
        for quad in scene.polygons:
            flat = upright(mask, quad)
            top, bottom = np.flatnonzero(flat.any(axis=1))[[0, -1]]
            left, right = np.flatnonzero(flat.any(axis=0))[[0, -1]]
            found = np.array([left, top, flat.shape[1] - 1 - right, flat.shape[0] - 1 - bottom])
            # The first pixel of ink on each side lies within two pixels of the quad's side.
            assert np.abs(found - 6).max() <= 2, (scene.texts, found)
            checked += 1
    assert checked >= 20


def assert_no_ink_outside(rendered: list[Scene]) -> None:
    for scene in rendered:
        covered = np.zeros(scene.image.shape[:2], np.uint8)
        for outline in scene.polygons:
            cv2.fillPoly(covered, [np.round(outline).astype(np.int32)], 1)
        covered = cv2.dilate(covered, np.ones((5, 5), np.uint8))
        outside = scene.image[covered == 0].astype(int)
        assert np.abs(outside - scene.image[0, 0].astype(int)).max() < 8


def test_no_ink_lies_outside_the_quads() -> None:
    assert_no_ink_outside(scenes(replace(PLAIN, words=(3, 10)), 10))


def test_quads_follow_the_reading_direction(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(signs, "random_text", lambda *_: "LLLL")
    angles = []
    for scene in scenes(replace(PLAIN, words=(1, 1), height=(30, 50), rotate=180), 20):
        mask = ink(scene)
        for quad in scene.polygons:
            flat = upright(mask, quad)
            half = flat.shape[0] // 2
            assert flat[half:].sum() > 1.2 * flat[:half].sum()  # An L is heavier at its foot.
            angles.append(abs(np.arctan2(*(quad[1] - quad[0])[::-1])))
    assert max(angles) > 1.7  # Some words did hang upside down.


STYLES = st.builds(
    SceneStyle,
    size=st.tuples(st.integers(64, 300), st.integers(64, 300)),
    height=st.tuples(st.integers(8, 30), st.integers(8, 30)).map(lambda pair: tuple(sorted(pair))),
    rotate=st.floats(0, 180),
    turn=st.floats(0, 65),
    curved=st.just(0),
    fonts=st.just("bundled"),
    clutter=st.floats(0, 3),
)


@settings(max_examples=30, deadline=None)
@given(style=STYLES, seed=st.integers(0, 2**31))
def test_words_lie_inside_convex_clockwise_and_apart(style: SceneStyle, seed: int) -> None:
    scene = render_scene(style, rng(seed))
    assert scene.image.shape == (style.size[1], style.size[0], 3)
    assert scene.image.dtype == np.uint8
    assert len(scene.polygons) == len(scene.texts) == len(scene.ignore) <= style.words[1]
    for index, quad in enumerate(scene.polygons):
        assert quad.shape == (4, 2)
        assert quad.dtype == np.float32
        assert (quad >= 0).all()
        assert (quad <= np.array(style.size) - 1).all()
        assert cv2.isContourConvex(quad)
        assert cv2.contourArea(quad, oriented=True) > 0  # Clockwise where y points down.
        for other in scene.polygons[:index]:
            overlap, _ = cv2.intersectConvexConvex(quad, other)
            assert overlap <= 0.02 * min(cv2.contourArea(quad), cv2.contourArea(other)) + 1e-3


def test_the_same_rng_gives_the_same_pixels_and_another_does_not() -> None:
    first, again, other = (render_scene(SceneStyle(), rng(seed)) for seed in (3, 3, 4))
    assert np.array_equal(first.image, again.image)
    assert label_lines(first) == label_lines(again)
    assert not np.array_equal(first.image, other.image)


def test_letters_are_as_tall_as_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(signs, "random_text", lambda *_: "H")
    style = replace(PLAIN, words=(1, 1), height=(20, 30), rotate=0, turn=0)
    tall = [np.ptp(quad[:, 1]) for scene in scenes(style, 30) for quad in scene.polygons]
    assert len(tall) == 30
    assert 18.5 <= min(tall) < 23
    assert 27 < max(tall) <= 31.5


def test_cared_for_text_stands_out_from_its_surroundings() -> None:
    plain = {"ignored": 0, "effects": 0, "light": 0, "occluders": 0, "blur": 0, "noise": 0}
    style = replace(BUSY, **plain, height=(24, 40))
    weak = total = 0
    for scene in scenes(style, 16):
        grey = cv2.cvtColor(scene.image, cv2.COLOR_BGR2GRAY)
        for quad in scene.polygons:
            inside = np.zeros(grey.shape, np.uint8)
            cv2.fillConvexPoly(inside, np.round(quad).astype(np.int32), 1)
            low, high = np.percentile(grey[inside > 0], (3, 97))
            weak, total = weak + (high - low < 0.8 * style.contrast), total + 1
    assert total > 40
    assert weak <= 0.02 * total


@pytest.mark.parametrize(("share", "low", "high"), [(0, 0, 0), (0.3, 0.15, 0.6), (1, 1, 1)])
def test_share_of_ignored_words(share: float, low: float, high: float) -> None:
    flags = np.concatenate(
        [scene.ignore for scene in scenes(replace(SMALL, ignored=share, empty=0), 80)]
    )
    assert len(flags) > 80
    assert low <= flags.mean() <= high


def test_share_of_empty_scenes() -> None:
    assert all(scene.texts for scene in scenes(replace(SMALL, empty=0), 30))
    assert not any(scene.texts for scene in scenes(replace(SMALL, empty=1), 5))


def test_written_labels_say_what_was_rendered(tmp_path: Path) -> None:
    style = replace(BUSY, empty=0.2, curved=0.3)
    counts = write_dataset(tmp_path / "set", 25, style, 1)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["set"]
    annotations = index_dataset([str(tmp_path / "set")], ["###"])
    assert len(annotations) == counts.images == 25
    polygons = [polygon for one in annotations for polygon in one.polygons]
    assert len(polygons) == counts.words > 100
    assert sum(one.ignore.sum() for one in annotations) == counts.ignored > 10
    assert sum(not len(one.polygons) for one in annotations) == counts.empty > 0
    assert sum(len(polygon) > 6 for polygon in polygons) > 5  # bent ones, read as such
    assert np.concatenate(polygons).min() >= 0
    assert (np.concatenate(polygons).max(axis=0) <= (399, 239)).all()


def test_lines_hold_their_words() -> None:
    style = replace(PLAIN, words=(8, 8), rotate=0, turn=0)
    for lines in (False, True):
        rendered = scenes(replace(style, lines=lines), 12)
        said = [text for scene in rendered for text in scene.texts]
        assert any(" " in text for text in said) == lines
        assert_no_ink_outside(rendered)


def test_the_ink_of_a_bent_or_vertical_word_lies_in_its_outline() -> None:
    for kind in ({"curved": 1}, {"vertical": 1}):
        rendered = scenes(replace(PLAIN, words=(3, 6), height=(14, 30), **kind), 10)
        outlines = [polygon for scene in rendered for polygon in scene.polygons]
        assert len(outlines) > 20
        if "curved" in kind:
            assert max(map(len, outlines)) > 4
        else:  # taller than wide, most of them
            assert np.mean([np.ptp(p[:, 1]) > np.ptp(p[:, 0]) for p in outlines]) > 0.6
        assert_no_ink_outside(rendered)


def test_what_nobody_can_read_is_ignored() -> None:
    grey = np.zeros((100, 200), np.uint8)
    cv2.putText(grey, "WORD", (20, 60), 0, 1.5, 255, 3)
    box = np.array([(15, 20), (150, 20), (150, 65), (15, 65)], np.float32)
    assert not camera.is_unreadable(grey, box, 0)
    assert camera.is_unreadable(grey, box, 15)  # blurred
    assert camera.is_unreadable(grey // 20, box, 0)  # faint
    assert camera.is_unreadable(grey, box / 10, 0)  # tiny
    # Behind something: other than the same scene without it.
    clear, hidden = (
        scenes(replace(BUSY, light=0, blur=0, noise=0, occluders=share), 8) for share in (0, 3)
    )
    assert sum(sum(s.ignore) for s in hidden) > sum(sum(s.ignore) for s in clear)


def test_photographs_are_what_is_behind(tmp_path: Path) -> None:
    green = np.full((90, 160, 3), (10, 200, 30), np.uint8)
    cv2.imwrite(str(tmp_path / "green.png"), green)
    style = replace(PLAIN, photographs=(tmp_path / "green.png",))
    scene = scenes(style, 1)[0]
    assert scene.texts
    assert np.median(scene.image.reshape(-1, 3), axis=0).tolist() == [10, 200, 30]
    (tmp_path / "none").mkdir()
    arguments = ["synth", "--out", str(tmp_path / "x"), "--backgrounds", str(tmp_path / "none")]
    result = CliRunner().invoke(data, arguments)
    assert isinstance(result.exception, UsageError)


def test_commas_stay_in_the_label(monkeypatch: pytest.MonkeyPatch) -> None:
    texts = [words.random_text("system", rng(seed)) for seed in range(300)]
    assert any("," in text for text in texts)
    assert all(text == text.strip() != "" and text not in ("###", "*") for text in texts)
    monkeypatch.setattr(signs, "random_text", lambda *_: "$1,234,")
    scene = render_scene(replace(PLAIN, words=(1, 1)), rng())
    assert [line.split(",", 8)[8] for line in label_lines(scene)] == ["$1,234,"]


def test_an_image_depends_on_seed_and_number_alone(tmp_path: Path, monkeypatch) -> None:
    def images(out: str, seed: int, count: int, style: SceneStyle = SMALL) -> dict[str, bytes]:
        write_dataset(tmp_path / out, count, style, seed)
        root = tmp_path / out
        return {str(p.relative_to(root)): p.read_bytes() for p in root.rglob("*") if p.is_file()}

    whole = images("whole", 0, 5)
    assert len(whole) == 10
    assert images("less", 0, 2).items() <= whole.items()
    other = images("other", 1, 1)
    assert other["img/img_1.jpg"] not in whole.values()
    busy = images("busy", 0, 6, BUSY)
    monkeypatch.setattr(dataset, "_FEW_PIXELS", 0)
    monkeypatch.setattr(dataset, "cpus", lambda: 3)
    assert images("processes", 0, 6, BUSY) == busy


@pytest.mark.parametrize(
    "change",
    [
        {"size": (640, 32)},
        {"words": (5, 2)},
        {"words": (0, 2)},
        {"height": (2, 20)},
        {"rotate": -1},
        {"rotate": float("nan")},
        {"ignored": 1.5},
        {"empty": -0.1},
        {"jpeg": (0, 50)},
        {"fonts": "none"},
    ],
)
def test_bad_style_is_a_usage_error_naming_the_field(change: dict[str, object]) -> None:
    with pytest.raises(UsageError) as caught:
        SceneStyle(**change)  # type: ignore[arg-type]
    assert next(iter(change)) in caught.value.message
    assert caught.value.expected


def test_a_folder_with_files_is_refused_and_kept(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("keep")
    with pytest.raises(UsageError, match="not an empty folder"):
        write_dataset(tmp_path, 1, SMALL, 0)
    with pytest.raises(UsageError, match="not an empty folder"):
        write_dataset(tmp_path / "mine.txt", 1, SMALL, 0)
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]
    (tmp_path / "empty").mkdir()
    write_dataset(tmp_path / "empty", 1, SMALL, 0)
    assert (tmp_path / "empty/gt/gt_img_1.txt").is_file()


def test_nothing_to_render_or_a_bad_seed_is_a_usage_error(tmp_path: Path) -> None:
    for count, seed in ((0, 0), (-1, 0), (1, -1)):
        with pytest.raises(UsageError):
            write_dataset(tmp_path / "set", count, SMALL, seed)
    assert not list(tmp_path.iterdir())


def test_an_interrupted_run_leaves_nothing(tmp_path: Path) -> None:
    def stop(done: int, total: int) -> None:
        assert total == 3
        if done == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_dataset(tmp_path / "set", 3, SMALL, 0, stop)
    assert not list(tmp_path.iterdir())


def test_a_parent_that_is_a_file_is_a_run_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(EnvironmentFault, match="Cannot write"):
        write_dataset(tmp_path / "file" / "set", 1, SMALL, 0)


def test_missing_pillow_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "PIL", None)
    spec = importlib.util.spec_from_file_location("fresh_copy", fonts.__file__)
    with pytest.raises(EnvironmentFault) as caught:
        spec.loader.exec_module(importlib.util.module_from_spec(spec))
    assert 'pip install "ocdnet[data]"' in caught.value.hint


def test_missing_matplotlib_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    with pytest.raises(EnvironmentFault) as caught:
        fonts.families.__wrapped__("bundled")
    assert 'pip install "ocdnet[data]"' in caught.value.hint


def test_fonts_that_cannot_draw_latin_are_left_out() -> None:
    bundled = [path for family in fonts.families("bundled") for path in family.files]
    assert {"DejaVuSans.ttf", "DejaVuSerif-Bold.ttf"} <= {path.name for path in bundled}
    others = {path.name for path in bundled[0].parent.glob("*.ttf")}
    assert "STIXNonUni.ttf" in others
    assert "STIXNonUni.ttf" not in {path.name for path in bundled}
    assert fonts._look(bundled[0].parent / "LICENSE_DEJAVU") is None
    assert set(bundled) <= {path for family in fonts.families("system") for path in family.files}
    name, scripts = fonts._look(bundled[0].parent / "DejaVuSans.ttf")
    assert name == "DejaVu Sans"
    assert {"cyrillic", "greek"} <= scripts
    assert "han" not in scripts


def test_options_of_version_0_2_work_with_a_warning(tmp_path):
    arguments = ["synth", "--out", str(tmp_path / "set"), "--size", "96x96", "--train", "2"]
    result = CliRunner().invoke(data, [*arguments, "--test", "1", "--words", "1", "2"])
    printed = json.loads(result.stdout)
    assert {name: part["images"] for name, part in printed["splits"].items()} == {
        "train": 2,
        "test": 1,
    }
    assert len(list((tmp_path / "set" / "train" / "img").iterdir())) == 2
    assert ["--count" in line for line in printed["warnings"]] == [True, True, False]


def test_command_prints_one_json_summary(tmp_path: Path) -> None:
    arguments = ["synth", "--out", str(tmp_path / "set"), "--count", "4", "--size", "128x96"]
    arguments += ["--preview"]
    result = CliRunner().invoke(data, arguments, catch_exceptions=False)
    assert result.exit_code == 0
    summary = json.loads(result.stdout)
    assert summary["images"] == 4
    assert "rendering: 4/4" in result.stderr
    assert cv2.imread(f"{summary['data_path']}/img/img_1.jpg").shape == (96, 128, 3)
    assert cv2.imread(str(tmp_path / "set/preview.jpg")).shape == (2 * 48, 3 * 64, 3)


@pytest.mark.parametrize(
    "wrong",
    [["--size", "640"], ["--size", "-1x20"], ["--size", "20x20"], ["--count", "-3"]],
)
def test_command_with_bad_input_writes_nothing(tmp_path: Path, wrong: list[str]) -> None:
    result = CliRunner().invoke(data, ["synth", "--out", str(tmp_path / "set"), *wrong])
    assert isinstance(result.exception, UsageError)
    assert result.exception.exit_code == 2
    assert result.stdout == ""
    assert not list(tmp_path.iterdir())


def test_the_command_module_is_light_and_its_help_has_an_example() -> None:
    code = (
        "import sys; from ocdnet.cli.data import data\n"
        "heavy = {'cv2', 'numpy', 'PIL', 'rich', 'torch', 'matplotlib'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
        "data(['synth', '--help'])\n"
    )
    result = subprocess.run(
        [sys.executable, "-c", code], check=False, capture_output=True, text=True
    )
    assert result.returncode == 0, result.stderr
    assert "ocdnet data synth --out" in result.stdout


def test_text_that_is_there_is_left_alone():
    left = np.array([[0, 0], [159, 0], [159, 319], [0, 319]], np.float32)
    scene = Scene(np.full((320, 320, 3), 128, np.uint8), [left], ["there"], [False])
    add_text(scene, replace(EASY, words=(3, 3), height=(10, 14)), np.random.default_rng(0))
    assert len(scene.texts) > 1
    assert (scene.image[:, :159] == 128).all()
    assert all((polygon[:, 0] > 158).all() for polygon in scene.polygons[1:])

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
from ocdnet.data import synthetic, synthetic_text
from ocdnet.data.synthetic import (
    EASY,
    Scene,
    SceneStyle,
    add_text,
    label_lines,
    render_scene,
    write_dataset,
)
from ocdnet.errors import EnvironmentFault, RunError, UsageError

SMALL = replace(EASY, size=(160, 128), height=(10, 24), words=(1, 4))
# Nothing but ink on one flat colour, so that ink can be told from the rest by its pixels.
PLAIN = SceneStyle(
    size=(480, 400), clutter=0, plates=0, blur=0, noise=0, ignored=0, empty=0, fonts="bundled"
)


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
    style = replace(PLAIN, words=(1, 1), height=(16, 60), rotate=rotate, perspective=0.1)
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


def test_no_ink_lies_outside_the_quads() -> None:
    for scene in scenes(replace(PLAIN, words=(3, 10)), 10):
        covered = np.zeros(scene.image.shape[:2], np.uint8)
        for quad in scene.polygons:
            cv2.fillConvexPoly(covered, np.round(quad).astype(np.int32), 1)
        covered = cv2.dilate(covered, np.ones((5, 5), np.uint8))
        outside = scene.image[covered == 0].astype(int)
        assert np.abs(outside - scene.image[0, 0].astype(int)).max() < 8


def test_quads_follow_the_reading_direction(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(synthetic, "random_text", lambda _: "LLLL")
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
    perspective=st.floats(0, 0.2),
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
    monkeypatch.setattr(synthetic, "random_text", lambda _: "H")
    style = replace(PLAIN, words=(1, 1), height=(20, 30), rotate=0, perspective=0)
    tall = [np.ptp(quad[:, 1]) for scene in scenes(style, 30) for quad in scene.polygons]
    assert len(tall) == 30
    assert 18.5 <= min(tall) < 23
    assert 27 < max(tall) <= 31.5


def test_cared_for_text_stands_out_from_its_surroundings() -> None:
    style = SceneStyle(ignored=0, blur=0, noise=0, height=(30, 50))
    weak = total = 0
    for scene in scenes(style, 12):
        grey = cv2.cvtColor(scene.image, cv2.COLOR_BGR2GRAY)
        for quad in scene.polygons:
            inside = np.zeros(grey.shape, np.uint8)
            cv2.fillConvexPoly(inside, np.round(quad).astype(np.int32), 1)
            low, high = np.percentile(grey[inside > 0], (3, 97))
            weak, total = weak + (high - low < 0.8 * style.contrast), total + 1
    assert total > 40
    assert weak <= 0.02 * total


@pytest.mark.parametrize(("share", "low", "high"), [(0, 0, 0), (0.3, 0.15, 0.45), (1, 1, 1)])
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
    style = replace(SMALL, size=(320, 240), words=(2, 6), ignored=0.3, empty=0.2)
    summary = write_dataset(tmp_path / "set", {"train": 25}, style, seed=1)
    words, ignored, empty, commas = 0, 0, 0, 0
    for number in range(1, 26):
        image = cv2.imread(str(tmp_path / "set/train/img" / f"img_{number}.jpg"))
        assert image.shape == (240, 320, 3)
        text = (tmp_path / "set/train/gt" / f"gt_img_{number}.txt").read_text(encoding="utf-8")
        for line in text.splitlines():
            *numbers, word = line.split(",", 8)
            x, y = np.array([int(number) for number in numbers]).reshape(4, 2).T
            assert x.min() >= 0 and x.max() <= 319 and y.min() >= 0 and y.max() <= 239
            assert word
            words, ignored, commas = words + 1, ignored + (word == "###"), commas + ("," in word)
        empty += not text
    assert summary["splits"]["train"] == {
        "path": str(tmp_path / "set" / "train"),
        "images": 25,
        "words": words,
        "ignored": ignored,
        "empty": empty,
    }
    assert ignored and empty and words > 25
    assert sorted(path.name for path in tmp_path.iterdir()) == ["set"]


def test_commas_stay_in_the_label(monkeypatch: pytest.MonkeyPatch) -> None:
    texts = [synthetic_text.random_text(rng(seed)) for seed in range(300)]
    assert any("," in text for text in texts)
    assert all(text == text.strip() != "" and text not in ("###", "*") for text in texts)
    monkeypatch.setattr(synthetic, "random_text", lambda _: "$1,234,")
    scene = render_scene(replace(PLAIN, words=(1, 1)), rng())
    assert [line.split(",", 8)[8] for line in label_lines(scene)] == ["$1,234,"]


def test_an_image_depends_on_seed_split_and_number_alone(tmp_path: Path) -> None:
    def images(out: str, seed: int, **splits: int) -> dict[str, bytes]:
        write_dataset(tmp_path / out, splits, SMALL, seed)
        root = tmp_path / out
        return {str(p.relative_to(root)): p.read_bytes() for p in root.rglob("*") if p.is_file()}

    whole = images("whole", 0, train=3, test=2)
    assert len(whole) == 10
    assert images("again", 0, train=3, test=2) == whole
    assert images("less", 0, test=1).items() <= whole.items()
    assert whole["train/img/img_1.jpg"] != whole["test/img/img_1.jpg"]
    assert images("other", 1, test=1)["test/img/img_1.jpg"] != whole["test/img/img_1.jpg"]


@pytest.mark.parametrize(
    "change",
    [
        {"size": (640, 32)},
        {"words": (5, 2)},
        {"words": (0, 2)},
        {"height": (4, 20)},
        {"height": (20, 400)},
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
        write_dataset(tmp_path, {"train": 1}, SMALL, 0)
    with pytest.raises(UsageError, match="not an empty folder"):
        write_dataset(tmp_path / "mine.txt", {"train": 1}, SMALL, 0)
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]
    (tmp_path / "empty").mkdir()
    write_dataset(tmp_path / "empty", {"train": 1}, SMALL, 0)
    assert (tmp_path / "empty/train/gt/gt_img_1.txt").is_file()


def test_nothing_to_render_or_a_bad_seed_is_a_usage_error(tmp_path: Path) -> None:
    for images, seed in (({"train": 0}, 0), ({"train": -1, "test": 2}, 0), ({"train": 1}, -1)):
        with pytest.raises(UsageError):
            write_dataset(tmp_path / "set", images, SMALL, seed)
    assert not list(tmp_path.iterdir())


def test_an_interrupted_run_leaves_nothing(tmp_path: Path) -> None:
    def stop(done: int, total: int) -> None:
        assert total == 3
        if done == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_dataset(tmp_path / "set", {"train": 2, "test": 1}, SMALL, 0, stop)
    assert not list(tmp_path.iterdir())


def test_a_parent_that_is_a_file_is_a_run_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(RunError, match="Cannot write"):
        write_dataset(tmp_path / "file" / "set", {"train": 1}, SMALL, 0)


def test_missing_pillow_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "PIL", None)
    spec = importlib.util.spec_from_file_location("fresh_copy", synthetic_text.__file__)
    with pytest.raises(EnvironmentFault) as caught:
        spec.loader.exec_module(importlib.util.module_from_spec(spec))
    assert 'pip install "ocdnet[data]"' in caught.value.hint


def test_missing_matplotlib_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    with pytest.raises(EnvironmentFault) as caught:
        synthetic_text.font_paths.__wrapped__("bundled")
    assert 'pip install "ocdnet[data]"' in caught.value.hint


def test_fonts_that_cannot_draw_latin_are_left_out() -> None:
    bundled = synthetic_text.font_paths("bundled")
    assert {"DejaVuSans.ttf", "DejaVuSerif-Bold.ttf"} <= {path.name for path in bundled}
    others = {path.name for path in bundled[0].parent.glob("*.ttf")}
    assert "STIXNonUni.ttf" in others
    assert "STIXNonUni.ttf" not in {path.name for path in bundled}
    assert not synthetic_text._is_readable_latin(bundled[0].parent / "LICENSE_DEJAVU")
    assert set(bundled) <= set(synthetic_text.font_paths("system"))


def test_command_prints_one_json_summary(tmp_path: Path) -> None:
    arguments = ["synth", "--out", str(tmp_path / "set"), "--train", "2", "--test", "1"]
    arguments += ["--size", "128x96", "--words", "1", "3", "--height", "10", "16"]
    result = CliRunner().invoke(data, arguments, catch_exceptions=False)
    assert result.exit_code == 0
    summary = json.loads(result.stdout)
    assert {name: split["images"] for name, split in summary["splits"].items()} == {
        "train": 2,
        "test": 1,
    }
    assert "rendering: 3/3" in result.stderr
    image = cv2.imread(f"{summary['splits']['test']['path']}/img/img_1.jpg")
    assert image.shape == (96, 128, 3)


def test_command_and_style_have_the_same_defaults() -> None:
    options = {option.name: option.default for option in data.commands["synth"].params}
    style = vars(SceneStyle())
    shared = options.keys() & style.keys() - {"size"}
    assert shared >= {"words", "height", "rotate", "ignored", "empty", "fonts"}
    assert {name: options[name] for name in shared} == {name: style[name] for name in shared}
    assert options["size"] == "{}x{}".format(*style["size"])


@pytest.mark.parametrize(
    "wrong",
    [["--size", "640"], ["--size", "-1x20"], ["--words", "9", "1"], ["--train", "-3"]],
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
    assert "Example: ocdnet data synth --out" in result.stdout


def test_text_that_is_there_is_left_alone():
    left = np.array([[0, 0], [159, 0], [159, 319], [0, 319]], np.float32)
    scene = Scene(np.full((320, 320, 3), 128, np.uint8), [left], ["there"], [False])
    add_text(scene, replace(EASY, words=(3, 3), height=(10, 14)), np.random.default_rng(0))
    assert len(scene.texts) > 1
    assert (scene.image[:, :159] == 128).all()
    assert all((polygon[:, 0] > 158).all() for polygon in scene.polygons[1:])

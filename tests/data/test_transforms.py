"""TAO's pre_processes lists: what is accepted, and what a sample looks like."""

from __future__ import annotations

import copy
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ocdnet.data.augment import Affine, ColorJitter, Fliplr, Resize, View
from ocdnet.data.crop import choose_window, free_bands
from ocdnet.data.reading import read_image
from ocdnet.data.steps import compile_eval, compile_train
from ocdnet.errors import SpecError

CROP = {"type": "EastRandomCropData", "args": {"size": [320, 256], "max_tries": 50}}
MAPS = [
    {"type": "MakeBorderMap", "args": {"shrink_ratio": 0.4, "thresh_min": 0.3, "thresh_max": 0.7}},
    {"type": "MakeShrinkMap", "args": {"shrink_ratio": 0.4, "min_text_size": 8}},
]
AUGMENT = {
    "type": "IaaAugment",
    "args": [
        {"type": "Fliplr", "args": {"p": 0.5}},
        {"type": "Affine", "args": {"rotate": [-45, 45]}},
        {"type": "Resize", "args": {"size": [0.5, 3]}},
    ],
}


WORDS = {"type": "WordCrop", "args": {"size": [160, 128]}}


def box(x0, y0, x1, y1):
    return np.array([[x0, y0], [x1, y0], [x1, y1], [x0, y1]], np.float32)


def scene(boxes, size=(640, 360)):
    """A grey image with white rectangles, and their polygons."""
    image = np.full((size[1], size[0], 3), 60, np.uint8)
    polygons = [box(*b) for b in boxes]
    for polygon in polygons:
        cv2.fillPoly(image, [polygon.astype(np.int32)], (255, 255, 255))
    return image, polygons


BOXES = [(80, 60, 240, 110), (300, 200, 420, 230), (500, 300, 620, 350)]


def run(transform, boxes=BOXES, ignore=None, seed=0, size=(640, 360)):
    image, polygons = scene(boxes, size)
    skip = np.zeros(len(boxes), bool) if ignore is None else np.array(ignore, bool)
    return transform(image, polygons, skip, np.random.default_rng(seed))


@pytest.mark.parametrize("keep_ratio", [True, False])
@pytest.mark.parametrize("seed", range(25))
def test_image_and_polygons_move_together(seed, keep_ratio):
    crop = {**CROP, "args": {**CROP["args"], "keep_ratio": keep_ratio}}
    sample = run(compile_train([AUGMENT, crop, *MAPS]), seed=seed)
    assert sample.image.shape == (256, 320, 3)
    drawn = np.zeros((256, 320), np.uint8)
    # Four fractional bits: as accurate as the polygons themselves.
    for polygon in sample.polygons:
        cv2.fillPoly(drawn, [np.round(polygon * 16).astype(np.int32)], 1, shift=4)
    white = sample.image[..., 0] > 157  # half way between the ground and the text
    shown = sample.image[..., 0] > 0  # black: outside the image, where polygons may reach
    wrong = ((white != drawn.astype(bool)) & shown).astype(np.uint8)
    wrong = cv2.erode(wrong, np.ones((3, 3)), borderValue=0)
    assert drawn.any()
    assert not wrong.any()


def test_a_crop_alone_equals_resizing_the_window():
    # Independent oracle: cv2.resize's own half-pixel convention.
    image = cv2.GaussianBlur(
        np.random.default_rng(0).integers(0, 256, (90, 120, 3), np.uint8), (0, 0), 2
    )
    view = View(np.eye(3), (120, 90)).cropped(20, 10, 100, 70).scaled(2, 2)
    warped = cv2.warpAffine(image, view.matrix[:2], view.size, flags=cv2.INTER_LINEAR)
    resized = cv2.resize(image[10:70, 20:100], (160, 120), interpolation=cv2.INTER_LINEAR)
    difference = np.abs(warped.astype(int) - resized)[2:-2, 2:-2]
    assert difference.max() <= 2


def test_a_flip_is_exact():
    image = np.random.default_rng(0).integers(0, 256, (31, 47, 3), np.uint8)
    view = Fliplr(1.0)(View(np.eye(3), (47, 31)), np.random.default_rng(0))
    warped = cv2.warpAffine(image, view.matrix[:2], view.size, flags=cv2.INTER_LINEAR)
    np.testing.assert_array_equal(warped, image[:, ::-1])
    assert view.move([box(0, 0, 46, 30)])[0].tolist() == [[46, 0], [0, 0], [0, 30], [46, 30]]


def test_rotation_keeps_centre_and_canvas():
    view = Affine((90, 90), 1.0)(View(np.eye(3), (101, 101)), np.random.default_rng(0))
    moved = view.move([box(50, 50, 60, 50)])[0]
    assert view.size == (101, 101)
    np.testing.assert_allclose(moved[0], [50, 50], atol=1e-4)
    np.testing.assert_allclose(np.abs(moved[1] - 50), [0, 10], atol=1e-4)


def test_scaling_resizes_the_canvas():
    view = Resize((2, 2), 1.0)(View(np.eye(3), (40, 30)), np.random.default_rng(0))
    assert view.size == (80, 60)


def test_blur_smooths_the_image_alone():
    blur = {"type": "IaaAugment", "args": [{"type": "GaussianBlur", "args": {"sigma": [2, 2]}}]}
    blur["args"][0]["args"]["p"] = 1.0
    crop = {**CROP, "args": {"size": [640, 384], "max_tries": 0}}
    sharp = run(compile_train([crop, *MAPS]))
    soft = run(compile_train([blur, crop, *MAPS]))
    np.testing.assert_array_equal(soft.polygons, sharp.polygons)
    step = np.abs(np.diff(sharp.image[..., 0].astype(int), axis=1)).max()
    soft_step = np.abs(np.diff(soft.image[..., 0].astype(int), axis=1)).max()
    # A step of height h under a Gaussian of sigma s has slope h / (s sqrt(2 pi)).
    assert soft_step == pytest.approx(step / (2 * np.sqrt(2 * np.pi)), rel=0.25)


def test_another_light_changes_colours_alone():
    light = {"brightness": 0.9, "contrast": 0.9, "saturation": 0.9}
    jitter = {"type": "IaaAugment", "args": [{"type": "ColorJitter", "args": light}]}
    crop = {**CROP, "args": {"size": [640, 384], "max_tries": 0}}
    plain, other = (run(compile_train([*more, crop, *MAPS])) for more in ([], [jitter]))
    assert [len(set(image[:360].ravel())) for image in (plain.image, other.image)] == [2, 2]
    assert not np.array_equal(other.image, plain.image)
    assert not other.image[360:].any()  # the padding is no part of the picture
    np.testing.assert_array_equal(other.polygons, plain.polygons)


def test_colour_factors_follow_each_other_and_saturate():
    view = View(np.eye(3), (4, 4))
    for one in ((1.0, 0.0), (0.0, 1.0)):
        view = ColorJitter(*one, 0.0, 1.0)(view, np.random.default_rng(3))
    first, second = np.random.default_rng(3), np.random.default_rng(3)
    brightness = [first.random(), first.uniform(0, 2)][1]
    contrast = [second.random(), second.uniform(1, 1), second.uniform(0, 2)][2]
    pixel = np.array([10.0, 100.0, 250.0, 1.0])
    expected = (pixel[:3] * brightness - 127.5) * contrast + 127.5
    np.testing.assert_allclose((view.colour @ pixel)[:3], expected)


@settings(max_examples=80, deadline=None)
@given(
    boxes=st.lists(
        st.tuples(
            st.integers(-30, 190), st.integers(-30, 90), st.integers(2, 80), st.integers(2, 40)
        ),
        max_size=8,
    ),
    seed=st.integers(0, 1000),
)
def test_a_window_cuts_no_text(boxes, seed):
    polygons = [box(x, y, x + w, y + h) for x, y, w, h in boxes]
    rng = np.random.default_rng(seed)
    window = choose_window(polygons, (200, 100), 50, 0.1, rng)
    if window is None:  # none was found: the whole image is taken
        return
    x0, y0, x1, y1 = window
    assert 0 <= x0 < x1 <= 200
    assert 0 <= y0 < y1 <= 100
    assert x1 - x0 >= 20
    assert y1 - y0 >= 10
    # Pixels of each text, drawn in full and counted in and out of the window.
    held = 0
    for polygon in polygons:
        mask = np.zeros((100, 200), np.uint8)
        cv2.fillPoly(mask, [polygon.astype(np.int32)], 1)
        inside = mask[y0:y1, x0:x1].sum()
        assert inside in (0, mask.sum())
        held += int(inside > 0)
    if any(-w <= x < 200 and -h <= y < 100 for x, y, w, h in boxes):
        assert held


def test_bands_include_the_first_and_last():
    bands = free_bands(np.array([[5.0, 9.0], [15.2, 19.6]]), 25)
    assert bands.tolist() == [[0, 5], [10, 15], [21, 25]]
    assert free_bands(np.array([[-4.0, 3.0], [20.0, 40.0]]), 25).tolist() == [
        [0, 0],
        [4, 20],
        [25, 25],
    ]
    assert free_bands(np.zeros((0, 2)), 25).tolist() == [[0, 25]]


def test_cuts_right_of_the_last_text_are_used():
    windows = [
        choose_window([box(5, 5, 30, 30)], (200, 100), 50, 0.1, np.random.default_rng(s))
        for s in range(50)
    ]
    assert min(w[2] for w in windows) < 100


def test_without_text_windows_are_random():
    sizes = {choose_window([], (200, 100), 50, 0.1, np.random.default_rng(s)) for s in range(20)}
    assert len(sizes) > 10


def test_a_window_that_can_only_be_the_whole_image():
    window = choose_window([box(0, 0, 199, 99)], (200, 100), 50, 0.1, np.random.default_rng(0))
    assert window == (0, 0, 200, 100)


def test_where_no_window_is_found_the_crop_is_the_whole_image_and_says_so():
    crop = {**CROP, "args": {"size": [640, 384], "max_tries": 0}}
    sample = run(compile_train([crop, *MAPS]))
    assert sample.crop == (True, False, True)
    np.testing.assert_allclose(sample.polygons[0], box(*BOXES[0]), atol=1e-3)
    found = run(compile_train([CROP, *MAPS])).crop
    assert found == (True, True, True)
    assert run(compile_train([CROP, *MAPS]), ignore=[True] * 3).crop[::2] == (False, False)
    tiny = change(3, "min_text_size", 500)
    assert run(compile_train(tiny)).crop.crop_has_text is False


def test_polygons_outside_leave_with_their_ignore_flags():
    transform = compile_train([AUGMENT, CROP, *MAPS])
    dropped = 0
    for seed in range(20):
        sample = run(transform, ignore=[False, True, False], seed=seed)
        assert len(sample.polygons) == len(sample.ignore)
        dropped += len(BOXES) - len(sample.polygons)
        for polygon in sample.polygons:
            assert polygon.dtype == np.float32
            assert polygon.max(axis=0).min() >= 0
            assert (polygon.min(axis=0) <= [319, 255]).all()
    assert dropped


def test_nothing_of_the_image_shows_in_the_padding():
    image = np.full((100, 400, 3), 255, np.uint8)
    transform = compile_train([CROP, *MAPS])
    for seed in range(20):
        rng = np.random.default_rng(seed)
        sample = transform(image, [], np.zeros(0, bool), rng)
        rows, columns = (sample.image[..., 0] > 0).any(axis=1), (sample.image[..., 0] > 0).any(0)
        # White fills a rectangle from the top left corner that reaches one far side.
        assert (sample.image[: rows.sum(), : columns.sum()] == 255).all()
        assert rows.all() or columns.all()


def test_no_text_is_trained_in_the_padding():
    boxes = [(x, 4, x + 60, 40) for x in range(5, 600, 90)] + [(560, 300, 635, 350)]
    transform = compile_train([AUGMENT, CROP, *MAPS])
    for seed in range(40):
        sample = run(transform, boxes=boxes, seed=seed)
        columns, rows = (sample.image[..., 0] > 0).any(axis=0), (sample.image[..., 0] > 0).any(1)
        assert not sample.targets.shrink_map[:, ~columns].any()
        assert not sample.targets.shrink_map[~rows].any()


def test_an_image_without_text_trains_as_background():
    sample = run(compile_train([AUGMENT, CROP, *MAPS]), boxes=[])
    assert sample.polygons == []
    assert not sample.targets.shrink_map.any()
    assert sample.targets.shrink_mask.all()


def test_targets_are_those_of_the_moved_polygons():
    sample = run(compile_train([AUGMENT, CROP, *MAPS]), seed=3)
    assert sample.targets.shrink_map.shape == (256, 320)
    for polygon, skip in zip(sample.polygons, sample.ignore, strict=True):
        x, y = np.clip(np.round(polygon.mean(axis=0)).astype(int), 0, [319, 255])
        assert skip or sample.targets.shrink_map[y, x] == 1


def test_maps_may_have_their_own_shrink_ratios():
    maps = copy.deepcopy(MAPS)
    maps[0]["args"]["shrink_ratio"] = 0.8
    both, mixed = (compile_train([CROP, *m]) for m in (MAPS, maps))
    one, two = run(both).targets, run(mixed).targets
    np.testing.assert_array_equal(one.shrink_map, two.shrink_map)
    assert two.threshold_mask.sum() < one.threshold_mask.sum()


def test_the_generator_alone_decides():
    transform = compile_train([AUGMENT, CROP, *MAPS])
    first, again, other = (run(transform, seed=s) for s in (1, 1, 2))
    np.testing.assert_array_equal(first.image, again.image)
    np.testing.assert_array_equal(first.targets.threshold_map, again.targets.threshold_map)
    assert (first.image != other.image).any()


def test_every_argument_of_tao_is_accepted():
    transform = compile_train(
        [
            {
                "type": "IaaAugment",
                "args": [
                    {"type": "Fliplr", "args": {"p": 0.5}},
                    {"type": "Affine", "args": {"rotate": [-45, 45]}},
                    {"type": "Resize", "args": {"size": [0.5, 3.0]}},
                    {"type": "GaussianBlur", "args": {"sigma": [1.5, 2.5], "p": 0.2}},
                ],
            },
            {
                "type": "EastRandomCropData",
                "args": {
                    "size": [640, 640],
                    "max_tries": 50,
                    "min_crop_side_ratio": 0.1,
                    "require_original_image": False,
                    "keep_ratio": True,
                },
            },
            {
                "type": "MakeBorderMap",
                "args": {"shrink_ratio": 0.4, "thresh_min": 0.3, "thresh_max": 0.7},
            },
            {
                "type": "MakeShrinkMap",
                "args": {"shrink_ratio": 0.4, "min_text_size": 8, "shrink_type": "pyclipper"},
            },
        ]
    )
    assert run(transform).image.shape == (640, 640, 3)


def change(index, key, value):
    items = copy.deepcopy([AUGMENT, CROP, *MAPS])
    items[index]["args"][key] = value
    return items


@pytest.mark.parametrize(
    ("items", "told"),
    [
        (change(1, "max_trys", 3), ["pre_processes[1].args.max_trys", "Did you mean 'max_tries'?"]),
        (change(1, "size", [320, 250]), ["pre_processes[1].args.size", "multiples of 32"]),
        (change(1, "size", 320), ["pre_processes[1].args.size", "[width, height]"]),
        (change(1, "keep_ratio", 1), ["pre_processes[1].args.keep_ratio", "true or false"]),
        (change(2, "thresh_min", "low"), ["pre_processes[2].args.thresh_min", "'low'"]),
        (change(3, "min_text_size", -1), ["pre_processes[3].args.min_text_size"]),
        (change(3, "min_text_size", 2.5), ["pre_processes[3].args.min_text_size", "whole"]),
        (change(3, "shrink_type", "py"), ["pre_processes[3].args.shrink_type", "pyclipper"]),
        (
            [{"type": "EastRandomCrop", "args": {}}],
            ["pre_processes[0].type", "Did you mean 'EastRandomCropData'?"],
        ),
        (
            [{"type": "IaaAugment", "args": [{"type": "FlipLr", "args": {}}]}],
            ["pre_processes[0].args[0].type", "Did you mean 'Fliplr'?"],
        ),
        (
            [{"type": "IaaAugment", "args": [{"type": "Affine", "args": {"rotate": [9, -9]}}]}],
            ["pre_processes[0].args[0].args.rotate", "a <= b"],
        ),
        (
            [{"type": "IaaAugment", "args": [{"type": "Resize"}]}],
            ["pre_processes[0].args[0].args.size"],
        ),
        ([{"type": "IaaAugment", "args": {"p": 1}}], ["pre_processes[0].args", "a list"]),
        ([CROP, CROP, *MAPS], ["A second EastRandomCropData at pre_processes[1]"]),
        ([CROP, AUGMENT, *MAPS], ["IaaAugment after EastRandomCropData at pre_processes[1]"]),
        (MAPS, ["lacks EastRandomCropData", "fixed size"]),
        ([CROP], ["lacks MakeBorderMap, MakeShrinkMap"]),
        ([{"name": "x"}], ["pre_processes[0]", "{type, args}"]),
        ([{**CROP, "arg": {}}], ["pre_processes[0].arg", "Did you mean 'args'?"]),
    ],
)
def test_a_wrong_training_list_is_named(items, told):
    with pytest.raises(SpecError) as caught:
        compile_train(items)
    assert all(part in str(caught.value) for part in told), str(caught.value)


def test_validation_lists():
    def resize(**args):
        return [{"type": "Resize2D", "args": args}]

    assert compile_eval(resize(short_size=[1280, 736], resize_text_polys=True)) == (
        (1280, 736),
        "stretch",
    )
    assert compile_eval(resize(short_size=736)) == (736, "stretch")
    assert compile_eval([]) == (32, "stretch")
    assert compile_eval(resize(short_size=[640, 640], mode="fit")) == ((640, 640), "fit")
    assert compile_eval(resize(mode="tile")) == ((1280, 736), "tile")
    for items, told in (
        (resize(short_size=[1280, 720]), "pre_processes[0].args.short_size"),
        (resize(short_size=0), "pre_processes[0].args.short_size"),
        (resize(short_size=736, mode="fit"), "pre_processes[0].args.short_size"),
        (resize(mode="letterbox"), "stretch | fit | auto | tile"),
        (resize(shortsize=736), "Did you mean 'short_size'?"),
        ([CROP], "pre_processes[0].type"),
        (resize() * 2, "second Resize2D"),
    ):
        with pytest.raises(SpecError) as caught:
            compile_eval(items)
        assert told in str(caught.value)


@pytest.mark.skipif(
    not (Path(__file__).parents[3] / "shared/data/icdar2015").exists(),
    reason="../shared/data/icdar2015 is not here",
)
def test_real_crops_hold_readable_text():
    from ocdnet.data.annotations import index_dataset

    transform = compile_train([AUGMENT, CROP, *MAPS])
    found = index_dataset([Path(__file__).parents[3] / "shared/data/icdar2015/train"], ["###"])
    held = []
    for index, annotation in enumerate(a for a in found[:30] if not a.ignore.all()):
        rng = np.random.default_rng([0, 0, index])
        sample = transform(
            read_image(annotation.image), annotation.polygons, annotation.ignore, rng
        )
        held.append(not sample.ignore.all())
    assert np.mean(held) > 0.9


class TestWordCrop:
    """A crop of ours at the canvas's own scale, with a readable word in it."""

    BOXES = ((20, 20, 80, 40), (400, 200, 460, 216), (560, 330, 636, 356))

    def sample(self, seed, boxes=BOXES, ignore=None, more=(), size=(640, 360)):
        return run(compile_train([*more, WORDS, *MAPS]), boxes, ignore, seed, size)

    def test_every_crop_holds_a_readable_word_at_its_own_size(self):
        seen = set()
        for seed in range(40):
            sample = self.sample(seed)
            assert sample.image.shape == (128, 160, 3)
            assert sample.targets.shrink_map.any()
            white = (sample.image[:, :, 0] > 200).sum(axis=0).max()
            assert 14 <= white <= 28  # the boxes are 16 to 26 pixels high, and one is whole
            seen.add(sample.targets.shrink_map.tobytes())
        assert len(seen) > 10

    def test_it_keeps_the_scale_that_resize_gives(self):
        double = {"type": "IaaAugment", "args": [{"type": "Resize", "args": {"size": [2, 2]}}]}
        heights = [
            (self.sample(seed, more=[double]).image[:, :, 0] > 200).sum(axis=0).max()
            for seed in range(20)
        ]
        assert 28 <= np.median(heights) <= 54

    def test_ignored_words_are_not_looked_for(self):
        for seed in range(10):
            sample = self.sample(seed, ignore=[False, True, True])
            assert sample.targets.shrink_map.any()

    def test_an_image_without_words_or_smaller_than_the_crop(self):
        assert self.sample(1, boxes=()).image.shape == (128, 160, 3)
        sample = self.sample(0, boxes=((10, 10, 50, 30),), size=(100, 60))
        assert sample.image.shape == (128, 160, 3)

    def test_one_crop_of_either_kind(self):
        with pytest.raises(SpecError) as caught:
            compile_train([CROP, WORDS, *MAPS])
        assert caught.value.code == "misplaced-step"

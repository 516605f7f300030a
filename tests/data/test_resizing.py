"""The aspect of pictures: kept by fit, auto and tile; a word on a seam of tiles is found once."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ocdnet import findings
from ocdnet.data.preprocess import Preprocess
from ocdnet.data.resizing import Room, note_stretch
from ocdnet.data.tiles import Axis, tiled
from ocdnet.postprocess import DBPostprocessor

SIZE = (256, 160)
sides = st.integers(1, 900)


def white(width, height):
    return np.full((height, width, 3), 255, np.uint8)


@settings(deadline=None, max_examples=150)
@given(sides, sides, st.sampled_from(["fit", "auto", "tile"]), st.sampled_from([None, SIZE]))
def test_the_aspect_is_kept_and_the_network_takes_the_size(width, height, mode, fixed):
    room = Room(fixed, fixed) if fixed else None
    prepared = Preprocess(SIZE, resize=mode, room=room).prepare(white(width, height))
    inner, (h, w) = prepared.frame.size, prepared.image.shape[:2]
    assert (w % 32, h % 32) == (0, 0)
    assert fixed is None or (w, h) == fixed
    factor = max(inner) / max(width, height)
    for own, made in zip((width, height), inner, strict=True):
        assert made == pytest.approx(own * factor, abs=1.01)
    assert w * h <= 5 * SIZE[0] * SIZE[1] + 32 * 900
    assert prepared.image[: inner[1], : inner[0]].min() == 255
    assert prepared.image[inner[1] :].max(initial=0) == 0
    assert prepared.image[:, inner[0] :].max(initial=0) == 0
    corner = np.float32([[[0, 0], [inner[0], 0], list(inner), [0, inner[1]]]])
    (back,) = prepared.frame.to_image(list(corner))
    np.testing.assert_allclose(back[2], (width, height), atol=1e-3)


def test_fit_is_as_large_as_fits_and_auto_turns_with_the_picture():
    fit, auto = (Preprocess(SIZE, resize=mode) for mode in ("fit", "auto"))
    assert fit.prepare(white(1600, 500)).frame.size == (256, 80)
    assert fit.prepare(white(500, 1000)).frame.size == (80, 160)
    assert auto.prepare(white(500, 800)).frame.size == (160, 256)
    assert auto.prepare(white(800, 500)).frame.size == (256, 160)
    assert Preprocess((160, 256), resize="auto").prepare(white(800, 500)).frame.size == (256, 160)


def test_auto_keeps_a_long_page_legible_within_limits():
    auto = Preprocess(SIZE, resize="auto")
    assert auto.prepare(white(320, 1280)).frame.size == (160, 640)  # the short side decides
    assert auto.prepare(white(1600, 20)).frame.size == (1600, 20)  # and never enlarges
    width, height = auto.prepare(white(320, 32000)).frame.size
    assert width * height <= 4.1 * SIZE[0] * SIZE[1]


def test_a_picture_of_the_networks_size_is_untouched_in_every_mode():
    image = np.random.default_rng(0).integers(0, 256, (SIZE[1], SIZE[0], 3), np.uint8)
    for mode in ("stretch", "fit", "auto", "tile"):
        np.testing.assert_array_equal(Preprocess(SIZE, resize=mode).prepare(image).image, image)
    ((_, parts),) = tiled(Preprocess(SIZE, resize="tile"), image).tiles(9)
    np.testing.assert_array_equal(parts[0], image)


def test_a_changed_aspect_is_noted_from_one_and_a_half_on():
    with findings.collecting() as seen:
        for width in (160, 256, 380, 390, 900):
            frame = Preprocess(SIZE).prepare(white(width, 160)).frame
            note_stretch(frame.scale, None, "inference.resize")
    (row,) = seen.rows()
    assert (row.count, row.key) == (3, "inference.resize")


@settings(deadline=None, max_examples=60)
@given(st.integers(1, 60), st.integers(1, 60))
def test_tiles_cover_each_pixel_and_share_it(length, side):
    side = min(length, side)
    axis = Axis.of(32 * length, 32 * side)
    total = np.zeros(axis.length)
    for start, shares in zip(axis.starts, axis.shares, strict=True):
        assert 0 <= start <= axis.length - axis.side
        total[start : start + axis.side] += shares
    np.testing.assert_allclose(total, 1, atol=1e-5)
    gaps = np.diff(axis.starts)
    assert len(gaps) == 0 or (gaps > 0).all()
    if side > 6:
        assert len(gaps) == 0 or gaps.max() <= axis.side - 160  # an overlap between neighbours


def map_of(image):
    """What a perfect network says: dark is text. It sees one tile alone."""
    return (image[..., 0] < 128).astype(np.float32) * 0.9


@pytest.mark.parametrize("width", [1000, 777, 2003])
def test_a_word_on_a_seam_is_found_once_and_where_it_is(width):
    page = white(width, 1300)
    words = [(x, y) for y in range(30, 1200, 130) for x in range(40, width - 240, 300)]
    for x, y in words:
        page[y : y + 40, x : x + 200] = 0
    picture = tiled(Preprocess((512, 320), resize="tile"), page)
    count = 0
    for places, parts in picture.tiles(3):
        assert {part.shape for part in parts} == {(320, 512, 3)}
        for place, part in zip(places, parts, strict=True):
            picture.add(place, map_of(part))
            count += 1
    assert count > 4
    found = DBPostprocessor(unclip_ratio=0)(picture.probability, picture.frame).polygons
    corners = sorted(tuple(quad[0].round().astype(int).tolist()) for quad in found)
    assert len(corners) == len(words)
    np.testing.assert_allclose(corners, sorted(words), atol=2)


def test_a_narrow_picture_has_narrow_tiles_where_the_network_allows():
    tall = white(100, 2000)
    tall[::50] = 0
    loose = tiled(Preprocess(SIZE, resize="tile"), tall)
    fixed = tiled(Preprocess(SIZE, resize="tile", room=Room(SIZE, SIZE)), tall)
    assert next(loose.tiles(1))[1][0].shape == (160, 128, 3)
    assert next(fixed.tiles(1))[1][0].shape == (160, 256, 3)


def test_a_tile_of_one_colour_is_not_looked_at():
    """PP-OCR's detector answers an empty page with one large box."""
    page = white(250, 1000)
    page[40:60, 40:90] = 0
    picture = tiled(Preprocess(SIZE, resize="tile"), page)
    assert [place for places, _ in picture.tiles(1) for place in places] == [(0, 0), (1, 0)]


def test_an_enormous_picture_is_shrunk_before_it_is_cut():
    picture = tiled(Preprocess((1280, 736), resize="tile"), white(12000, 8000))
    width, height = picture.frame.size
    assert width * height <= 40.1e6
    assert picture.frame.scale == (12000 / width, 8000 / height)


def test_shrinking_does_not_drop_thin_strokes():
    lines = white(2560, 1600)
    lines[:, ::10] = 0
    prepared = Preprocess(SIZE, resize="fit").prepare(lines)
    assert np.ptp(prepared.image[:, :, 0].astype(int)) < 30  # an even grey, no moire
    assert cv2.mean(prepared.image)[0] == pytest.approx(229, abs=6)

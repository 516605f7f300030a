"""Post-processing against the reference's arrays, and that it finds what was drawn."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from golden.arrays import golden_case, golden_set
from ocdnet import findings
from ocdnet.config.shared import PostProcessing, PostProcessingArgs
from ocdnet.geometry import Frame
from ocdnet.postprocess import DBPostprocessor
from overlap import iou

REFERENCE_CUTS = 3
"""The case of more regions than max_candidates: the reference looks at those found first, we at the
largest. So it is compared without a limit, whose first regions are the reference's."""


def golden(case):
    assert int(golden_set("postprocess")["n"]) == 5
    found = golden_case("postprocess", case)
    args = json.loads(str(found["args"]))
    if case == REFERENCE_CUTS:
        args["max_candidates"] = 1000
    return found, found["map_f16"].astype(np.float32), args


def compared(case, ours, reference):
    """What to compare with the reference's regions, as many."""
    assert len(ours) > len(reference) if case == REFERENCE_CUTS else len(ours) == len(reference)
    return ours[: len(reference)]


@pytest.mark.parametrize("case", range(5))
def test_quads_equal_the_reference(case):
    """Up to which corner is first; the reference rounds to pixels, we leave that to the writer."""
    expected, probability, args = golden(case)
    found = DBPostprocessor(**args)(probability)
    quads = compared(case, [np.round(quad) for quad in found.polygons], expected["boxes"])
    for quad, box in zip(quads, expected["boxes"], strict=True):
        assert any(np.array_equal(np.roll(quad, shift, axis=0), box) for shift in range(4))
    scores = compared(case, found.scores, expected["scores"])
    np.testing.assert_allclose(scores, expected["scores"], atol=1e-6)


@pytest.mark.parametrize("case", range(5))
def test_polygons_equal_the_reference(case):
    expected, probability, args = golden(case)
    found = DBPostprocessor(**args, polygon=True)(probability)
    polygons = compared(case, found.polygons, expected["poly_len"])
    assert [len(p) for p in polygons] == expected["poly_len"].tolist()
    points = np.concatenate([np.zeros((0, 2)), *map(np.round, polygons)])
    np.testing.assert_array_equal(points, expected["poly_pts"])
    scores = compared(case, found.scores, expected["poly_scores"])
    np.testing.assert_allclose(scores, expected["poly_scores"], atol=1e-6)


def kernel_map(quad, shape=(240, 320), probability=0.9):
    drawn = np.zeros(shape, np.float32)
    cv2.fillPoly(drawn, [np.rint(quad).astype(np.int32)], probability)
    return drawn


def text_box(degrees, center=(160, 120), width=120, height=30):
    return cv2.boxPoints((center, (width, height), float(degrees)))


def grown(degrees):
    """Where a kernel of `text_box` must end up: each side moved out by A r / L."""
    margin = 120 * 30 * 1.5 / 300
    return text_box(degrees, width=120 + 2 * margin, height=30 + 2 * margin)


@pytest.mark.parametrize("polygon", [False, True])
@pytest.mark.parametrize("degrees", range(91))
def test_finds_a_text_at_every_angle(degrees, polygon):
    found = DBPostprocessor(polygon=polygon)(kernel_map(text_box(degrees)))
    assert len(found.polygons) == 1
    assert found.polygons[0].dtype == np.float32
    assert iou(found.polygons[0], grown(degrees)) > (0.87 if polygon else 0.9)
    assert found.scores.dtype == np.float32
    assert found.scores[0] == pytest.approx(0.9, abs=0.05)


@pytest.mark.parametrize("scale", [(1, 1), (4, 4), (2.5, 1.25), (0.5, 0.75)])
def test_boxes_are_in_pixels_of_the_original_image(scale):
    image_size = (round(320 * scale[0]), round(240 * scale[1]))
    found = DBPostprocessor()(kernel_map(text_box(20)), Frame((320, 240), scale, image_size))
    assert iou(found.polygons[0] / np.float32(scale), grown(20)) > 0.9


def test_the_padding_of_a_batch_is_not_looked_at():
    padded = np.full((256, 352), 0.9, np.float32)
    padded[:240, :320] = kernel_map(text_box(20))
    (alone,) = DBPostprocessor()(padded[:240, :320]).polygons
    (cut,) = DBPostprocessor()(padded, Frame((320, 240), (1, 1), (320, 240))).polygons
    np.testing.assert_array_equal(cut, alone)


def test_the_spec_describes_a_postprocessor():
    values = {"thresh": 0.2, "box_thresh": 0.6, "max_candidates": 7, "unclip_ratio": 2.0}
    section = PostProcessing(args=PostProcessingArgs(**values))
    made = DBPostprocessor.from_spec(section, polygon=True, section="train")
    assert made == DBPostprocessor(**values, polygon=True, section="train")


def test_corners_come_clockwise_from_the_top_left():
    quad = DBPostprocessor()(kernel_map(text_box(10))).polygons[0]
    np.testing.assert_allclose(quad, [[81, 67], [233, 94], [239, 173], [87, 146]], atol=40)
    top_left, top_right, bottom_right, bottom_left = quad
    assert top_left[0] < top_right[0]
    assert bottom_left[0] < bottom_right[0]
    assert top_left[1] < bottom_left[1]
    assert top_right[1] < bottom_right[1]


@pytest.mark.parametrize("polygon", [False, True])
def test_text_at_the_border_is_clipped_to_the_image(polygon):
    corner = np.float32([[0, 0], [100, 0], [100, 30], [0, 30]])
    probability = kernel_map(corner) + kernel_map(corner + np.float32([219, 209]))
    found = DBPostprocessor(polygon=polygon)(probability, Frame((320, 240), (2, 3), (640, 720)))
    points = np.concatenate(found.polygons)
    assert len(found.polygons) == 2
    assert points.min(axis=0).tolist() == [0, 0]
    assert points.max(axis=0).tolist() == [640, 720]


def test_thresholds_decide_what_is_text():
    probability = kernel_map(text_box(0), probability=0.5)
    assert len(DBPostprocessor(box_thresh=0.45)(probability).polygons) == 1
    assert DBPostprocessor(box_thresh=0.55)(probability).polygons == []
    assert DBPostprocessor(thresh=0.5, box_thresh=0)(probability).polygons == []  # strictly above


def test_specks_are_no_text():
    speck = np.zeros((64, 64), np.float32)
    speck[30:32, 20:40] = 1
    assert DBPostprocessor()(speck).polygons == []


def test_max_candidates_is_a_limit():
    many = np.zeros((240, 320), np.float32)
    for y in range(10, 230, 40):
        many[y : y + 12, 20:120] = 0.9
    assert len(DBPostprocessor()(many).polygons) == 6
    assert len(DBPostprocessor(max_candidates=2)(many).polygons) == 2


def test_above_max_candidates_the_smallest_are_cut_and_the_cut_is_noted():
    """OpenCV finds regions from the bottom up: cut in its order, the top of a page would vanish."""
    page = np.zeros((400, 320), np.float32)
    page[10:40, 20:220] = 0.9  # a headline at the top
    for y in range(60, 390, 30):
        page[y : y + 10, 20:120] = 0.9
    page[395:396, ::4] = 0.9  # specks: of no account
    limited = DBPostprocessor(max_candidates=4, section="inference")
    with findings.collecting() as seen:
        found = limited(page, image=Path("page.png"))
    tops = [polygon[:, 1].min() for polygon in found.polygons]
    assert tops == sorted(tops, reverse=True)  # in OpenCV's order, as without a limit
    assert max(tops) < 130  # of equal ones the upper are kept
    assert min(tops) < 10
    (row,) = seen.rows()
    assert (row.count, row.files) == (8, ["page.png"])
    assert row.key == "inference.post_processing.args.max_candidates"
    assert "4 largest" in row.text
    assert row.key in row.text


@pytest.mark.parametrize("stretched", [(1, 1), (2, 1), (1, 3), (0.4, 0.9)])
def test_corners_are_ordered_as_they_lie_in_the_image(stretched):
    """A stretch turns edges: the first one points nearest to +x in the image, not in the map."""
    size = round(320 * stretched[0]), round(240 * stretched[1])
    for degrees in range(0, 180, 3):
        probability = kernel_map(text_box(degrees, width=90, height=20))
        (quad,) = DBPostprocessor()(probability, Frame((320, 240), stretched, size)).polygons
        edges = np.roll(quad, -1, axis=0) - quad
        nearness = edges[:, 0] / np.linalg.norm(edges, axis=1)
        assert nearness[0] >= nearness.max() - 1e-4


def test_nothing_found_is_an_empty_result():
    found = DBPostprocessor()(np.zeros((32, 32), np.float32))
    assert found.polygons == []
    assert found.scores.shape == (0,)
    assert found.scores.dtype == np.float32


@settings(deadline=None, max_examples=40)
@given(st.integers(0, 2**32 - 1), st.sampled_from([1, 3, 7]), st.booleans(), st.floats(0.01, 0.99))
def test_noise_never_crashes(seed, smoothness, polygon, thresh):
    """Self-touching, ragged and one-pixel regions: in polygon mode they crash the reference."""
    noise = np.random.default_rng(seed).random((96, 128), np.float32)
    noise = cv2.GaussianBlur(noise, (smoothness, smoothness), 0)
    found = DBPostprocessor(thresh=thresh, box_thresh=0.1, polygon=polygon)(noise)
    assert len(found.polygons) == len(found.scores)
    for quad in found.polygons:
        assert np.isfinite(quad).all()
        assert quad.min() >= 0
        assert (quad.max(axis=0) <= (128, 96)).all()
        assert polygon or quad.shape == (4, 2)


def test_an_outline_that_grows_into_a_ring_is_passed_over_and_its_neighbour_found():
    probability = kernel_map(text_box(0))
    alone = DBPostprocessor(polygon=True)(probability).polygons
    ring = (60, 185), (40, 40), 0, 0, 350  # 7 pixels are missing; unclipping closes them
    cv2.ellipse(probability, *ring, 0.9, 6)
    found = DBPostprocessor(polygon=True)(probability).polygons
    assert len(alone) == len(found) == 1
    np.testing.assert_array_equal(found[0], alone[0])

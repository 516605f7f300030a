"""Geometry against facts of school geometry and, for overlaps and validity, against shapely."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from ocdnet import geometry
from overlap import iou, iou_matrix


def rectangle(center=(200.0, 150.0), width=100.0, height=30.0, degrees=0.0):
    """float32[4, 2]: corners clockwise on the screen from the unrotated top-left one."""
    angle = np.deg2rad(degrees)
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    corners = np.array([[-1, -1], [1, -1], [1, 1], [-1, 1]]) * (width / 2, height / 2)
    return (corners @ turn.T + center).astype(np.float32)


rectangles = st.builds(
    rectangle,
    center=st.tuples(st.floats(80, 160), st.floats(80, 160)),
    width=st.floats(8, 120),
    height=st.floats(8, 60),
    degrees=st.floats(0, 360),
)

SQUARE = np.float32([[0, 0], [10, 0], [10, 10], [0, 10]])
INVALID = {
    "two points": [[0, 0], [5, 5]],
    "no area": [[0, 0], [5, 5], [9, 9], [2, 2]],
    "bow tie": [[0, 0], [10, 10], [10, 0], [0, 10]],
    "one point": [[3, 3]] * 4,
    "spike": [[0, 0], [10, 0], [10, 10], [20, 10], [10, 10], [0, 10]],
    "touches itself": [[0, 0], [5, 5], [10, 0], [10, 10], [5, 5], [0, 10]],
    "star": [[0, -10], [6, 8], [-9, -3], [9, -3], [-6, 8]],
    "edge back along another": [[0, 0], [10, 0], [10, 10], [5, 0], [0, 10]],
    "not finite": [[0, 0], [np.inf, 0], [10, 10], [0, 10]],
    "nan": [[0, 0], [10, 0], [np.nan, 10], [0, 10]],
}
VALID = {
    "triangle": [[0, 0], [10, 0], [0, 10]],
    "concave": [[0, 0], [10, 0], [10, 10], [5, 1], [0, 10]],
    "counter-clockwise": [[0, 10], [10, 10], [10, 0], [0, 0]],
    "corner given twice": [[0, 0], [0, 0], [10, 0], [10, 10], [0, 10]],
    "corner on an edge": [[0, 0], [5, 0], [10, 0], [10, 10], [0, 10]],
}


def test_area_and_perimeter_of_a_rectangle():
    for degrees in (0, 17, 45, 90):
        quad = rectangle(degrees=degrees)
        assert geometry.area(quad) == pytest.approx(3000, rel=1e-5)
        assert geometry.area(quad[::-1]) == pytest.approx(3000, rel=1e-5)
        assert geometry.perimeter(quad) == pytest.approx(260, rel=1e-5)


def test_offset_distances_are_the_papers():
    quad = rectangle(width=100, height=30)
    assert geometry.shrink_distance(quad, 0.4) == pytest.approx(3000 * (1 - 0.16) / 260)
    assert geometry.unclip_distance(quad, 1.5) == pytest.approx(3000 * 1.5 / 260)
    flat = np.zeros((4, 2), np.float32)
    assert geometry.shrink_distance(flat, 0.4) == geometry.unclip_distance(flat, 1.5) == 0


@given(rectangles, st.floats(4, 20))
def test_offset_grows_and_shrinks(quad, distance):
    """By less than 3 pixels, rounding to whole pixels may outweigh the offset of a thin polygon."""
    (grown,) = geometry.offset(quad, distance)
    assert geometry.area(grown) > geometry.area(quad)
    shrunk = geometry.offset(quad, -distance)
    assert sum(map(geometry.area, shrunk)) < geometry.area(quad)


@given(rectangles)
def test_unclipping_what_was_shrunk_gives_the_text_back(quad):
    """A kernel grown by the distance it was shrunk by, give or take the rounding to pixels."""
    distance = geometry.shrink_distance(quad, 0.4)
    for kernel in geometry.offset(quad, -distance):
        if geometry.area(kernel) == 0:
            continue
        (grown,) = geometry.offset(kernel, distance)
        back, side = geometry.min_area_quad(grown)
        _, expected_side = geometry.min_area_quad(quad)
        assert side == pytest.approx(expected_side, abs=4)
        assert np.abs(back.mean(axis=0) - quad.mean(axis=0)).max() < 2


def test_too_much_shrinking_leaves_nothing():
    assert geometry.offset(rectangle(), -20) == []


@pytest.mark.parametrize("tenth", range(0, 1801, 5))
def test_order_quad_keeps_the_outline_at_every_angle(tenth):
    quad = rectangle(degrees=tenth / 10, width=100, height=10)
    for given_corners in (quad, quad[::-1], np.roll(quad, 2, axis=0)):
        ordered = geometry.order_quad(given_corners)
        assert sorted(map(tuple, ordered)) == sorted(map(tuple, quad))
        # clockwise on the screen, so no two corners crossed
        assert geometry.is_valid(ordered)
        assert geometry.area(ordered) == pytest.approx(1000, rel=1e-4)
        assert np.cross(np.r_[ordered[1] - ordered[0], 0], np.r_[ordered[2] - ordered[1], 0])[2] > 0


def test_order_quad_names_the_corners_of_level_text():
    for degrees in (-30, -10, 0, 10, 30):
        quad = rectangle(degrees=degrees)
        np.testing.assert_array_equal(geometry.order_quad(np.roll(quad, 3, axis=0)), quad)


@pytest.mark.parametrize("height", [2, 10, 49, 50, 100, 1000])
def test_the_first_corner_jumps_at_45_degrees_only(height):
    """The first edge points from -45 up to 45 degrees, of bars, squares and columns alike."""
    for tenth in range(-1800, 1800):
        quad = rectangle(degrees=tenth / 10, width=50, height=height)
        ordered = geometry.order_quad(np.roll(quad, tenth, axis=0)[:: tenth % 2 or -1])
        first = -((tenth + 450) // 900)  # the edge of that corner points tilt + 90 * first degrees
        np.testing.assert_array_equal(ordered, np.roll(quad, -first, axis=0))


def test_order_quad_of_a_diamond_keeps_every_corner():
    diamond = np.float32([[10, 0], [20, 10], [10, 20], [0, 10]])
    assert len({tuple(corner) for corner in geometry.order_quad(diamond)}) == 4


@given(rectangles)
def test_min_area_quad_of_a_rectangle_is_the_rectangle(quad):
    found, side = geometry.min_area_quad(quad)
    assert geometry.area(found) == pytest.approx(geometry.area(quad), rel=1e-3)
    sides = np.linalg.norm(np.roll(quad, -1, axis=0) - quad, axis=1)
    assert side == pytest.approx(sides.min(), rel=1e-3)


def test_min_area_quad_of_a_point_has_no_side():
    quad, side = geometry.min_area_quad(np.int32([[3, 4]]))
    assert quad.shape == (4, 2)
    assert side == 0


@pytest.mark.parametrize("points", INVALID.values(), ids=INVALID.keys())
def test_invalid_polygons(points):
    assert not geometry.is_valid(np.float32(points))


@pytest.mark.parametrize("points", VALID.values(), ids=VALID.keys())
def test_valid_polygons(points):
    assert geometry.is_valid(np.float32(points))


@given(st.lists(st.tuples(st.integers(0, 6), st.integers(0, 6)), min_size=3, max_size=9))
@example([(0, 0), (1, 0), (2, 0), (1, 0)])
def test_validity_is_shapelys(points):
    shapely = pytest.importorskip("shapely")
    polygon = shapely.Polygon(points)
    assert geometry.is_valid(np.float32(points)) == (polygon.is_valid and polygon.area > 0)


@given(st.lists(st.tuples(st.floats(0, 50), st.floats(0, 50)), min_size=3, max_size=7), rectangles)
def test_overlap_is_shapelys(points, quad):
    shapely = pytest.importorskip("shapely")
    first, second = np.float32(points) + 60, quad
    if not geometry.is_valid(first):
        return
    expected = shapely.Polygon(first).buffer(0).intersection(shapely.Polygon(second)).area
    # the grid moves an outline by 1/16384 pixel at most
    slack = (geometry.perimeter(first) + geometry.perimeter(second)) / 8192
    assert geometry.overlaps([first], [second])[1].sum() == pytest.approx(expected, abs=slack)


@given(rectangles, rectangles)
def test_iou_is_symmetric_and_bounded(first, second):
    value = iou(first, second)
    assert 0 <= value <= 1 + 1e-3
    assert value == pytest.approx(iou(second, first), abs=1e-9)
    assert iou(first, first) == pytest.approx(1, abs=1e-3)


def test_overlap_of_nearly_collinear_edges():
    """A pair of equal boxes, one moved along its own edge: OpenCV's area is off by 4 % here."""
    corners = "11.4404538 -16.98656041 19.42322173 -9.00379247 -7.60339176 18.02282101 "
    first = np.array((corners + "-15.58615969 10.04005308").split(), float).reshape(4, 2)
    _, areas = geometry.overlaps([first], [first + np.array([-2, 2])])
    assert areas == pytest.approx([399.563], abs=0.02)


def test_overlaps_know_touching_apart_and_half():
    shifted = SQUARE + np.float32([0, 5])
    matrix = iou_matrix([SQUARE, SQUARE + 100], [SQUARE, shifted, SQUARE + np.float32([10, 0])])
    np.testing.assert_allclose(matrix, [[1, 1 / 3, 0], [0, 0, 0]], atol=1e-12)
    half = np.float32([[0, 0], [10, 0], [10, 5], [0, 5]])
    assert iou(SQUARE, half) == 0.5
    for none in (geometry.overlaps([], [SQUARE]), geometry.overlaps([SQUARE], [])):
        assert [part.shape for part in none] == [(0, 2), (0,)]


def test_a_frame_brings_polygons_back_to_the_image():
    frame = geometry.Frame((64, 32), (2, 0.5), (128, 16))
    pixels = np.arange(96 * 64).reshape(64, 96)
    np.testing.assert_array_equal(frame.cut(pixels), pixels[:32, :64])
    triangle, beyond = np.float32([[0, 0], [10, 0], [0, 8]]), SQUARE + np.float32([60, 28])
    first, second = frame.to_image([triangle, beyond])
    assert first.tolist() == [[0, 0], [20, 0], [0, 4]]
    assert second.tolist() == [[120, 14], [128, 14], [128, 16], [120, 16]]
    assert first.dtype == np.float32
    assert frame.to_image([]) == []
    assert geometry.Frame.whole(pixels) == geometry.Frame((96, 64), (1, 1), (96, 64))


@pytest.mark.parametrize("comb", [False, True])
def test_validity_of_an_outline_of_many_points_takes_no_long(comb):
    import time

    count = np.arange(5_000)
    if comb:  # every edge's box meets every other one's
        x, y = count + np.where(count % 2, 5e3, 0), np.where(count % 2, 5e3, 0) - count
        points = np.stack([np.append(x, x[::-1] + 0.4), np.append(y, y[::-1] - 0.4)], axis=1)
    else:
        angles = 2 * np.pi * count / len(count)
        points = 300 * np.stack([np.cos(angles), np.sin(angles)], axis=1)
    start = time.perf_counter()
    geometry.is_valid(points)
    assert time.perf_counter() - start < 10

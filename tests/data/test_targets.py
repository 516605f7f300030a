"""Label maps against the reference's arrays, and what must hold for any polygon."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from golden.arrays import golden_case, golden_set
from ocdnet.data.targets import make_targets

BOX = np.float32([[20, 30], [100, 30], [100, 60], [20, 60]])


@pytest.mark.parametrize("case", range(6))
def test_maps_equal_the_reference(case):
    assert int(golden_set("label_maps")["n"]) == 6
    golden = golden_case("label_maps", case)
    targets = make_targets(golden["polys"], golden["ignore_in"], tuple(golden["size_hw"]))
    np.testing.assert_array_equal(targets.shrink_map, golden["shrink_map"])
    np.testing.assert_array_equal(targets.shrink_mask, golden["shrink_mask"])
    np.testing.assert_array_equal(targets.threshold_mask, golden["threshold_mask"])
    # The reference measures to the nearer end of an edge where the angle at the pixel is acute; and
    # rounding makes some of its pixels on an outline NaN, then 0.3: only those few are far off.
    far = np.abs(targets.threshold_map - golden["threshold_map"]) > 0.03
    assert far.sum() < 20
    assert (targets.threshold_map[far] > 0.69).all()


polygons = st.lists(
    st.tuples(st.floats(-40, 140), st.floats(-40, 140)), min_size=3, max_size=10
).map(np.float32)


@settings(deadline=None)
@given(st.lists(st.tuples(polygons, st.booleans()), max_size=4))
def test_maps_stay_in_range_for_any_polygons(texts):
    shapes = [polygon for polygon, _ in texts]
    before = [polygon.copy() for polygon in shapes]
    targets = make_targets(shapes, [ignored for _, ignored in texts], (96, 80))
    for name in ("shrink_map", "shrink_mask", "threshold_mask"):
        mask = getattr(targets, name)
        assert mask.dtype == np.uint8
        assert mask.shape == (96, 80)
        assert set(np.unique(mask)) <= {0, 1}
    assert targets.threshold_map.dtype == np.float32
    assert targets.threshold_map.min() >= np.float32(0.3)
    assert targets.threshold_map.max() <= np.float32(0.7) + 1e-6
    for polygon, original in zip(shapes, before, strict=True):
        np.testing.assert_array_equal(polygon, original)


def test_no_text_gives_background_that_counts():
    targets = make_targets([], [], (48, 64))
    assert not targets.shrink_map.any()
    assert targets.shrink_mask.all()
    assert (targets.threshold_map == np.float32(0.3)).all()
    assert not targets.threshold_mask.any()


def test_text_has_a_kernel_and_a_border():
    targets = make_targets([BOX], [False], (96, 128))
    distance = 80 * 30 * (1 - 0.4**2) / 220
    assert targets.shrink_map[45, 60] == 1
    assert targets.shrink_map[45, int(20 + distance) - 1] == 0
    assert targets.threshold_map[30, 60] == pytest.approx(0.7, abs=1e-6)
    halfway = targets.threshold_map[34, 60]
    assert halfway == pytest.approx(0.3 + 0.4 * (1 - 4 / distance), abs=1e-5)
    assert targets.threshold_mask[int(30 - distance) + 1, 60] == 1
    assert targets.threshold_mask[int(30 - distance) - 1, 60] == 0


def test_ignored_text_is_masked_and_has_no_border():
    targets = make_targets([BOX], [True], (96, 128))
    assert not targets.shrink_map.any()
    assert targets.shrink_mask[45, 60] == 0
    assert targets.shrink_mask[10, 10] == 1
    assert not targets.threshold_mask.any()


def test_text_below_the_minimum_size_is_masked():
    thin = np.float32([[20, 30], [100, 30], [100, 37], [20, 37]])
    assert make_targets([thin], [False], (96, 128)).shrink_mask[33, 60] == 0
    assert make_targets([thin], [False], (96, 128), min_text_size=5).shrink_map[33, 60] == 1


def test_curved_text_of_many_points_has_a_kernel_along_its_bend():
    angles = np.linspace(np.pi, 2 * np.pi, 8)
    arc = np.stack([np.cos(angles), np.sin(angles)], axis=1)
    curved = np.concatenate([arc * 60, arc[::-1] * 35]).astype(np.float32) + 80
    targets = make_targets([curved], [False], (96, 160))
    assert targets.shrink_map[80 - 47, 80] == 1
    assert targets.shrink_map[75, 80] == 0  # inside the bend, outside the text


def test_one_flag_for_each_polygon():
    with pytest.raises(ValueError, match="zip"):
        make_targets([BOX], [], (96, 128))

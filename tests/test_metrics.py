"""The ICDAR2015 metric against the reference's arrays, and its rules one by one."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from golden.arrays import golden_case, golden_set
from ocdnet.geometry import is_valid
from ocdnet.metrics import Counts, DetectionMetric, match_image
from overlap import iou_matrix


def box(x, y, width=40, height=20):
    return np.float32([[x, y], [x + width, y], [x + width, y + height], [x, y + height]])


def golden(case):
    """One case as the reference saw it: with ground truth truncated to whole pixels."""
    arrays, found = golden_set("metric"), golden_case("metric", case)
    assert int(arrays["n"]) == 8
    predictions = found["pred"][found["scores"] >= float(arrays["box_thresh"])]
    return found, predictions, found["gt"].astype(np.int64)


@pytest.mark.parametrize("case", range(8))
def test_an_image_matches_as_in_the_reference(case):
    expected, predictions, gt = golden(case)
    match = match_image(predictions, gt, expected["ignore"])
    assert match.counts == Counts(
        matched=int(expected["det_matched"]),
        gt_care=int(expected["gt_care"]),
        det_care=int(expected["det_care"]),
    )
    assert match.precision == float(expected["precision"])
    assert match.recall == float(expected["recall"])
    assert match.hmean == pytest.approx(float(expected["hmean"]), abs=1e-15)
    # the reference counts among valid polygons, we among all
    valid_gt = [i for i, p in enumerate(gt) if is_valid(p)]
    valid_det = [i for i, p in enumerate(predictions) if is_valid(p)]
    pairs = [[valid_gt.index(i), valid_det.index(j)] for i, j in match.pairs]
    assert pairs == expected["pairs"].tolist()
    assert [valid_gt.index(i) for i in match.gt_dontcare] == expected["gt_dontcare"].tolist()
    assert [valid_det.index(j) for j in match.det_dontcare] == expected["det_dontcare"].tolist()
    if valid_gt and valid_det:  # else the reference leaves the array unset
        overlaps = iou_matrix([gt[i] for i in valid_gt], [predictions[j] for j in valid_det])
        np.testing.assert_allclose(overlaps, expected["iou_mat"], atol=1e-5)


def test_pooled_counts_match_the_reference():
    """The reference's hmean has 1e-8 in the denominator, ours has not."""
    metric = DetectionMetric()
    for case in range(8):
        expected, predictions, gt = golden(case)
        metric.update(predictions, gt, expected["ignore"])
    arrays = golden_set("metric")
    assert metric.counts.precision == float(arrays["gathered_precision"])
    assert metric.counts.recall == float(arrays["gathered_recall"])
    assert metric.counts.hmean == pytest.approx(float(arrays["gathered_hmean"]), abs=1e-8)


def test_perfect_detections():
    texts = [box(0, 0), box(100, 50), box(0, 200)]
    match = match_image(texts[::-1], texts, [False] * 3)
    assert match.pairs == [(0, 2), (1, 1), (2, 0)]
    assert match.precision == match.recall == match.hmean == match.counts.hmean == 1


def test_half_an_overlap_is_not_enough():
    text = box(0, 0, 40, 20)
    half, more = box(0, 0, 20, 20), box(0, 0, 21, 20)
    assert match_image([half], [text], [False]).pairs == []
    assert match_image([more], [text], [False]).pairs == [(0, 0)]


def test_a_text_is_matched_once_and_duplicates_are_false():
    match = match_image([box(0, 0), box(1, 0)], [box(0, 0)], [False])
    assert match.pairs == [(0, 0)]
    assert match.precision == 0.5


def test_ground_truth_takes_the_first_detection_that_is_free():
    match = match_image([box(1, 0), box(0, 0)], [box(0, 0), box(1, 0)], [False, False])
    assert match.pairs == [(0, 0), (1, 1)]


def test_detections_on_ignored_text_do_not_count():
    match = match_image([box(0, 0), box(100, 0)], [box(0, 0, 80, 80), box(100, 0)], [True, False])
    assert match.counts == Counts(matched=1, gt_care=1, det_care=1)
    assert (match.gt_dontcare, match.det_dontcare) == ([0], [0])


def test_half_on_ignored_text_still_counts():
    match = match_image([box(0, 0, 40, 20)], [box(0, 0, 20, 20)], [True])
    assert match.det_dontcare == []
    assert match.counts.det_care == 1


BAD = {
    "bow tie": [[0, 0], [40, 20], [40, 0], [0, 20]],
    "no area": [[0, 0], [10, 0], [20, 0], [30, 0]],
    "two points": [[0, 0], [9, 9]],
}


@pytest.mark.parametrize("bad", BAD.values(), ids=BAD.keys())
def test_invalid_polygons_count_on_neither_side(bad):
    bad = np.float32(bad)
    match = match_image([bad, box(0, 0)], [bad, box(0, 0)], [False, False])
    assert match.counts == Counts(1, 1, 1)
    assert match.pairs == [(1, 1)]
    assert match_image([bad], [bad], [True]).gt_dontcare == []


def test_images_without_text():
    silent, noisy = match_image([], [], []), match_image([box(0, 0)], [], [])
    assert (silent.precision, silent.recall, silent.hmean) == (1, 1, 1)
    assert (noisy.precision, noisy.recall, noisy.hmean) == (0, 1, 0)
    assert noisy.counts == Counts(matched=0, gt_care=0, det_care=1)


def test_undefined_ratios_are_zero():
    assert (Counts().precision, Counts().recall, Counts().hmean) == (0, 0, 0)
    assert Counts(matched=0, gt_care=5, det_care=0).hmean == 0


def test_polygons_of_different_lengths_match_in_float_pixels():
    octagon = np.float32([[5, 0], [35, 0], [40, 5], [40, 15], [35, 20], [5, 20], [0, 15], [0, 5]])
    assert match_image([octagon + 0.25], [box(0, 0)], [False]).pairs == [(0, 0)]


def test_one_flag_for_each_polygon():
    with pytest.raises(ValueError, match="1 polygons but 2"):
        match_image([], [box(0, 0)], [False, True])


boxes = st.lists(
    st.builds(box, *[st.floats(0, 60)] * 2, st.floats(5, 40), st.floats(5, 40)), max_size=5
)


@given(boxes, boxes)
def test_swapping_sides_swaps_the_counts(first, second):
    """Without ignored text; which pairs are made may depend on the order."""
    there = match_image(first, second, [False] * len(second))
    back = match_image(second, first, [False] * len(first))
    assert (there.counts.gt_care, there.counts.det_care) == (len(second), len(first))
    assert (back.counts.gt_care, back.counts.det_care) == (len(first), len(second))
    for match in (there, back):
        assert len({i for i, _ in match.pairs}) == len({j for _, j in match.pairs})
        assert match.counts.matched == len(match.pairs) <= min(len(first), len(second))
    assert bool(there.pairs) == bool(back.pairs)


@given(st.lists(st.tuples(boxes, boxes), max_size=4))
def test_images_and_ranks_pool_to_the_same_counts(images):
    whole, ranks = DetectionMetric(), [DetectionMetric(), DetectionMetric()]
    for number, (predictions, gt) in enumerate(images):
        whole.update(predictions, gt, [False] * len(gt))
        ranks[number % 2].update(predictions, gt, [False] * len(gt))
    assert ranks[0].counts + ranks[1].counts == whole.counts

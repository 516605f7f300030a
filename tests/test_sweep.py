"""A sweep counts what each setting alone would, and rounded maps change next to nothing."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ocdnet.geometry import Frame
from ocdnet.map_cache import Kept
from ocdnet.metrics import Counts, match_image
from ocdnet.postprocess import DBPostprocessor
from ocdnet.sweep import Setting, grid, nine, swept

SPEC = Setting(False, 0.3, 1.5, 0.55)


def scene(seed):
    """A blurred map of words, as a network draws it, and labels that some of them miss."""
    rng = np.random.default_rng(seed)
    map_, texts = np.zeros((160, 320), np.float32), []
    for at in range(int(rng.integers(1, 9))):
        x, y = 20 + 75 * (at % 4), 30 + 60 * (at // 4)
        sides = (int(rng.integers(25, 60)), int(rng.integers(8, 22)))
        quad = cv2.boxPoints(((x + 20, y + 10), sides, float(rng.uniform(-20, 20))))
        cv2.fillPoly(map_, [quad.astype(np.int32)], float(rng.uniform(0.35, 1)))
        texts.append(cv2.boxPoints(((x + 20, y + 10), (sides[0] + 12, sides[1] + 12), 0.0)) * 2)
    noise = rng.random(map_.shape, np.float32) * 0.1
    frame = Frame((320, 160), (2.0, 2.0), (640, 320))
    return np.clip(cv2.GaussianBlur(map_, (7, 7), 2) + noise, 0, 1), frame, texts


@settings(max_examples=8, deadline=None)
@given(st.integers(0, 10**6), st.data())
def test_each_setting_counts_as_it_does_alone(seed, data):
    probability, frame, texts = scene(seed)
    ignore = np.arange(len(texts)) % 5 == 4
    tried = sorted({*grid(SPEC), *nine(SPEC)})
    counts = swept(probability, frame, texts, ignore, tried, 1000)
    chosen = data.draw(st.lists(st.sampled_from(tried), min_size=6, max_size=6))
    for one in [SPEC, *chosen]:
        alone = DBPostprocessor(one.thresh, one.box_thresh, 1000, one.unclip_ratio, one.polygon)
        expected = match_image(alone(probability, frame).polygons, texts, ignore).counts
        assert counts[tried.index(one)].tolist() == [expected.matched, expected.det_care]


def test_rounding_to_8_bits_changes_less_than_a_thousandth():
    totals = {True: Counts(), False: Counts()}
    for seed in range(120):
        probability, frame, texts = scene(seed)
        rounded = Kept.of(probability, frame, (0.3, 0.55, 1000, 1.5, False), []).probability
        for is_rounded, map_ in ((False, probability), (True, rounded)):
            found = DBPostprocessor()(map_, frame).polygons
            totals[is_rounded] += match_image(found, texts, [False] * len(texts)).counts
    assert totals[False].gt_care > 400
    assert totals[False].hmean > 0.3
    assert totals[True].hmean == pytest.approx(totals[False].hmean, abs=1e-3)


def test_what_is_tried_holds_what_the_spec_says():
    odd = Setting(True, 0.333, 1.77, 0.123)
    assert odd in grid(odd)
    assert [one.thresh for one in nine(odd)] == pytest.approx(np.arange(1, 10) / 10)
    assert {one[2:] for one in nine(odd)} == {odd[2:]}

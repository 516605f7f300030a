"""Kinds of mistakes: each by a picture that shows it, and of any picture one for each mistake."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ocdnet.diagnosis import diagnose
from ocdnet.metrics import Overlaps


def box(x, y=0.0, width=40.0, height=20.0):
    return np.float32([[x, y], [x + width, y], [x + width, y + height], [x, y + height]])


def told(texts, found, ignore=None, low=()):
    """Kinds of the misses and of the false alarms, by index; `low` are regions of low scores."""
    regions = [*found, *low]
    kept = np.arange(len(regions)) < len(found)
    overlaps = Overlaps.of(regions, texts, ignore or [False] * len(texts))
    result = diagnose(overlaps, kept, overlaps.match(kept))
    return tuple(
        {at: mistake.kind for at, mistake in group.items()}
        for group in (result.misses, result.false_alarms)
    )


WORDS = [box(0), box(50)]
IGNORED = [True, False]


@pytest.mark.parametrize(
    ("texts", "found", "ignore", "low", "misses", "false"),
    [
        (WORDS, WORDS, None, [], {}, {}),
        (WORDS, [box(0)], None, [], {1: "missed"}, {}),
        (WORDS, [box(0)], None, [box(52)], {1: "low_score"}, {}),
        (WORDS, [box(0), box(300)], None, [], {1: "missed"}, {1: "no_text"}),
        (WORDS, [box(0, width=90)], None, [], {0: "merged", 1: "merged"}, {0: "merged"}),
        ([box(0, width=80), box(85, width=20)], [box(0, width=105)], None, [], {1: "merged"}, {}),
        ([box(0)], [box(0, width=19), box(21, width=19)], None, [], {0: "split"},
         {0: "split", 1: "split"}),
        ([box(0)], [box(20)], None, [], {0: "loose"}, {0: "loose"}),
        ([box(0)], [box(0), box(1)], None, [], {}, {1: "duplicate"}),
        ([box(0)], [box(0), box(5, 5, 8, 8)], None, [], {}, {1: "duplicate"}),
        ([box(0), box(1)], [box(0)], None, [], {1: "duplicate"}, {}),
        (WORDS, [box(50), box(20)], IGNORED, [], {}, {1: "on_ignored"}),
        (WORDS, [box(50), box(2)], IGNORED, [], {}, {}),
        ([box(0, width=60), box(5)], [box(4)], IGNORED, [], {1: "on_ignored"}, {}),
    ],
)  # fmt: skip
def test_each_kind(texts, found, ignore, low, misses, false):
    assert told(texts, found, ignore, low) == (misses, false)


boxes = st.lists(
    st.builds(box, st.floats(0, 60), st.floats(0, 20), st.floats(5, 80), st.floats(5, 40)),
    max_size=6,
)


@given(boxes, boxes, boxes, st.lists(st.booleans(), min_size=6, max_size=6))
def test_every_mistake_has_one_kind(texts, found, low, ignore):
    ignore = ignore[: len(texts)]
    regions = [*found, *low]
    kept = np.arange(len(regions)) < len(found)
    overlaps = Overlaps.of(regions, texts, ignore)
    match = overlaps.match(kept)
    result = diagnose(overlaps, kept, match)
    matched_gt, matched_det = ({pair[side] for pair in match.pairs} for side in (0, 1))
    cared = {at for at in range(len(texts)) if not ignore[at]}
    assert set(result.misses) == cared - matched_gt
    assert len(result.misses) == match.counts.gt_care - match.counts.matched
    passed = set(match.det_dontcare)
    assert set(result.false_alarms) == set(range(len(found))) - matched_det - passed
    assert len(result.false_alarms) == match.counts.det_care - match.counts.matched
    # what was kept alone, without the regions of low scores, matches the same
    assert Overlaps.of(found, texts, ignore).match().pairs == match.pairs


@given(boxes, boxes, st.lists(st.floats(0, 1, width=32), min_size=6, max_size=6))
def test_counts_by_score_are_those_of_a_match(texts, found, scores):
    scores = np.float32(scores[: len(found)])
    overlaps = Overlaps.of(found, texts, [False] * len(texts))
    levels = [0.0, 0.3, 0.55, 1.0]
    for (matched, det_care), level in zip(overlaps.counts(scores, levels), levels, strict=True):
        counts = overlaps.match(scores >= level).counts
        assert (matched, det_care) == (counts.matched, counts.det_care)

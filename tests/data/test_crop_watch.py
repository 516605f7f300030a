"""When a run says that its crops are of no use."""

from __future__ import annotations

import logging

import pytest

from ocdnet.data.crop_watch import FIRST, CropWatch
from ocdnet.data.steps import compile_train
from ocdnet.data.transforms import CropResult

TRANSFORM = compile_train(
    [
        {"type": "EastRandomCropData", "args": {"size": [640, 320], "max_tries": 7}},
        {"type": "MakeBorderMap"},
        {"type": "MakeShrinkMap", "args": {"min_text_size": 9}},
    ]
)
GOOD, EMPTY = CropResult(True, True, True), CropResult(False, True, False)
USELESS, WHOLE = CropResult(True, True, False), CropResult(True, False, True)


@pytest.mark.parametrize(
    ("results", "counts"),
    [
        ([GOOD] * 5 + [USELESS] * 5, None),
        ([GOOD] * 4 + [USELESS] * 6, (10, 6, 0)),
        ([GOOD] * 2 + [USELESS] * 3 + [EMPTY] * 5, (5, 3, 0)),
        ([GOOD] * 3 + [WHOLE] * 7, (10, 0, 7)),
        ([EMPTY] * 10, None),
    ],
)
def test_it_warns_of_most_crops_with_counts(caplog, results, counts):
    watch = CropWatch(TRANSFORM)
    for result in results:
        watch.see([result], 10)
    told = [record.getMessage() for record in caplog.records]
    assert len(told) == (counts is not None)
    if counts:
        total, useless, whole = counts
        assert f"first {total} training crops of images with text, {useless} hold no" in told[0]
        assert f"min_text_size, 9 pixels, once scaled into 640x320), and {whole} are" in told[0]
        assert "max_tries, 7" in told[0]


def test_it_warns_once_and_early_in_a_long_epoch(caplog):
    watch = CropWatch(TRANSFORM)
    with caplog.at_level(logging.WARNING):
        for _ in range(FIRST):
            watch.see([USELESS], 10**6)
        assert len(caplog.records) == 1
        watch.see([USELESS] * FIRST, 10**6)
    assert len(caplog.records) == 1

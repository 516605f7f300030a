"""Several runs on one page: what is compared, what is said, and how sure it is."""

from __future__ import annotations

import random
import statistics

import numpy as np
import pytest

import results_folders as made
from ocdnet.errors import UsageError
from ocdnet.report.bootstrap import difference_interval
from ocdnet.report.comparison import write_comparison
from report.pages import WORDS, Page, explained, write_scene


def compared(folder, names):
    told = write_comparison([folder / name for name in names], folder / "page.html")
    return told, Page((folder / "page.html").read_text(encoding="utf-8"))


def two(folder, count=25, **changes):
    """B finds a word more in each picture."""
    images = [write_scene(folder / "img", f"<b>{n}.png") for n in range(count)]
    explained(folder / "a" / "evaluate", images)
    explained(folder / "b" / "evaluate", images, found=WORDS, **changes)


def test_the_interval_is_that_of_plain_resampling():
    pick = random.Random(5)
    first = [(pick.randint(0, 3), pick.randint(4, 9), pick.randint(3, 9)) for _ in range(40)]
    second = [(matched + pick.randint(0, 1), care, det + 1) for matched, care, det in first]

    def hmean(rows):  # as defined
        matched, care, det = map(sum, zip(*rows, strict=True))
        return statistics.harmonic_mean([matched / care, matched / det])

    draws = []
    for _ in range(4000):
        pairs = pick.choices(list(zip(first, second, strict=True)), k=40)
        draws.append(hmean(new for _, new in pairs) - hmean(old for old, _ in pairs))
    draws.sort()
    interval = difference_interval(np.array(first), np.array(second))
    assert interval == pytest.approx((draws[100], draws[3900]), abs=0.006)
    assert draws[3900] - draws[100] > 0.03


def test_scores_words_and_pictures_of_two_runs(tmp_path):
    two(tmp_path)
    told, seen = compared(tmp_path, "ab")
    (pair,) = told.pairs
    assert (pair.images, pair.hmean_first, pair.hmean_second) == (25, 0.5, 0.8)
    assert pair.interval == pytest.approx((0.3, 0.3))  # all are alike
    assert (pair.words.both, pair.words.only_first, pair.words.only_second) == (25, 0, 25)
    assert "B is better" in seen.text
    shown = [picture["alt"].partition(", ")[2] for picture in seen.all("img")]
    missed = "A: missed (low score), score 0.25, IoU 0.12, 16 px high"
    assert shown == [missed, "B: found, IoU 0.90, 16 px high"] * 4
    assert not seen.all("b")


def test_what_differs_is_said_and_the_common_compared(tmp_path):
    two(tmp_path, box_thresh=0.4)
    images = [tmp_path / "img" / f"<b>{n}.png" for n in range(20, 30)]
    keys = ("hmean", "precision", "recall", "matched", "gt_care", "det_care")
    rows = [{"image": str(one), **dict.fromkeys(keys, 1)} for one in images]
    explained(tmp_path / "c" / "evaluate", images, per_image=rows[:2] + rows[5:])
    explained(tmp_path / "d" / "evaluate", [tmp_path / f"<b>{n}.png" for n in range(25)])
    told, seen = compared(tmp_path, "abcd")
    said = " ".join(told.notes)
    assert "A was evaluated with box_thresh 0.6, B with 0.4" in said
    assert "A and C were evaluated on 25 and 10 pictures: compared on the 2" in said
    assert "A and C: 2 pictures had other labels" in said
    assert "A and D were evaluated on other paths" in said
    assert [(pair.second, pair.images) for pair in told.pairs] == [("B", 25), ("D", 25)]
    assert told.pairs[1].difference == 0
    assert "can't be told" in seen.text
    assert all(note in seen.text for note in told.notes)


def test_trainings_are_overlaid_and_settings_listed(tmp_path):
    for name, scores, end in (("a", (0.2, 0.6), "SUCCESS"), ("b", (0.0,), "interrupted")):
        folder = made.train(tmp_path / name / "train", scores=scores, end=end)
        (folder / "experiment.yaml").write_text(f"model: {{backbone: <i>{name}, k: 2026-01-01}}")
    told, seen = compared(tmp_path, "ab")
    assert [(one.key, *one.values) for one in told.settings] == [("model.backbone", "<i>a", "<i>b")]
    ends = [(run.training.state, run.training.best_hmean) for run in told.runs]
    assert ends == [("finished", 0.6), ("interrupted", None)]
    assert "A: from 0.2 to 0.6. B: from 0 to 0." in seen.heard
    assert "".join(told.notes).count("holds no finished evaluation") == 2
    assert not told.pairs and not seen.all("i")


@pytest.mark.parametrize(
    ("names", "code"),
    [("aa", "same-run"), (("b", "a", "a/evaluate"), "same-run"), ("abababa", "too-many-runs")],
)
def test_one_run_twice_and_too_many_are_errors(tmp_path, names, code):
    two(tmp_path, count=1)
    with pytest.raises(UsageError) as caught:
        compared(tmp_path, names)
    assert caught.value.code == code
    assert not (tmp_path / "page.html").exists()

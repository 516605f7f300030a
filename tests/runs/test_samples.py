"""The worst and the best images: which are kept, what is told of them, and reading them back."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ocdnet.data.annotations import Annotation
from ocdnet.metrics import match_image
from ocdnet.runs.samples import SAMPLES, Showcase, by_role, read_samples


def box(left, top=0):
    return np.float32([[left, top], [left + 10, top], [left + 10, top + 8], [left, top + 8]])


CROSSED = np.float32([[0, 50], [10, 58], [10, 50], [0, 58]])


def scene(name, texts=(), found=(), ignored=()):
    """What `Showcase.add` takes: boxes by their left edge."""
    polygons = [box(left) for left in (*texts, *ignored)]
    ignore = np.array([False] * len(texts) + [True] * len(ignored), bool)
    annotation = Annotation(Path(name), Path("label"), polygons, ignore, [""] * len(polygons))
    detections = [box(left) for left in found]
    return annotation, detections, match_image(detections, polygons, ignore)


def shown(tmp_path, *scenes, hmean=0.5, epoch=None):
    showcase = Showcase()
    for one in scenes:
        showcase.add(*one)
    showcase.write(tmp_path, hmean, epoch)
    return read_samples(tmp_path)


def test_every_polygon_plays_the_role_that_the_metric_gave_it():
    annotation, found, match = scene("a", texts=[0, 20], found=[1, 60, 81], ignored=[80, 100])
    roles = by_role(annotation, found, match)
    lefts = {role: [int(p[0, 0]) for p in group] for role, group in roles.items()}
    assert lefts == {
        "found": [0],
        "right": [1],
        "missed": [20],
        "false": [60],
        "ignored": [80, 100, 81],
    }


def test_a_polygon_that_crosses_itself_plays_none():
    annotation = Annotation(Path("a"), Path("l"), [CROSSED], np.array([False]), [""])
    match = match_image([CROSSED], [CROSSED], [False])
    assert not any(by_role(annotation, [CROSSED], match).values())


lefts = st.lists(st.integers(0, 12).map(lambda n: 20 * n), unique=True, max_size=6)


@given(lefts, lefts, lefts)
def test_the_roles_add_up_to_the_counts(texts, found, ignored):
    ignored = [left for left in ignored if left not in texts]
    annotation, detections, match = scene("a", texts, found, ignored)
    roles = {role: len(group) for role, group in by_role(annotation, detections, match).items()}
    counts = match.counts
    assert roles["found"] == roles["right"] == counts.matched
    assert roles["missed"] == counts.gt_care - counts.matched
    assert roles["false"] == counts.det_care - counts.matched
    assert sum(roles.values()) == len(texts) + len(ignored) + len(detections)


def test_the_worst_have_the_most_mistakes_and_the_best_the_most_found(tmp_path):
    right = [0, 20, 40]
    samples = shown(
        tmp_path,
        scene("empty"),
        scene("one missed", texts=[0]),
        scene("three missed", texts=right),
        scene("one found", texts=[0], found=[0]),
        scene("three found", texts=right, found=right),
        epoch=3,
    )
    assert [sample.image for sample in samples.worst] == ["three missed", "one missed"]
    assert [sample.image for sample in samples.best] == ["three found", "one found"]
    assert (samples.images, samples.hmean, samples.epoch) == (5, 0.5, 3)
    assert samples.worst[0].polygons["missed"][1] == [20, 0, 30, 0, 30, 8, 20, 8]


def test_of_many_only_a_few_are_kept_and_none_is_among_both(tmp_path):
    half = [scene(f"{n:03}", texts=[0, 20], found=[0]) for n in range(300)]
    samples = shown(tmp_path, *half)
    assert len(samples.worst) == 8
    assert len(samples.best) == 4
    assert not {s.image for s in samples.worst} & {s.image for s in samples.best}
    assert samples.images == 300


def test_parts_that_are_merged_are_the_whole(tmp_path):
    scenes = [scene(f"{n:02}", texts=[0, 20], found=[0, 20][: n % 3]) for n in range(40)]
    whole = shown(tmp_path, *scenes)
    parts = [Showcase(), Showcase()]
    for number, one in enumerate(scenes):
        parts[number % 2].add(*one)
    parts[0].merge(parts[1])
    parts[0].write(tmp_path, 0.5)
    assert read_samples(tmp_path) == whole


@pytest.mark.parametrize("text", ["", "[]", "{", '{"hmean": 1}', "null", "[" * 100_000])
def test_a_file_that_is_none_of_ours_is_none(tmp_path, text):
    (tmp_path / SAMPLES).write_text(text)
    assert read_samples(tmp_path) is None


@pytest.mark.parametrize(
    "polygon", [[1, 2], [1] * 7, [1e30] * 8, ["a"] * 8, [None] * 8, "corners", {}]
)
def test_polygons_that_are_none_are_refused(tmp_path, polygon):
    shown(tmp_path, scene("a", texts=[0]))
    content = json.loads((tmp_path / SAMPLES).read_text())
    assert read_samples(tmp_path).worst
    content["worst"][0]["polygons"]["missed"] = [polygon]
    (tmp_path / SAMPLES).write_text(json.dumps(content))
    assert read_samples(tmp_path) is None


def test_without_a_file_there_is_none(tmp_path):
    assert read_samples(tmp_path) is None
    (tmp_path / SAMPLES).mkdir()
    assert read_samples(tmp_path) is None

"""Pictures that nearly are the same are found, and others are not, whatever their number."""

import time

import cv2
import numpy as np

from ocdnet.data.alike import alike_groups, picture_hash
from ocdnet.data.scenes.scene import render_scene
from ocdnet.data.scenes.style import SceneStyle


def scenes(number):
    style = SceneStyle(size=(320, 240), fonts="bundled")
    return [render_scene(style, np.random.default_rng([7, n])).image for n in range(number)]


def hashes(pictures):
    greys = [cv2.cvtColor(picture, cv2.COLOR_BGR2GRAY) for picture in pictures]
    return np.array([picture_hash(grey) for grey in greys], np.uint64)


def test_copies_that_were_shrunk_lightened_and_compressed_are_found_and_no_others():
    first = scenes(12)
    copies = []
    for picture in first[:6]:
        small = cv2.convertScaleAbs(cv2.resize(picture, (200, 150)), alpha=0.9, beta=12)
        copies.append(cv2.imdecode(cv2.imencode(".jpg", small, [1, 60])[1], cv2.IMREAD_COLOR))
    groups = alike_groups(hashes([*first, *copies])).tolist()
    assert groups == [*range(12), *range(6)]


def test_a_plain_picture_is_like_no_other():
    assert picture_hash(np.full((50, 50), 200, np.uint8)) is None


def test_a_hundred_thousand_with_a_thousand_copies_of_one_take_seconds():
    rng = np.random.default_rng(0)
    many = rng.integers(0, 2**63, (100_000, 2), np.uint64)
    many[5000:6000] = many[0]
    many[7000] = many[1] ^ np.array([0b101, 1 << 40], np.uint64)
    start = time.perf_counter()
    groups = alike_groups(many).tolist()
    assert time.perf_counter() - start < 20
    assert [n for n, group in enumerate(groups) if group == 0] == [0, *range(5000, 6000)]
    assert groups[7000] == 1
    assert len(set(groups)) == 100_000 - 1001

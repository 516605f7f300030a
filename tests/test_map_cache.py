"""Maps that are kept: found again by content alone, whole or not at all, within a limit."""

from __future__ import annotations

import os

import numpy as np
import pytest

from ocdnet.geometry import Frame
from ocdnet.map_cache import Kept, MapCache, default_folder, digest_of

SETTINGS = (0.3, 0.55, 1000, 1.5, False)


def kept(seed=0, side=64):
    rng = np.random.default_rng(seed)
    probability = rng.random((side, side), np.float32)
    frame = Frame((side, side), (1.25, 0.5), (80, 32))
    return probability, Kept.of(
        probability, frame, SETTINGS, [np.float32([[0, 1], [2, 3], [4, 5.5]])]
    )


def test_a_map_comes_back(tmp_path):
    probability, one = kept()
    cache = MapCache(tmp_path, "network")
    cache.put(cache.key(b"picture"), one)
    back = cache.get(cache.key(b"picture"))
    assert np.abs(back.probability - probability).max() <= 0.5 / 255 + 1e-6
    assert (back.frame, back.settings) == (one.frame, SETTINGS)
    assert [polygon.tolist() for polygon in back.polygons] == [[[0, 1], [2, 3], [4, 5.5]]]


def test_another_network_or_picture_has_no_map(tmp_path):
    cache = MapCache(tmp_path, "network")
    cache.put(cache.key(b"picture"), kept()[1])
    other = MapCache(tmp_path, "another")
    assert other.get(other.key(b"picture")) is None
    assert cache.get(cache.key(b"another")) is None


def test_a_picture_is_known_by_its_content(tmp_path):
    first, second, changed = (tmp_path / name for name in "abc")
    first.write_bytes(b"12345678")
    second.write_bytes(b"12345678")
    changed.write_bytes(b"12345679")
    os.utime(changed, (first.stat().st_mtime,) * 2)
    assert digest_of(first) == digest_of(second) != digest_of(changed)


@pytest.mark.parametrize(
    "spoil", [lambda b: b[: len(b) // 2], lambda b: b"", lambda b: b"{}\n" + b]
)
def test_a_damaged_map_is_none(tmp_path, spoil):
    cache = MapCache(tmp_path, "network")
    cache.put(cache.key(b"picture"), kept()[1])
    (path,) = tmp_path.glob("*/*.map")
    path.write_bytes(spoil(path.read_bytes()))
    assert cache.get(cache.key(b"picture")) is None
    assert not path.exists()


def test_the_oldest_go_first(tmp_path):
    size = len(kept()[1].to_bytes())
    cache = MapCache(tmp_path, "network", limit=3 * size + size // 2)
    keys = [cache.key(bytes([number])) for number in range(4)]
    for age, key in enumerate(keys):
        cache.put(key, kept(age)[1])
        path = next(tmp_path.glob(f"*/{key}.map"))
        os.utime(path, (1000 + age, 1000 + age))
    assert cache.get(keys[0]) is not None  # used just now: not the oldest any more
    cache.trim()
    assert [cache.has(key) for key in keys] == [True, False, True, True]


def test_a_pass_keeps_no_more_than_the_limit(tmp_path):
    cache = MapCache(tmp_path, "network", limit=1)
    for number in range(5):
        cache.put(cache.key(bytes([number])), kept(number)[1])
    assert len(list(tmp_path.glob("*/*.map"))) == 1


def test_where_nothing_can_be_written_nothing_is_kept(tmp_path):
    (tmp_path / "file").write_text("")
    cache = MapCache(tmp_path / "file", "network")
    cache.put(cache.key(b"picture"), kept()[1])
    assert not cache.usable()
    assert cache.get(cache.key(b"picture")) is None


def test_the_folder_can_be_chosen(monkeypatch, tmp_path):
    monkeypatch.setenv("OCDNET_MAPS", "off")
    assert default_folder() is None
    monkeypatch.setenv("OCDNET_MAPS", "")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert default_folder() == tmp_path / "ocdnet" / "maps"

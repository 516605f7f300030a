"""A picture from the web: whole, bounded, by http(s) alone, and errors that name the address."""

from __future__ import annotations

import socket

import cv2
import numpy as np
import pytest

from loopback import serving
from ocdnet.data.remote import download, file_name, is_url
from ocdnet.errors import DataError

PICTURE = cv2.imencode(".png", np.random.default_rng(0).integers(0, 255, (90, 90, 3)))[1].tobytes()


@pytest.fixture(scope="module")
def site():
    with serving(PICTURE) as address:
        yield address


@pytest.mark.parametrize("name", ["photo.png", "away", "photo.png?size=large"])
def test_a_picture_is_fetched_as_it_is(site, tmp_path, name):
    download(f"{site}/{name}", tmp_path / "x", most=len(PICTURE))
    assert (tmp_path / "x").read_bytes() == PICTURE


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("gone.png", "404"),
        ("page.html", "text/html"),
        ("cut.png", "9 bytes before its end"),
        ("file", "neither|no http"),
        ("loop", "302"),
    ],
)
def test_what_is_no_whole_picture_is_refused(site, tmp_path, name, why):
    with pytest.raises(DataError, match=why) as raised:
        download(f"{site}/{name}", tmp_path / "x", most=1 << 20)
    assert f"{site}/{name}" in raised.value.message


def test_not_a_byte_too_many(site, tmp_path):
    with pytest.raises(DataError) as raised:
        download(f"{site}/photo.png", tmp_path / "x", most=len(PICTURE) - 1)
    assert raised.value.code == "image-too-large"


@pytest.mark.parametrize(
    "url", ["http://", "http://[x/a.png", "http://me:secret@127.0.0.1:1/a.png", "file:///etc/hosts"]
)
def test_bad_addresses(tmp_path, url):
    with pytest.raises(DataError) as raised:
        download(url, tmp_path / "x", most=1 << 20)
    assert "secret" not in str(raised.value)
    assert not (tmp_path / "x").exists()


def test_a_server_that_is_not_there_or_silent(tmp_path, monkeypatch):
    monkeypatch.setattr("ocdnet.data.remote.SILENCE_SECONDS", 0.2)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}/a.png"
        with pytest.raises(DataError, match="timed out"):
            download(url, tmp_path / "x", most=1 << 20)
    with pytest.raises(DataError, match="refused"):
        download(url, tmp_path / "x", most=1 << 20)


def test_names():
    assert is_url("HTTPS://a.b/c.png")
    assert not is_url("photos/http.png")
    assert file_name("http://a.b/x/my%20sign.jpg?w=3#top") == "my sign.jpg"
    assert file_name("http://a.b") == file_name("http://a.b/..") == "download"
    assert "/" not in file_name("http://a.b/..%2f..%2fetc%2fpasswd")

"""What a client is answered."""

from __future__ import annotations

import json
import re
import shlex
import shutil
import subprocess
import threading
from pathlib import Path

import cv2
import numpy as np
import pytest

from ocdnet import Detector
from ocdnet.errors import DataError
from ocdnet.serve.limits import Limits
from serve.serving import SIDE, Network, form, picture, serving, until
from tiny_onnx import write_detector

LIMITS = Limits(body_mb=1, megapixels=1, queue=4)


@pytest.fixture(scope="module")
def client():
    with serving(Network().detector, limits=LIMITS) as (client, server):
        until(lambda: server.ready)
        yield client


def test_a_picture_is_answered_as_the_detector_finds_it(tmp_path):
    model = write_detector(tmp_path / "light.onnx")
    detector = Detector(model, size=(SIDE, SIDE))
    with serving(lambda: detector, workers=2) as (client, server):
        until(lambda: server.ready)
        answer = client.detect(picture(2))
    expected = Detector(model, size=(SIDE, SIDE))(picture(2)).to_dict()
    assert (answer.status, answer.json) == (200, expected)
    assert len(answer.json["regions"]) == 2


def test_several_files_are_a_list_in_their_order_whatever_one_is(client):
    names = ["a.png", "../../etc/passwd", "\U0001f600.jpg"]
    files = [picture(1), b"no picture", picture(2, suffix=".jpg")]
    answer = client.form(list(zip(names, files, strict=True)))
    assert answer.status == 200
    assert [record["image"] for record in answer.json] == names
    assert [len(record["regions"]) for record in answer.json] == [1, 0, 2]
    assert [record.get("error", {}).get("code") for record in answer.json] == [
        None,
        "unreadable-image",
        None,
    ]


def many_pixels():
    """A megabyte of pixels and more in a few kilobytes."""
    return cv2.imencode(".png", np.zeros((1001, 1000), np.uint8))[1].tobytes()


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        (b"", 422, "no-picture"),
        (b"some words", 415, "unreadable-image"),
        (picture(ground=90)[:90], 422, "unreadable-image"),
        (many_pixels(), 413, "image-too-large"),
        (bytes(10**6 + 1), 413, "body-too-large"),
        (iter([bytes(10**6), bytes(10**6), bytes(10**6)]), 413, "body-too-large"),
    ],
)
def test_what_is_no_picture_is_refused_with_the_reason(client, body, status, code):
    answer = client.detect(body)
    assert answer.status == status
    error = answer.json["error"]
    assert list(error) == ["code", "message", "got", "expected", "hint"]
    assert error["code"] == code
    assert client.detect(picture()).status == 200


@pytest.mark.parametrize(
    ("body", "kind", "status", "code"),
    [
        (form([("a", picture())] * 5)[0], "multipart/form-data; boundary=x", 413, "bad-form"),
        (form([("a", picture())])[0], "multipart/form-data", 422, "bad-form"),
        (b"--x\r\nnothing", "multipart/form-data; boundary=x", 422, None),
        (b"--x--\r\n", "multipart/form-data; boundary=x", 422, "no-picture"),
    ],
)
def test_forms_that_are_none_are_refused(client, body, kind, status, code):
    answer = client.detect(body, content_type=kind)
    assert answer.status == status
    assert answer.json["error"]["code"] == (code or answer.json["error"]["code"])


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/nothing", 404),
        ("GET", "/../limits.py", 404),
        ("GET", "/%2e%2e/limits.py", 404),
        ("GET", "//etc/passwd", 404),
        ("GET", "/detect", 405),
        ("POST", "/health", 405),
    ],
)
def test_other_paths_and_methods_are_json_errors(client, method, path, status):
    answer = client.send(method, path)
    assert answer.status == status
    assert answer.json["error"]["code"] in ("no-such-path", "wrong-method")


def test_regions_come_in_reading_order_where_it_is_asked_for(client):
    def tops(query):
        answer = client.send("POST", f"/detect{query}", picture(3))
        return [record["polygon"][0][1] for record in answer.json["regions"]]

    assert tops("?reading_order=true") == sorted(tops(""))
    assert tops("") == tops("?reading_order=false") != sorted(tops(""))
    for query in ("?reading_order=perhaps", "?tresh=0.1"):
        answer = client.send("POST", f"/detect{query}", picture())
        assert (answer.status, answer.json["error"]["code"]) == (422, "bad-query")


def test_pages_of_other_sites_are_refused_and_told_nothing(client):
    answer = client.detect(picture(), sec_fetch_site="cross-site", origin="http://other.example")
    assert answer.status == 403
    own = client.detect(picture(), sec_fetch_site="same-origin", origin="http://other.example")
    assert own.status == 200
    assert not [name for name in own.headers if name.lower().startswith("access-control")]


def test_the_page_loads_files_of_this_server_alone(client):
    page = client.get("/")
    assert page.headers["Content-Type"].startswith("text/html")
    assert "default-src 'none'" in page.headers["Content-Security-Policy"]
    text = page.body.decode()
    assert not re.search(r"<(script|style)[^>]*>[^<]|\son\w+=|style=", text)  # the policy's own
    files = re.findall(r'(?:src|href)="([^"#]+)"', text)
    assert len(files) == 4
    for name in files:
        answer = client.get(f"/{name}")
        assert answer.status == 200
        assert set(re.findall(rb"https?://[^/\"]+", answer.body)) <= {b"http://www.w3.org"}


def test_a_loading_server_says_so(tmp_path):
    go = threading.Event()

    def slowly():
        go.wait(20)
        return Network().detector()

    with serving(slowly) as (client, server):
        until(lambda: client.get("/health").status == 503)
        assert client.get("/health").json["status"] == "loading"
        early = client.detect(picture())
        assert (early.status, early.json["error"]["code"]) == (503, "loading")
        assert early.headers["Retry-After"] == "1"
        assert client.value("ocdnet_ready") == 0
        go.set()
        until(lambda: server.ready)
        health = client.get("/health")
        assert (health.status, health.json["status"]) == (200, "ready")
        assert health.json["model"] == "light.onnx"  # no folder of ours
        assert client.value("ocdnet_ready") == 1


@pytest.mark.skipif(shutil.which("curl") is None, reason="needs curl")
def test_the_tutorials_curl_waits_for_a_loading_server_and_prints_its_answer_alone(tmp_path):
    page = (Path(__file__).resolve().parents[2] / "docs/tutorial.md").read_text(encoding="utf-8")
    command = re.search(r"^(curl [^\n]+\\\n.*:8000/detect)$", page, re.MULTILINE)[1]
    go = threading.Event()

    def slowly():
        go.wait(20)
        return Network().detector()

    (tmp_path / "photos").mkdir()
    (tmp_path / "photos/photo_03.jpg").write_bytes(picture(2))
    with serving(slowly) as (client, server):
        line = command.replace("\\\n", " ").replace("http://127.0.0.1:8000", server.url)
        curl = subprocess.Popen(shlex.split(line), cwd=tmp_path, stdout=subprocess.PIPE, text=True)
        until(lambda: client.value('ocdnet_requests_total{status="503"}'))
        go.set()
        printed, _ = curl.communicate(timeout=30)
    assert curl.returncode == 0
    assert len(json.loads(printed)["regions"]) == 2


def test_a_model_that_does_not_open_ends_the_server(tmp_path):
    with (
        pytest.raises(DataError, match=r"absent\.onnx"),
        serving(lambda: Detector(tmp_path / "absent.onnx")),
    ):
        pass


def test_metrics_count_what_was_answered():
    with serving(Network().detector) as (client, server):
        until(lambda: server.ready)
        client.detect(picture(2))
        client.form([("a", picture(1)), ("b", b"none")])
        client.detect(b"none")
        text = client.get("/metrics").body.decode()
    rows = dict(x.rsplit(" ", 1) for x in text.splitlines() if not x.startswith("#"))
    assert rows['ocdnet_requests_total{status="200"}'] == "2"
    assert rows['ocdnet_requests_total{status="415"}'] == "1"
    assert rows['ocdnet_pictures_total{outcome="done"}'] == "2"
    assert rows['ocdnet_pictures_total{outcome="unreadable"}'] == "2"
    assert rows["ocdnet_regions_total"] == "3"
    assert rows["ocdnet_pictures_held"] == "0"
    ends = [int(value) for name, value in rows.items() if "_bucket" in name]
    assert ends == sorted(ends)
    assert ends[-1] == int(rows["ocdnet_request_seconds_count"]) == 3
    kinds = re.findall(r"^# TYPE (\S+) (\w+)$", text, re.MULTILINE)
    for name in rows:
        assert any(re.match(rf"{kind}(_bucket|_sum|_count)?(\{{|$)", name) for kind, _ in kinds)

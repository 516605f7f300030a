"""More than a server can do, clients that leave or dawdle, and its end."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import cv2
import numpy as np
import pytest

from ocdnet.errors import EnvironmentFault, UsageError
from ocdnet.serve.limits import Limits
from ocdnet.serve.server import Server
from serve.serving import Client, Network, picture, serving, until
from tiny_onnx import write_detector


@pytest.fixture
def network():
    return Network()


def test_a_flood_is_answered_503_and_leaves_nothing_behind(network):
    with serving(network.detector, limits=Limits(queue=2)) as (client, server):
        until(lambda: server.ready)
        network.open.clear()
        with ThreadPoolExecutor(1) as pool:
            flood = pool.submit(client.at_once, 30, picture())
            until(lambda: client.value('ocdnet_requests_total{status="503"}') == 28)
            assert client.value("ocdnet_pictures_held") == 2
            network.open.set()
            answers = flood.result()
        refused = [answer for answer in answers if answer.status == 503]
        assert len(refused) == 28
        assert {answer.json["error"]["code"] for answer in refused} == {"busy"}
        assert all(1 <= int(answer.headers["Retry-After"]) <= 60 for answer in refused)
        assert [len(a.json["regions"]) for a in answers if a.status == 200] == [1, 1]
        assert client.value("ocdnet_pictures_held") == 0
        assert client.detect(picture()).status == 200
        # A form takes a place for each of its files, or none.
        assert client.form([("a", picture())] * 2).status == 200


def test_pictures_that_wait_go_through_the_network_together(network):
    with serving(network.detector, batch=3) as (client, server), ThreadPoolExecutor(1) as pool:
        until(lambda: server.ready)
        network.open.clear()
        first = pool.submit(client.detect, picture())
        until(lambda: network.batches == [1])
        with ThreadPoolExecutor(1) as others:
            rest = others.submit(client.at_once, 5, picture())
            until(lambda: client.value("ocdnet_pictures_held") == 6)
            network.open.set()
            assert [answer.status for answer in [first.result(), *rest.result()]] == [200] * 6
    assert network.batches == [1, 3, 2]


def test_a_picture_that_breaks_the_network_breaks_no_other(network):
    with serving(network.detector, batch=4) as (client, server), ThreadPoolExecutor(4) as pool:
        until(lambda: server.ready)
        bad = picture(ground=200)
        network.poison = (200 - 114.45) / 255 + 0.45  # what the network makes of the ground
        network.open.clear()
        first = pool.submit(client.detect, picture())
        until(lambda: network.batches == [1])
        form = pool.submit(client.form, [("a", picture()), ("bad", bad), ("c", picture())])
        until(lambda: client.value("ocdnet_pictures_held") == 4)
        network.open.set()
        assert first.result().status == 200
        rows = form.result().json
        assert [len(row["regions"]) for row in rows] == [1, 0, 1]
        assert rows[1]["error"]["code"] == "detection-failed"
        alone = client.detect(bad)
        assert (alone.status, alone.json["error"]["code"]) == (500, "detection-failed")
        assert "poison" not in alone.body.decode()
        assert client.detect(picture()).status == 200


def test_a_request_that_takes_too_long_is_answered_504(network):
    with serving(network.detector, limits=Limits(queue=2, timeout=0.3)) as (client, server):
        until(lambda: server.ready)
        network.open.clear()
        late = client.detect(picture())
        assert (late.status, late.json["error"]["code"]) == (504, "timeout")
        assert client.value("ocdnet_pictures_held") == 1  # it is in the network still
        network.open.set()
        until(lambda: client.value("ocdnet_pictures_held") == 0)
        # A body that never comes takes its place no longer than that.
        slow = client.connection()
        slow.putrequest("POST", "/detect")
        slow.putheader("Content-Length", "1000")
        slow.endheaders(b"begins")
        assert slow.getresponse().status == 504
        assert client.value("ocdnet_pictures_held") == 0
        assert client.detect(picture()).status == 200


def test_who_leaves_costs_nothing_more(network):
    with serving(network.detector) as (client, server), ThreadPoolExecutor(1) as pool:
        until(lambda: server.ready)
        network.open.clear()
        first = pool.submit(client.detect, picture())
        until(lambda: network.batches == [1])
        leaver = client.connection()
        leaver.request("POST", "/detect", picture())
        until(lambda: client.value("ocdnet_pictures_held") == 2)
        leaver.close()
        until(lambda: client.value('ocdnet_requests_total{status="499"}') == 1)
        network.open.set()
        assert first.result().status == 200
        until(lambda: client.value("ocdnet_pictures_held") == 0)
        assert network.batches == [1]


def test_a_taken_port_and_a_wrong_host_are_said_at_once(network):
    with serving(network.detector) as (client, _):
        port = int(client.host.rpartition(":")[2])
        with pytest.raises(EnvironmentFault, match=f"Port {port} is taken"):
            Server("m", network.detector, port=port)
    with pytest.raises(UsageError, match="no address of this machine"):
        Server("m", network.detector, host="192.0.2.1")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it_when_the_last_request_is_answered(tmp_path, number):
    model = write_detector(tmp_path / "light.onnx")
    line = [sys.executable, "-m", "ocdnet.cli.main", "serve", str(model), "--port", "0"]
    runtime = str(Path(__file__).parents[2] / "runtime")
    process = subprocess.Popen(
        line,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"PYTHONPATH": runtime},
    )
    said = process.stderr.readline()
    client = Client(said.split(" at ")[1].split()[0])
    image = cv2.imencode(".png", np.zeros((400, 400), np.uint8))[1].tobytes()
    connection = client.connection()
    connection.putrequest("POST", "/detect")
    connection.putheader("Content-Length", str(len(image)))
    connection.endheaders(image[:50])
    until(lambda: client.value("ocdnet_pictures_held") == 1)
    process.send_signal(number)
    time.sleep(0.3)
    connection.send(image[50:])
    response = connection.getresponse()
    assert response.status == 200
    assert json.loads(response.read())["regions"] == []
    out, err = process.communicate(timeout=30)
    assert process.returncode == 0, err
    document = json.loads(out)
    assert document["requests"] == {"200": 1}
    assert document["pictures"] == 1
    assert "Traceback" not in err

"""What the page of `ocdnet view` is told."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

from ocdnet import Detector
from ocdnet.errors import DataError
from ocdnet.view.given import open_set
from ocdnet.view.model import Model
from serve.serving import SIDE, Client, picture
from tiny_onnx import write_detector
from view.viewing import BAR, WORD, viewing, write_results, write_set


def names(client, query=""):
    return [row[1] for row in client.get(f"/list?{query}").json["rows"]]


def test_pictures_are_filtered_listed_and_stepped_through(tmp_path):
    labels = {str(n): f"{WORD},word\n" for n in range(12)}
    labels |= {"2": None, "3": "", "5": f"{WORD},###\n", "7": "8,6,50,word\n"}
    labels["11"] = "8,6,500,6,500,14,8,14,far\n"
    with viewing(write_set(tmp_path, labels)) as client:
        kinds = ["no-labels", "no-text", "ignored", "doubtful", "bad-labels"]
        marks = {one["mark"]: one["pictures"] for one in client.get("/set").json["marks"]}
        assert marks == dict.fromkeys(kinds, 1)
        shown = [names(client, f"mark={kind}") for kind in kinds]
        assert shown == [["2.png"], ["3.png"], ["5.png"], ["11.png"], ["7.png"]]
        window = client.get("/list?start=9&count=1&of=10").json
        assert window == {"total": 12, "start": 9, "rows": [[9, "9.png", 0]], "place": 10}
        assert names(client, "name=1.P") == ["1.png", "11.png"]
        steps = ("mark=ignored&of=0", "mark=ignored&of=5", "of=5&step=-1")
        assert [client.get(f"/next?{step}").json["number"] for step in steps] == [5, None, 4]
        assert "beyond their picture" in client.get("/details/11").json["doubts"][0]
        assert "field 4" in client.get("/details/7").json["error"]


def test_labels_lie_on_words_of_a_turned_photograph(tmp_path):
    pillow = pytest.importorskip("PIL.Image")
    root = write_set(tmp_path, {"a": f"{WORD},word\n"})
    upright = cv2.imdecode(np.frombuffer(picture(), np.uint8), 0)[:, :56]
    exif = pillow.Exif()
    exif[0x0112] = 6
    pillow.fromarray(np.rot90(upright)).save(root / "img/a.png", exif=exif)
    with viewing(root) as client:
        answer, details = client.get("/picture/0"), client.get("/details/0").json
    assert answer.headers["X-Size"] == "56x64"
    image = cv2.imdecode(np.frombuffer(answer.body, np.uint8), 0)
    (label,) = details["labels"]
    assert (label["polygon"], label["text"], details["doubts"]) == (BAR, "word", [])
    assert image[8:13, 10:49].min() > np.median(image) + 150


def test_an_evaluation_shows_kinds_of_mistakes_worst_first(tmp_path):
    write_set(tmp_path / "set", dict.fromkeys("ab"))
    write_results(tmp_path, ["a", "b", "gone"])
    with viewing(tmp_path) as client:
        assert names(client, "mark=missed:merged&order=worst") == ["gone.png", "b.png"]
        seen = client.get("/details/1").json
        roles = [one["role"] for one in seen["labels"] + seen["regions"]]
        assert roles == ["found", "missed", "right"]
        assert client.get("/picture/2").json["error"]["code"] == "no-such-picture"


def test_a_model_is_compared_with_labels(tmp_path):
    model = write_detector(tmp_path / "light.onnx")
    labels = "3,1,55,1,55,19,3,19,word\n8,40,50,40,50,50,8,50,gone\n"
    root = write_set(tmp_path / "set", {"a": labels, "b": None})
    looks = Model("light", lambda: Detector(model, size=(SIDE, SIDE)))
    with viewing(root, model=looks) as client:
        found, plain = client.get("/found/0").json, client.get("/found/1").json
        seen = cv2.imdecode(np.frombuffer(client.get("/map/0").body, np.uint8), -1)
    assert [x["text"] for x in found["labels"]] == ["word", "gone"]
    shown = found["labels"] + found["regions"] + plain["regions"]
    assert [x["role"] for x in shown] == ["found", "missed", "right", "region"]
    assert seen[10, 30, 3] > seen[50, 30, 3] + 100


def test_only_this_machine_and_only_pictures(tmp_path):
    root = write_set(tmp_path / "set", {"a": None})
    (tmp_path / "secret").write_text("a secret")
    (root / "img/z.png").symlink_to(tmp_path / "secret")
    with viewing(root) as client:
        for host in ("evil.example", "127.0.0.1.evil.example:80", ""):
            assert client.send("GET", "/set", Host=host).status == 403
        assert client.send("GET", "/set", Sec_Fetch_Site="cross-site").status == 403
        for path in ("picture/../secret", "picture/a.png", "secret", "picture/2", "picture/-1"):
            assert client.get(f"/{path}").status == 404
        linked = client.get("/picture/1")
        assert (linked.status, b"a secret" in linked.body) == (422, False)


def test_results_are_known_by_their_folder(tmp_path):
    photos, found, texts = (tmp_path / name for name in ("photos", "found", "texts"))
    for folder in (photos, found, texts):
        folder.mkdir()
    (photos / "a.png").write_bytes(picture())
    region = {"polygon": np.reshape(BAR, (4, 2)).tolist(), "score": 0.75}
    row = {"image": str(photos / "a.png"), "regions": [region]}
    (found / "predictions.jsonl").write_text(json.dumps(row))
    (texts / "status.json").write_text("")
    (texts / "experiment.yaml").write_text(f"inference: {{input_folder: {photos}}}")
    (texts / "a.txt").write_text(f"{WORD},0.75")
    for pictures in (open_set(found), open_set(texts)):
        (one,) = pictures.details(0).regions
        assert (list(one.polygon), one.score) == (BAR, 0.75)
        assert pictures.file(0).path == photos / "a.png"
    with pytest.raises(DataError, match="no pictures"):
        open_set(Path(__file__).parent)


def test_ctrl_c_ends_it_with_0_and_a_document(tmp_path):
    process = subprocess.Popen(
        [sys.executable, "-m", "ocdnet", "view", write_set(tmp_path, {"a": None}), "--port", "0"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"PYTHONPATH": str(Path(__file__).parents[2] / "runtime")},
    )
    said = process.stderr.readline()
    assert ": 1 picture at http://127.0.0.1:" in said
    assert Client(said.split(" at ")[1].split()[0]).get("/picture/0").status == 200
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=30)
    assert (process.returncode, err, json.loads(out)["shown"]) == (0, "", 1)

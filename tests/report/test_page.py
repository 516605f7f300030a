"""The page: whole, offline, small, and harmless whatever stands in the folder."""

from __future__ import annotations

import html.parser
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

import results_folders as made
from ocdnet.data.annotations import Annotation
from ocdnet.errors import DataError, EnvironmentFault
from ocdnet.metrics import match_image
from ocdnet.report.page import write_report
from ocdnet.runs.records import EvaluateResult, ImageScores, MatchCounts, Thresholds, write_results
from ocdnet.runs.samples import Showcase
from ocdnet.runs.status import StatusWriter

RUNTIME = Path(__file__).parents[2] / "runtime"
EVIL = '<script>alert(1)</script>"&.png'.replace("/", "_")
VOID = {"meta", "img", "link", "br", "line", "polyline"}


class Page(html.parser.HTMLParser):
    """A page's elements, checked to be closed in order."""

    def __init__(self, text):
        super().__init__()
        self.open, self.elements, self.text = [], [], ""
        self.feed(text)
        assert self.open == []

    def handle_starttag(self, tag, attributes):
        self.elements.append((tag, dict(attributes)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attributes):
        self.elements.append((tag, dict(attributes)))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text += data

    def all(self, tag):
        return [attributes for name, attributes in self.elements if name == tag]


def page(root, out=None):
    out = out or root.parent / "page.html"
    told = write_report(root, out, "ocdnet")
    return Page(out.read_text(encoding="utf-8")), told


def write_scene(folder, name="scene.png", size=(200, 300)):
    folder.mkdir(parents=True, exist_ok=True)
    noise = np.random.default_rng(0).integers(0, 255, (*size, 3), np.uint8)
    cv2.imwrite(str(folder / "plain.png"), noise)
    return (folder / "plain.png").rename(folder / name)


def evaluation(folder, images):
    """An evaluation that missed the one text of every image."""
    made.job(folder, "evaluate")
    showcase, rows = Showcase(), []
    nothing = {"hmean": 0.0, "precision": 0.0, "recall": 0.0}
    text = np.float32([[20, 20], [90, 20], [90, 50], [20, 50]])
    for image in images:
        annotation = Annotation(Path(image), Path("l"), [text], np.array([False]), [""])
        showcase.add(annotation, [text + 100], match_image([text + 100], [text], [False]))
        counts = {"matched": 0, "gt_care": 1, "det_care": 1}
        rows.append(ImageScores(image=str(image), **nothing, **counts))
    showcase.write(folder, 0.0)
    result = EvaluateResult(
        action="evaluate",
        **nothing,
        counts=MatchCounts(matched=0, gt_care=len(rows), det_care=len(rows)),
        images=len(rows),
        checkpoint="/runs/train/model_best.pth",
        thresholds=Thresholds(thresh=0.3, box_thresh=0.6),
        results=str(folder / "results.json"),
        per_image=tuple(rows),
    )
    write_results(folder, result)
    return folder


def test_a_training_is_shown_with_curves_table_settings_commands_and_files(tmp_path):
    made.train(tmp_path / "train", scores=(0.2, 0.6, 0.4))
    seen, told = page(tmp_path)
    (job,) = told["jobs"]
    assert (job["action"], job["state"], job["hmean"]) == ("train", "finished", "0.6000")
    assert told["bytes"] < 100_000
    labels = [svg["aria-label"] for svg in seen.all("svg") if "aria-label" in svg]
    assert "hmean: from 0.2 to 0.4." in labels[0]
    assert "2 (best)" in seen.text
    for text in ("train.num_epochs", "model_epoch_001_step_00020.pth", "ocdnet evaluate -e"):
        assert text in seen.text


def test_the_page_needs_no_network_and_runs_no_script(tmp_path):
    made.train(tmp_path / "train")
    evaluation(tmp_path / "evaluate", [write_scene(tmp_path / "img")])
    seen, _ = page(tmp_path)
    (policy,) = [meta["content"] for meta in seen.all("meta") if "http-equiv" in meta]
    assert policy.startswith("default-src 'none'")
    assert not seen.all("script") + seen.all("link") + seen.all("iframe")
    for _, attributes in seen.elements:
        assert not any(name.startswith("on") for name in attributes)
        for name in ("src", "href", "xlink:href", "data", "action"):
            assert re.match(r"data:image/webp;base64,|#", attributes.get(name, "#"))
    text = (tmp_path.parent / "page.html").read_text()
    assert not re.search(r"@import|url\(|https?://", text)


def test_what_can_be_seen_can_be_heard(tmp_path):
    made.train(tmp_path / "train")
    evaluation(tmp_path / "evaluate", [write_scene(tmp_path / "img")])
    seen, _ = page(tmp_path)
    assert ("html", {"lang": "en"}) in seen.elements
    assert seen.all("title")
    (picture,) = seen.all("img")
    assert picture["alt"] == (
        "scene.png, hmean 0.000: 1 missed, 1 false alarms, 0 right, 0 ignored"
    )
    for svg in seen.all("svg"):
        assert svg.get("aria-label") or svg.get("aria-hidden") == "true"
    assert all("scope" in header for header in seen.all("th"))
    ids = [attributes["id"] for _, attributes in seen.elements if "id" in attributes]
    assert len(ids) == len(set(ids))
    assert {link["href"].removeprefix("#") for link in seen.all("a")} <= set(ids)


def test_untrusted_texts_are_texts(tmp_path):
    root = tmp_path / "<b>root"
    made.train(root / "train", end="<img src=x onerror=alert(2)>")
    (root / "train" / EVIL).touch()
    StatusWriter(root / "train" / "status.json").write("FAILURE", "<i>broken</i>")
    (root / "train" / "experiment.yaml").write_text("model_name: '</pre><script>x</script>'\n")
    evaluation(root / "evaluate", [write_scene(tmp_path / "img", EVIL)])
    seen, _ = page(root)
    assert not seen.all("script") + seen.all("i") + seen.all("b")
    assert EVIL in seen.text
    assert len(seen.all("img")) == 1


def test_secrets_are_not_shown(tmp_path):
    made.tao(tmp_path / "train")
    with (tmp_path / "train" / "experiment.yaml").open("a") as file:
        file.write("encryption_key: tlt_encode\n")
    seen, _ = page(tmp_path)
    assert "encryption_key" in seen.text
    assert "tlt_encode" not in seen.text


@pytest.mark.parametrize("end", [None, "Out of memory. Lower the batch size."])
def test_a_run_that_is_not_finished_is_shown(tmp_path, end):
    made.train(tmp_path / "train", epochs=9, end=end)
    seen, told = page(tmp_path)
    assert told["jobs"][0]["state"] == ("running" if end is None else "failed")
    if end:
        assert end in seen.text
        assert "train.resume_training_checkpoint_path=" in seen.text


def test_a_run_that_failed_at_once_is_shown(tmp_path):
    status = StatusWriter(tmp_path / "status.json")
    status.write("STARTED", "Starting OCDNet train.")
    status.write("FAILURE", "No images.")
    seen, _ = page(tmp_path)
    assert "No images." in seen.text
    assert not seen.all("svg")


def test_an_action_alone_is_shown(tmp_path):
    evaluation(tmp_path / "mine", [write_scene(tmp_path / "img")])
    seen, told = page(tmp_path / "mine")
    assert [job["action"] for job in told["jobs"]] == ["evaluate"]
    assert "0 of 1 texts" in seen.text


def test_an_image_that_is_gone_is_told_in_its_place(tmp_path):
    here, gone, nul = write_scene(tmp_path / "img"), tmp_path / "gone.png", "nul\0.png"
    evaluation(tmp_path / "evaluate", [here, gone, nul])
    seen, _ = page(tmp_path)
    assert len(seen.all("img")) == 1
    assert "gone.png: No such file" in seen.text


def test_pictures_are_bounded(tmp_path):
    images = [write_scene(tmp_path / "img", f"{n}.png", (1000, 1400)) for n in range(8)]
    for name in ("evaluate", "evaluate_2", "evaluate_3"):
        evaluation(tmp_path / name, images)
    seen, told = page(tmp_path)
    assert told["bytes"] < 3_000_000
    assert 3 < len(seen.all("img")) < 24
    assert "The page is full." in seen.text


def test_very_long_runs_are_shown(tmp_path):
    made.train(tmp_path / "train", scores=tuple(n / 3000 for n in range(1500)))
    seen, told = page(tmp_path)
    assert told["bytes"] < 1_000_000
    assert len(seen.all("circle")) == 0
    assert "status.json" in seen.text
    assert "and 1464 more" in seen.text  # of the files


@pytest.mark.parametrize("name", ["results.json", "samples.json", "experiment.yaml", "status.json"])
@pytest.mark.parametrize("content", [b"", b"\xff\xfe\0", b"[]", b"{", b'{"per_image": [1, {}]}'])
def test_files_of_anything_do_no_harm(tmp_path, name, content):
    made.train(tmp_path / "train")
    (tmp_path / "train" / name).write_bytes(content)
    page(tmp_path)


def test_numbers_of_any_kind_do_no_harm(tmp_path):
    folder = evaluation(tmp_path / "evaluate", [write_scene(tmp_path / "img")])
    result = json.loads((folder / "results.json").read_text())
    odd = {"hmean": float("nan"), "counts": [1], "images": {"a": [2]}, "checkpoint": 3}
    result["per_image"] += [{"hmean": "0.5"}, {"hmean": None}, {"hmean": 1e400}, 7]
    (folder / "results.json").write_text(json.dumps(result | odd))
    page(tmp_path)


def test_no_folder_and_no_job_are_errors(tmp_path):
    for root in (tmp_path / "none", tmp_path):
        with pytest.raises(DataError):
            write_report(root, tmp_path / "page.html", "ocdnet")
    assert not (tmp_path / "page.html").exists()


def test_a_place_that_cannot_be_written_is_an_error(tmp_path):
    made.train(tmp_path / "train")
    (tmp_path / "file").touch()
    with pytest.raises(EnvironmentFault) as caught:
        write_report(tmp_path, tmp_path / "file" / "page.html", "ocdnet")
    assert caught.value.code == "cannot-write"


def test_torch_is_not_needed(tmp_path):
    made.train(tmp_path / "train")
    evaluation(tmp_path / "evaluate", [write_scene(tmp_path / "img")])
    code = (
        "import sys; sys.modules.update(torch=None, matplotlib=None, pydantic=None);"
        "from ocdnet.cli.report import report; report()"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path)],
        env=os.environ | {"PYTHONPATH": str(RUNTIME)},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert told["report"] == str(tmp_path / "report.html")
    assert (tmp_path / "report.html").stat().st_size == told["bytes"]


@pytest.mark.skipif(shutil.which("chromium") is None, reason="no browser")
def test_a_browser_shows_it(tmp_path):
    made.train(tmp_path / "train")
    page(tmp_path, tmp_path / "page.html")
    shot = tmp_path / "page.png"
    options = ["--headless=new", "--no-sandbox", "--disable-gpu", "--window-size=375,800"]
    subprocess.run(
        ["chromium", *options, f"--screenshot={shot}", (tmp_path / "page.html").as_uri()],
        capture_output=True,
        check=True,
        timeout=120,
    )
    assert cv2.imread(str(shot)).std() > 10  # something is there

"""The page: whole, offline, small, and harmless whatever stands in the folder."""

from __future__ import annotations

import base64
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
from ocdnet.errors import EnvironmentFault
from ocdnet.metrics import match_image
from ocdnet.report.page import write_report
from ocdnet.report.pictures import Album
from ocdnet.report.strips import strip
from ocdnet.runs.explained import ExplainedImage
from ocdnet.runs.samples import Showcase
from ocdnet.runs.status import StatusWriter
from report.pages import FOUND, Page, explained, write_scene

RUNTIME = Path(__file__).parents[2] / "runtime"
EVIL = '<script>alert(1)</script>"&.png'.replace("/", "_")


def page(root, out=None):
    out = out or root.parent / "page.html"
    told = write_report(root, out, "ocdnet")
    return Page(out.read_text(encoding="utf-8")), told


def evaluation(folder, images):
    """An evaluation of an earlier release, that missed the texts of every image."""
    explained(folder, images, found=())
    (folder / "explained.jsonl").unlink()
    showcase = Showcase()
    text = np.float32([[20, 20], [90, 20], [90, 50], [20, 50]])
    for image in images:
        annotation = Annotation(Path(image), Path("l"), [text], np.array([False]), [""])
        showcase.add(annotation, [text + 100], match_image([text + 100], [text], [False]))
    showcase.write(folder, 0.0)
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
    explained(tmp_path / "evaluate", [write_scene(tmp_path / "img")])
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
    scene = write_scene(tmp_path / "img", EVIL)
    explained(root / "evaluate", [scene, tmp_path / "gone" / EVIL, "nul\0.png"])
    seen, _ = page(root)
    assert not seen.all("script") + seen.all("i") + seen.all("b")
    assert EVIL in seen.text
    assert len(seen.all("img")) == 2  # the words of the picture that is there
    assert "2 pictures can't be read now" in seen.text
    assert f"gone/{EVIL}: No such file" in seen.text


def test_secrets_are_not_shown(tmp_path):
    made.tao(tmp_path / "train")
    with (tmp_path / "train" / "experiment.yaml").open("a") as file:
        file.write("encryption_key: tlt_encode\n")
    seen, _ = page(tmp_path)
    assert "encryption_key" in seen.text
    assert "tlt_encode" not in seen.text


@pytest.mark.parametrize(
    ("end", "state"),
    [
        (None, "running"),
        ("Out of memory. Lower the batch size.", "failed"),
        ("Interrupted by SIGTERM", "interrupted"),
        ("Train was interrupted", "interrupted"),
    ],
)
def test_a_run_that_is_not_finished_is_shown(tmp_path, end, state):
    made.train(tmp_path / "train", epochs=9, end=end)
    seen, told = page(tmp_path)
    assert told["jobs"][0]["state"] == state
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


def test_each_kind_is_counted_and_its_words_shown(tmp_path):
    images = [write_scene(tmp_path / "img", f"{n}.png") for n in range(6)]
    seen, told = page(explained(tmp_path / "mine", images))  # an action alone
    assert [job["action"] for job in told["jobs"]] == ["evaluate"]
    assert "Not found: low score (6)" in seen.text
    shown = "".join(picture["alt"] for picture in seen.all("img"))
    assert shown.count("score 0.25, IoU 0.12, 16 px high") == 4
    assert shown.count("score 0.75, IoU 0.00, 20 px high") == 4
    assert "short side in pixels. 0 or more and below 1: 6 of 12 found, 50%" in seen.heard
    assert "Scores of boxes by score. Most: 0.05 or more: 2 boxes" in seen.heard
    assert "Precision (up) over recall" in seen.heard
    assert "50%, 6 of 12" in seen.text  # by place


def test_a_strip_shows_the_word_large_and_whole(tmp_path):
    image = np.full((400, 1000, 3), 90, np.uint8)
    image[20:40, 20:60] = 255
    cv2.imwrite(file := f"{tmp_path}/a.png", image)
    row = ExplainedImage(image=file, width=1, height=1, labels=(), regions=())
    _, data = strip(Album(10**6), row, FOUND, "").uri.split(",")
    shown = cv2.imdecode(np.frombuffer(base64.b64decode(data), np.uint8), cv2.IMREAD_GRAYSCALE)
    word = shown > 200
    assert shown.shape == (300, 400)
    assert 0.1 < word.mean() < 0.5  # 0.2 % of the picture
    assert not any(edge.any() for edge in (word[0], word[-1], word[:, 0], word[:, -1]))


def test_misfits_and_odd_polygons_do_no_harm(tmp_path):
    folder = explained(tmp_path / "evaluate", [write_scene(tmp_path / "img")])
    text = (folder / "results.json").read_text().replace("[0, 2]", "[0]")
    text = text.replace("[0.25, 0.5]", "[0.5]", 1).replace("0, 0, 0]", "0]", 1)
    (folder / "results.json").write_text(text)
    with (folder / "explained.jsonl").open("a") as file:
        for polygon in ([], [1, 2, 3], [2**62] * 8, [5] * 8):
            label = {"polygon": polygon, "role": "missed", "kind": "merged"}
            row = {"image": "a", "width": 1, "height": 1, "labels": [label], "regions": []}
            file.write(json.dumps(row) + "\n{\n")
    seen, _ = page(tmp_path)
    assert "Not found: low score (1)" in seen.text
    assert "Not found: merged" not in seen.text


def test_what_found_nothing_is_no_best_and_dates_are_iso(tmp_path):
    made.train(tmp_path / "train", scores=(0.0, 0.0))
    made.tao(tmp_path / "retrain")
    seen, _ = page(tmp_path)
    assert "2026-11-22 15:11:09" in seen.text
    assert "none: no epoch found text" in seen.text
    assert "best checkpoint" not in seen.text


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
def test_a_browser_shows_it_and_keys_and_clicks_enlarge(tmp_path):
    explained(tmp_path / "evaluate", [write_scene(tmp_path / "img")])
    page(tmp_path, tmp_path / "page.html")
    with pytest.importorskip("playwright.sync_api").sync_playwright() as play:
        where = shutil.which("chromium")
        browser = play.chromium.launch(executable_path=where, args=["--no-sandbox"])
        shown = browser.new_page(color_scheme="dark", viewport={"width": 375, "height": 700})
        shown.goto((tmp_path / "page.html").as_uri())
        assert shown.evaluate("document.documentElement.scrollWidth") <= 375
        assert "20, 24" in shown.evaluate("getComputedStyle(document.body).backgroundColor")
        while not shown.evaluate("document.activeElement.matches('.zoom button')"):
            shown.keyboard.press("Tab")
        large = shown.locator(".zoom:popover-open")
        for key, count in (("Enter", 1), ("Escape", 0)):
            shown.keyboard.press(key)
            assert large.count() == count
        shown.locator(".zoom button").nth(1).click()
        assert large.count() == 1
        shown.mouse.click(180, 300)
        assert large.count() == 0

"""The page of `ocdnet serve` in a real browser: a picture comes, its boxes are seen."""

from __future__ import annotations

import json
import shutil

import cv2
import numpy as np
import pytest

from serve.serving import Network, picture, serving, until

CHROMIUM = shutil.which("chromium")
pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(CHROMIUM is None, reason="needs Debian's chromium"),
]


@pytest.fixture(scope="module")
def url():
    with serving(Network().detector, workers=2) as (client, server):
        until(lambda: server.ready)
        yield f"http://{client.host}/"


@pytest.fixture(scope="module")
def browser():
    driver = pytest.importorskip("playwright.sync_api")
    with driver.sync_playwright() as play:
        browser = play.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture
def page(browser, url):
    """The page, and at the end: no error, and no request to anywhere else."""
    page = browser.new_page()
    errors, asked = [], []
    page.on("console", lambda row: errors.append(row.text) if row.type == "error" else None)
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.on("request", lambda request: asked.append(request.url))
    page.goto(url)
    yield page
    assert [text for text in errors if "422" not in text and "415" not in text] == []
    assert all(address.startswith((url, "blob:")) for address in asked)
    page.close()


def give(page, data, name="photo.png", kind="image/png"):
    page.set_input_files("#file", {"name": name, "mimeType": kind, "buffer": data})


def state_is(page, text):
    page.get_by_text(text).wait_for()


def shown(page):
    """The browser has made a picture of what was given, or of what stands for it."""
    until(lambda: page.evaluate("document.getElementById('picture').naturalWidth") == 64)


def test_boxes_lie_on_the_text(page):
    give(page, picture(2))
    state_is(page, "2 regions of text, 64 x 64 pixels")
    shown(page)
    places = page.evaluate(
        """() => {
          const edge = document.getElementById('picture').getBoundingClientRect();
          return [...document.querySelectorAll('#boxes .line')].map((one) => {
            const box = one.getBoundingClientRect();
            return [box.left - edge.left, box.top - edge.top, box.right - edge.left,
                    box.bottom - edge.top].map((side) => side * 64 / edge.width);
          });
        }"""
    )
    bars = np.array([[8, 6, 50, 14], [8, 26, 50, 34]])
    assert np.abs(np.array(sorted(places, key=lambda row: row[1])) - bars).max() < 8
    colour = "e => getComputedStyle(e).stroke"
    assert page.locator("#boxes .line").first.evaluate(colour) == "rgb(230, 158, 0)"
    assert page.locator("#boxes text").all_text_contents() == page.eval_on_selector_all(
        "#regions button", "rows => rows.map((row) => row.textContent.match(/score ([0-9.]+)/)[1])"
    )


def test_a_picture_is_dropped_and_its_json_downloaded(page):
    page.evaluate(
        """async (bytes) => {
          const file = new File([new Uint8Array(bytes)], 'dropped.png', {type: 'image/png'});
          const data = new DataTransfer();
          data.items.add(file);
          const how = {dataTransfer: data, bubbles: true, cancelable: true};
          document.body.dispatchEvent(new DragEvent('drop', how));
        }""",
        list(picture(1)),
    )
    state_is(page, "1 region of text")
    with page.expect_download() as caught:
        page.click("#download")
    assert caught.value.suggested_filename == "dropped.json"
    document = json.loads(caught.value.path().read_text())
    assert document["image"] == "dropped.png"
    assert (len(document["regions"]), document["width"]) == (1, 64)


def test_it_is_used_by_the_keyboard(page):
    chosen = []
    page.on("filechooser", lambda chooser: chosen.append(chooser))  # noqa: PLW0108 - built-ins are refused
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.id") == "file"
    page.keyboard.press("Enter")
    until(lambda: page.wait_for_timeout(50) or chosen)
    chosen[0].set_files({"name": "a.png", "mimeType": "image/png", "buffer": picture(2)})
    state_is(page, "2 regions")
    for _ in range(3):
        page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.textContent").startswith("2. score")
    assert page.locator("#boxes .chosen").count() == 1
    assert page.locator("#regions [aria-pressed=true]").count() == 1


def test_what_is_no_picture_is_said_and_the_next_one_works(page):
    give(page, b"words", "<img src=x onerror=alert(1)>.png")
    state_is(page, "not a whole image of a known format")
    assert page.locator("#result").is_hidden()
    give(page, picture(1))
    state_is(page, "1 region of text")
    assert page.locator("#result").is_visible()


def test_a_format_that_the_browser_cannot_show_still_has_its_boxes(page):
    image = cv2.imdecode(np.frombuffer(picture(2), np.uint8), cv2.IMREAD_COLOR)
    give(page, cv2.imencode(".jp2", image)[1].tobytes(), "scan.jp2", "image/jp2")
    state_is(page, "2 regions of text")
    shown(page)
    assert page.locator("#boxes .line").count() == 2


def test_dark_is_dark_and_a_phone_sees_everything(browser, url):
    page = browser.new_page(color_scheme="dark", viewport={"width": 360, "height": 640})
    page.goto(url)
    give(page, picture(2))
    state_is(page, "2 regions")
    ground = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert sum(map(int, ground[4:-1].split(","))) < 150
    assert page.evaluate("document.documentElement.scrollWidth") <= 360
    page.close()

"""The page of `ocdnet view` in a real browser."""

import numpy as np

from browser.test_viewer import browser, pytestmark  # noqa: F401
from serve.serving import until
from view.viewing import BAR, viewing, write_results, write_set

PLACES = """['image', '.found .line'].map((one) => {
  const box = document.querySelector(`#stage ${one}`).getBoundingClientRect();
  return [box.left, box.top, box.right, box.bottom];
})"""
LINE = "e => getComputedStyle(e).stroke + getComputedStyle(e).strokeDasharray"


def test_it_is_leafed_through_by_keys(browser, tmp_path):  # noqa: F811
    names = ["<img src=x onerror=alert(1)>", "b", "c"]
    write_set(tmp_path / "set", dict.fromkeys(names))
    (tmp_path / "set/img/b.png").write_bytes(b"words")
    write_results(tmp_path, names)
    with viewing(tmp_path) as client:
        page = browser.new_page(viewport={"width": 380, "height": 700})
        errors = []
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.goto(f"http://{client.host}")
        page.locator("#stage .found").wait_for(state="attached")
        assert page.locator("#title").text_content() == f"{names[0]}.png"
        (left, top, right, _), box = page.evaluate(PLACES)
        on_picture = (np.array(box) - [left, top, left, top]) * 64 / (right - left)
        assert np.abs(on_picture - np.array(BAR)[[0, 1, 2, 5]]).max() < 2
        page.keyboard.press("ArrowRight")
        page.get_by_text("not a whole image of a known format").wait_for()
        page.keyboard.press("n")
        page.locator("#outlines").get_by_text("missed: merged").first.wait_for()
        lines = [f"#stage .{role} .line" for role in ("found", "missed", "right")]
        assert len({page.locator(line).first.evaluate(LINE) for line in lines}) == 3
        page.keyboard.press("l")
        until(lambda: not page.locator("#stage .missed").count())
        assert page.evaluate("document.documentElement.scrollWidth") <= 380
        assert errors == []
        page.close()

"""A page as a parser sees it, and an evaluation that explained itself."""

from __future__ import annotations

import html.parser
import json

import cv2
import numpy as np

import results_folders as made

VOID = {"meta", "img", "link", "br", "line", "polyline"}
FOUND, MISSED = (20, 20, 60, 20, 60, 40, 20, 40), (100, 50, 140, 50, 140, 66, 100, 66)
WORDS = FOUND, MISSED
FALSE = (200, 90, 260, 90, 260, 110, 200, 110)


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

    @property
    def heard(self):
        return "".join(svg.get("aria-label", "") for svg in self.all("svg"))


def write_scene(folder, name="scene.png", size=(200, 300)):
    folder.mkdir(parents=True, exist_ok=True)
    noise = np.random.default_rng(0).integers(0, 255, (*size, 3), np.uint8)
    cv2.imwrite(str(folder / "plain.png"), noise)
    return (folder / "plain.png").rename(folder / name)


def explained(folder, images, found=(FOUND,), box_thresh=0.6, **changes):
    """An evaluation of pictures with two words, of which these are found, and a false alarm."""
    made.job(folder, "evaluate")
    hits, count = len(found), len(images)
    missed = {"role": "missed", "kind": "low_score", "iou": 0.125, "score": 0.25}
    roles = [{"role": "found", "iou": 0.9} if word in found else missed for word in WORDS]
    labels = [{"polygon": word} | role for word, role in zip(WORDS, roles, strict=True)]
    false = {"polygon": FALSE, "score": 0.75, "role": "false", "kind": "no_text", "iou": 0}
    line = {"width": 300, "height": 200, "labels": labels, "regions": [false]}
    counts = {"matched": hits, "gt_care": 2, "det_care": hits + 1}
    scores = {"hmean": 2 * hits / (hits + 3), "precision": hits / (hits + 1), "recall": hits / 2}
    rows = [{"image": str(image)} for image in images]
    groups = [range(9), [2 * count, *[0] * 8], [hits * count, *[0] * 8]]
    group = dict(zip(("bounds", "texts", "found"), map(list, groups), strict=True))
    result = scores | {
        "action": "evaluate",
        "counts": counts,
        "images": count,
        "checkpoint": "model.pth",
        "thresholds": {"thresh": 0.3, "box_thresh": box_thresh},
        "results": "",
        "explained": "",
        "mistakes": {"misses": {"low_score": 2 * count}, "false_alarms": {"no_text": count}},
        "recall_by": dict.fromkeys(("height", "angle", "length", "place"), group),
        "curve": {key: [0.25, 0.5] for key in ("box_thresh", "precision", "recall", "hmean")},
        "box_scores": {"matched": [0, 2], "unmatched": [1, 0]},
        "per_image": [row | scores | counts for row in rows],
    }
    (folder / "results.json").write_text(json.dumps(result | changes))
    lines = [json.dumps(row | line) + "\n" for row in rows]
    (folder / "explained.jsonl").write_text("".join(lines))
    return folder

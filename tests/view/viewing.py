"""A viewer of this process, and the sets that tests show with it."""

import json
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

from ocdnet.view.given import open_set
from ocdnet.view.server import Viewer
from serve.serving import Client, picture, until

BAR = [8, 6, 50, 6, 50, 14, 8, 14]
"""On `picture`."""
WORD = ",".join(map(str, BAR))


@contextmanager
def viewing(path, **options):
    viewer = Viewer(path, open_set(path), **options)
    with ThreadPoolExecutor(1) as pool:
        running = pool.submit(viewer.run)
        try:
            until(lambda: viewer.done or running.done())
            yield Client(viewer.url)
        finally:
            viewer.stop()
            running.result(60)


def write_set(root, labels):
    for name in ("img", "gt"):
        (root / name).mkdir(parents=True)
    for stem, text in labels.items():
        (root / f"img/{stem}.png").write_bytes(picture())
        if text is not None:
            (root / f"gt/{stem}.txt").write_text(text)
    return root


def write_results(root, stems):
    """An evaluation that missed no word of the first picture, one of the second."""
    found = {"polygon": BAR, "role": "found", "iou": 0.9}
    lost = {"polygon": [8, 40, 50, 40, 50, 50, 8, 50], "role": "missed", "kind": "merged"}
    row = {"width": 64, "height": 64, "regions": [found | {"role": "right", "score": 0.8}]}
    for n, stem in enumerate(stems):
        row |= {"image": f"{root}/set/img/{stem}.png", "labels": [found, *[lost] * n]}
        with (root / "explained.jsonl").open("a") as file:
            file.write(json.dumps(row) + "\n")

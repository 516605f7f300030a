"""A detector that answers: for each line of its input, one picture to boxes, on one thread.

    python benchmarks/contestant.py ocdnet MODEL PICTURE
    python benchmarks/contestant.py rapidocr openvino PICTURE   # by a Python that has RapidOCR

Each answer is a line of JSON: [seconds, seconds of CPU, boxes]. beside_rapidocr.py asks.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from typing import Any

import cv2

Find = Callable[[Any], int]


def ocdnet(model: str) -> Find:
    """A network of ours: a checkpoint, an ONNX file or an engine."""
    from ocdnet import Detector

    detector = Detector(model, device="cpu", num_threads=1)
    return lambda picture: len(detector(picture).polygons)


def rapidocr(engine: str) -> Find:
    """RapidOCR's detection of text lines, as it comes, reading switched off."""
    from rapidocr import EngineType, RapidOCR

    threads = {
        "EngineConfig.openvino.inference_num_threads": 1,
        "EngineConfig.onnxruntime.intra_op_num_threads": 1,
        "EngineConfig.onnxruntime.inter_op_num_threads": 1,
    }
    kinds = {"Det.engine_type": EngineType(engine), "Global.log_level": "error"}
    detector = RapidOCR(params={**threads, **kinds})

    def find(picture: Any) -> int:
        found = detector(picture, use_det=True, use_cls=False, use_rec=False)
        return 0 if found.boxes is None else len(found.boxes)

    return find


def main() -> None:
    """Answer until the input ends."""
    kind, name, file = sys.argv[1:]
    cv2.setNumThreads(1)
    find, picture = {"ocdnet": ocdnet, "rapidocr": rapidocr}[kind](name), cv2.imread(file)
    for _ in sys.stdin:
        wall, cpu = time.perf_counter(), time.process_time()
        boxes = find(picture)
        answer = time.perf_counter() - wall, time.process_time() - cpu, boxes
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main()

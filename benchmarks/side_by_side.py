"""Models side by side on the same images: hmean, megabytes, milliseconds an image.

    python benchmarks/side_by_side.py --data words/test float.onnx pruned.onnx quantized.onnx

Latencies are medians of turns in one process, on all threads; accuracy at TAO's thresholds.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from ocdnet.actions.scoring import counts_of, seconds_side_by_side
from ocdnet.backends.open import open_engine, open_predictor
from ocdnet.backends.sidecar import beside
from ocdnet.config.model import ModelConfig
from ocdnet.data.annotations import index_dataset
from ocdnet.data.preprocess import Preprocess
from ocdnet.weights import read_checkpoint


def main() -> None:
    """Print a Markdown table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", required=True, help="folder with img/ and gt/")
    parser.add_argument("--width", type=int, default=1280)
    parser.add_argument("--height", type=int, default=736)
    parser.add_argument("models", nargs="+", type=Path, help=".pth, .onnx or engines")
    given = parser.parse_args()
    preprocess = Preprocess((given.width, given.height))
    annotations = index_dataset([given.data], ["*", "###"])
    predictors = [opened(path) for path in given.models]
    times = seconds_side_by_side(predictors, preprocess)
    print("| model | hmean | precision | recall | MB | ms an image |")
    print("|---|---|---|---|---|---|")
    for path, predictor, seconds in zip(given.models, predictors, times, strict=True):
        counts = counts_of(predictor, preprocess, annotations, path.name)
        scores = f"{counts.hmean:.3f} | {counts.precision:.3f} | {counts.recall:.3f}"
        size = path.stat().st_size / 1e6
        print(f"| {path.name} | {scores} | {size:.1f} | {1000 * seconds:.0f} |", flush=True)


def opened(path: Path) -> object:
    """The predictor of a model file, with the backbone that a checkpoint names."""
    if beside(path).is_file() and path.suffix != ".onnx":
        return open_engine(path)
    backbone = read_checkpoint(path).backbone if path.suffix == ".pth" else None
    config = ModelConfig(backbone=backbone) if backbone else ModelConfig()  # type: ignore[arg-type]
    return open_predictor(path, config)


if __name__ == "__main__":
    main()

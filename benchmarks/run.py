"""`make bench`: ours against the baselines, as ratios in one process.

    python benchmarks/run.py --only label_maps --only forward
    python benchmarks/run.py --json bench.json

OCDNET_BENCH_CHECKPOINT names a trained resnet18 detector, whose accuracy in INT8 is then told.
A row fails where its ratio is below what is demanded, or its number above; the exit code is then 1.
Measure on an otherwise idle machine.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import fields
from pathlib import Path

import torch
from rich.console import Console
from rich.table import Table

from rows import actions, cuda, detection, engines, growth, network, samples, startup
from timing import Row

ROWS: Mapping[str, Callable[[int], Iterator[Row]]] = {
    "label_maps": samples.label_maps,
    "sample": samples.sample,
    "postprocess": detection.postprocess,
    "metric": detection.metric,
    "commands": startup.commands,
    "generate": startup.generate,
    "growth": growth.regions_and_pixels,
    "labels": growth.labels,
    "step": network.step,
    "forward": network.forward,
    "onnx": network.onnx,
    "gpu_step": cuda.step,
    "gpu_choices": cuda.choices,
    "gpu_forward": cuda.forward,
    "gpu_train": cuda.training,
    "gpu_pictures": cuda.pictures,
    "loader": actions.loader,
    "evaluate": actions.evaluation,
    "inference": actions.folder,
    "memory": actions.memory,
    # The last: workers that are forked after OpenVINO has run bring the process down.
    "int8": engines.int8,
}


def main() -> int:
    """Measure and print; 1 where a limit is missed."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--only", action="append", choices=list(ROWS), help="these rows alone")
    parser.add_argument("--rounds", type=int, default=5, help="turns of each; medians are told")
    parser.add_argument("--json", type=Path, help="file to write the table to as well")
    parser.add_argument(
        "--table", type=Path, nargs="+", help="print these JSON files; no measuring"
    )
    given = parser.parse_args()
    if given.table:
        parts = [json.loads(path.read_text()) for path in given.table]
        kept = {field.name for field in fields(Row)}
        rows = [
            Row(**{k: v for k, v in row.items() if k in kept})
            for part in parts
            for row in part["rows"]
        ]
        Console(width=170).print(_table(rows, parts[0]["machine"]))
        return 0
    for name in ("ocdnet", "pytorch_lightning", "torch.onnx"):
        logging.getLogger(name).setLevel(logging.ERROR)
    rows: list[Row] = []
    start = time.monotonic()
    for name in given.only or ROWS:
        sys.stderr.write(f"{name} ({time.monotonic() - start:.0f} s so far)\n")
        for row in ROWS[name](given.rounds):
            rows.append(row)
            if given.json:  # after each: it is long work
                content = {"machine": _machine(), "rows": [row.to_json() for row in rows]}
                given.json.write_text(json.dumps(content, indent=2) + "\n")
    Console(width=170).print(_table(rows, _machine()))
    missed = [row.what for row in rows if row.met is False]
    if missed:
        sys.stderr.write(f"Missed: {', '.join(missed)}\n")
    return int(bool(missed))


def _table(rows: list[Row], machine: Mapping[str, str | int]) -> Table:
    about = (str(machine[key]) for key in ("gpu", "cpu") if machine.get(key))
    table = Table(title=f"{', '.join(about)}, {machine['cpus']} CPUs, torch {machine['torch']}")
    for column in ("what", "threads", "ours", "baseline", "ratio", "limit", "", "against, note"):
        table.add_column(column, justify="left" if column in ("what", "against, note") else "right")
    for row in rows:
        baseline = "" if row.baseline is None else _shown(row.baseline, row.unit)
        ratio = "" if row.ratio is None else f"{row.ratio:.2f}"
        limit = "" if row.least is None else f"{'<=' if row.ratio is None else '>='} {row.least:g}"
        verdict = {True: "yes", False: "NO", None: ""}[row.met]
        about = "; ".join(filter(None, (row.against, row.note)))
        cells = (_shown(row.ours, row.unit), baseline, ratio, limit, verdict, about)
        table.add_row(row.what, str(row.threads), *cells)
    return table


def _shown(value: float, unit: str) -> str:
    if unit == "s":
        return f"{value:.2f} s" if value >= 0.1 else f"{value * 1e3:.2f} ms"
    return f"{value:.2f} {unit}"


def _machine() -> dict[str, str | int]:
    """What was measured on."""
    lines = Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").exists() else []
    models = [line.partition(": ")[2] for line in lines if line.startswith("model name")]
    return {
        "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else "",
        "cpu": models[0] if models else "unknown",
        "cpus": len(os.sched_getaffinity(0)),
        "torch": torch.__version__,
    }


if __name__ == "__main__":
    sys.exit(main())

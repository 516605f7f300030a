"""Schemas of what a run writes: a line of status.json, and results.json."""

from __future__ import annotations

from typing import Any

from ocdnet.catalogue import ACTIONS, SEARCH
from ocdnet.runs.searches import METRICS, STATES
from ocdnet_generator.schemas import DIALECT

Node = dict[str, Any]

_UNIT = {"type": "number", "minimum": 0, "maximum": 1}
_COUNT = {"type": "integer", "minimum": 0}
_TEXT = {"type": "string"}
_DURATION = {"type": "string", "pattern": "^(\\d+ days?, )?\\d+:\\d\\d:\\d\\d(\\.\\d+)?$"}
_SCORES = {
    "hmean": _UNIT | {"description": "Harmonic mean of precision and recall."},
    "precision": _UNIT | {"description": "Share of the detections that are right."},
    "recall": _UNIT | {"description": "Share of the text regions that are found."},
}
_KPI = {
    "train_loss": {"type": "number", "description": "Mean loss of the epoch just ended."},
    **_SCORES,
}
_TERMS = {
    "shrink_loss": {"type": "number", "description": "Its cross-entropy, not weighted."},
    "threshold_loss": {"type": "number", "description": "Its L1, not weighted."},
    "binary_loss": {"type": "number", "description": "Its dice loss, not weighted."},
    "lr": {"type": "number", "minimum": 0, "description": "Learning rate of its last step."},
}
"""What an epoch tells beside its loss."""
_PROGRESS = ("epoch", "step", "max_epoch", "max_step", "time_per_epoch", "time_per_step", "eta")


def status() -> Node:
    """Schema of one line of status.json."""
    return {
        "$schema": DIALECT,
        "title": "status.json, one line",
        "description": "A run's life as JSON lines; the last one says SUCCESS or FAILURE.",
        **_closed(
            {
                "date": {"type": "string", "pattern": "^\\d\\d/\\d\\d/\\d{4}$"},
                "time": {"type": "string", "pattern": "^\\d\\d:\\d\\d:\\d\\d$"},
                "status": {"type": "string", "enum": ["STARTED", "RUNNING", "SUCCESS", "FAILURE"]},
                "verbosity": {"type": "string", "enum": ["INFO", "WARNING", "ERROR"]},
                "message": _TEXT | {"description": "One sentence for people."},
                "kpi": {"description": "Numbers measured just now.", **_closed(_KPI | _TERMS, ())},
                "epoch": _COUNT | {"description": "Epoch just ended, counted from 0."},
                "step": _COUNT | {"description": "Optimiser steps so far."},
                "max_epoch": _COUNT | {"description": "num_epochs - 1."},
                "max_step": _COUNT,
                "time_per_epoch": _DURATION,
                "time_per_step": _DURATION,
                "eta": _DURATION | {"description": "Time left, at the pace of the last epoch."},
                "trial": _COUNT | {"description": "Trial of a search just ended, from 0."},
                "trials": _COUNT | {"description": "Trials of the search in all."},
            },
            ("date", "time", "status", "verbosity", "message"),
        ),
        # The numbers of an epoch come together.
        "allOf": [{"if": {"required": ["epoch"]}, "then": {"required": list(_PROGRESS)}}],
    }


def results() -> Node:
    """Schema of results.json, which train, evaluate and automl write."""
    return {
        "$schema": DIALECT,
        "title": "results.json",
        "description": "What a finished run reached, and the files that hold it.",
        **_closed(
            _TRAIN
            | _EVALUATE
            | _AUTOML
            | _QUANTIZE
            | _PRUNE
            | {"action": {"type": "string", "enum": sorted(_WRITERS)}},
            (),
        ),
        "required": ["action"],
        "allOf": [
            {
                "if": {"properties": {"action": {"type": "string", "enum": [action]}}},
                "then": {
                    "properties": dict.fromkeys(fields, True),
                    "required": [name for name in fields if name not in _OPTIONAL.get(action, ())],
                    "additionalProperties": False,
                },
            }
            for action, fields in sorted(_WRITERS.items())
        ],
    }


def _closed(properties: Node, required: tuple[str, ...] | None = None) -> Node:
    """An object with these properties and no other; all are required unless told."""
    needed = list(properties) if required is None else list(required)
    node: Node = {"type": "object", "additionalProperties": False, "properties": properties}
    return node | ({"required": needed} if needed else {})


_COUNTS = {
    "matched": _COUNT | {"description": "Detections that match a text region."},
    "gt_care": _COUNT | {"description": "Text regions that count."},
    "det_care": _COUNT | {"description": "Detections that count."},
}

_TRAIN: Node = {
    "action": _TEXT,
    "results_dir": _TEXT | {"description": "Folder of the run."},
    "epochs": _COUNT | {"description": "Epochs trained, those before a resumption included."},
    "best_epoch": _COUNT | {"description": "Epoch of model_best.pth, counted from 0."},
    "best_metric": {
        "description": "The metric that chose it.",
        **_closed(
            {
                "name": {"type": "string", "enum": ["hmean", "train_loss"]},
                "value": {"anyOf": [{"type": "number"}, {"type": "null"}]},
            }
        ),
    },
    "best_checkpoint": _TEXT | {"description": "Path of model_best.pth."},
    "checkpoints": {
        "type": "array",
        "items": {"type": "string", "pattern": "^model_epoch_\\d{3,}_step_\\d{5,}\\.pth$"},
        "description": "Names of the epochs' checkpoints.",
    },
    "last_metrics": {"description": "Metrics of the last epoch.", **_closed(_KPI, ())},
}

_EVALUATE: Node = {
    "action": _TEXT,
    **_SCORES,
    "counts": {"description": "Counts over all images.", **_closed(_COUNTS)},
    "images": _COUNT | {"description": "How many images were scored."},
    "checkpoint": _TEXT | {"description": "Model that was scored."},
    "backend": _TEXT | {"description": "What ran it: torch, onnxruntime, openvino or tensorrt."},
    "thresholds": {
        "description": "Thresholds of the post-processing.",
        **_closed({"thresh": _UNIT, "box_thresh": _UNIT}),
    },
    "results": _TEXT | {"description": "Path of this file."},
    "per_image": {
        "type": "array",
        "items": _closed({"image": _TEXT, **_SCORES, **_COUNTS}),
        "description": "The same of each image.",
    },
}

_VALUE = {"type": "number", "description": "Of the metric."}
_SETTINGS = {"type": "object", "description": "Dotted key and value of what is searched."}
_NAMES = {"type": "array", "items": {"type": "string"}}
_TRIAL: Node = {
    "trial": _COUNT | {"description": "Counted from 0."},
    "state": {"type": "string", "enum": list(STATES)},
    "value": _VALUE,
    "settings": _SETTINGS,
    "folder": _TEXT | {"description": "Its training's results."},
    **_KPI,
}
_BRIEF = {
    "anyOf": [
        _closed(
            {k: v for k, v in _TRIAL.items() if k not in ("precision", "recall")},
            ("trial", "state", "settings"),
        ),
        {"type": "null"},
    ]
}
_AUTOML: Node = {
    "action": _TEXT,
    "results_dir": _TEXT,
    "metric": {"type": "string", "enum": list(METRICS), "description": "What judges trials."},
    "direction": {"type": "string", "enum": ["minimize", "maximize"]},
    "states": {
        "description": "How many trials are in which state.",
        **_closed(dict.fromkeys(STATES, _COUNT)),
    },
    "best": {"description": "The whole trial with the best value.", **_BRIEF},
    "baseline": {"description": "The trial of the spec as it was.", **_BRIEF},
    "importance": {
        "type": "object",
        "additionalProperties": _UNIT,
        "description": "Share of each parameter in what tells good trials from others.",
    },
    "search": {
        "description": "What was asked for.",
        **_closed(
            {
                "searched": _NAMES,
                "asked": _NAMES,
                "fixed": _NAMES,
                "trials": _COUNT,
                "epochs": _COUNT,
                "minutes": {"type": "number", "minimum": 0},
                "sampler": {"type": "string", "enum": ["tpe", "random"]},
                "pruner": {"type": "string", "enum": ["asha", "hyperband", "none"]},
                "storage": _TEXT,
                "study": _TEXT,
            },
            ("searched", "sampler", "pruner"),
        ),
    },
    "trials": {
        "type": "array",
        "description": "Every trial that has begun; not in what the command prints.",
        "items": _closed(
            _TRIAL
            | {
                "baseline": {"type": "boolean"},
                "epochs": _COUNT,
                "seconds": {"type": "number", "minimum": 0},
                "host": _TEXT,
                "error": _TEXT,
                "stopped": {"type": "string", "enum": ["pruned", "budget"]},
            },
            ("trial", "state", "baseline", "settings", "epochs"),
        ),
    },
    "best_spec": _TEXT | {"description": "The best trial's spec, ready to train with."},
    "best_checkpoint": _TRAIN["best_checkpoint"],
}
_OPTIONAL = {
    SEARCH: ("best_spec", "best_checkpoint", "trials"),
    "prune": ("layers",),
    "evaluate": ("backend",),
    "deploy_evaluate": ("backend",),
}
"""What a search has once it has found something, and what stands in a file alone."""

_MEASURED: Node = {
    "description": "The model given, and the one written; measured side by side.",
    **_closed(
        {
            "megabytes": {"type": "number", "minimum": 0, "description": "Of weights or file."},
            "milliseconds": {"type": "number", "minimum": 0, "description": "An image, here."},
            "parameters": _COUNT,
            "gflops": {"type": "number", "minimum": 0, "description": "Of a 1280x736 image."},
            **_SCORES,
            "images": _COUNT | {"description": "How many images were scored."},
        },
        ("megabytes", "milliseconds"),
    ),
}
_QUANTIZE: Node = {
    "action": _TEXT,
    "backend": _TEXT,
    "mode": {"type": "string", "enum": ["static_ptq", "weight_only_ptq"]},
    "algorithm": _TEXT,
    "model_path": _TEXT | {"description": "What was quantized."},
    "quantized_model": _TEXT | {"description": "The file written."},
    "layers": {
        "description": "Layers with weights.",
        **_closed({"quantized": _COUNT, "left": _NAMES}),
    },
    **dict.fromkeys(("before", "after"), _MEASURED),
    "note": _TEXT,
    "results": _TEXT | {"description": "Path of this file."},
}
_PRUNE: Node = {
    "action": _TEXT,
    "checkpoint": _EVALUATE["checkpoint"],
    "pruned_model": _TEXT | {"description": "The file written."},
    "ch_sparsity": _UNIT,
    "round_to": _COUNT,
    "p": _COUNT,
    "thinned_layers": _COUNT | {"description": "Layers that lost channels."},
    **dict.fromkeys(("before", "after"), _MEASURED),
    "results": _TEXT,
    "layers": {
        "type": "array",
        "items": _closed({"layer": _TEXT, "before": _COUNT, "after": _COUNT}),
        "description": "Channels of the layers that lost some; not in what the command prints.",
    },
}
_BY_SECTION = {"prune": _PRUNE, "train": _TRAIN, "evaluate": _EVALUATE, "quantize": _QUANTIZE}

_WRITERS = {
    SEARCH: _AUTOML,
} | {
    name: _BY_SECTION[action.section]
    for name, action in ACTIONS.items()
    if action.section in _BY_SECTION
}
_ACTION: Node = {"type": "string", "enum": sorted(_WRITERS)}

"""Dotted keys of the spec that several modules name, and the rules about values that they share.

Imports nothing: what plans uses it as well as what trains.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

SECRETS = ("encryption_key",)
"""Keys whose values are never shown."""

TRAIN_DATA = "dataset.train_dataset.data_path"
TRAIN_WORKERS = "dataset.train_dataset.loader.num_workers"
BATCH = "dataset.train_dataset.loader.batch_size"
TRAIN_STEPS = "dataset.train_dataset.args.pre_processes"
VALIDATE_DATA = "dataset.validate_dataset.data_path"
VALIDATE_STEPS = "dataset.validate_dataset.args.pre_processes"
CALIBRATION_DATA = "dataset.quant_calibration_dataset.images_dir"

PRETRAINED = "model.pretrained_model_path"
LOAD_PRUNED = "model.load_pruned_graph"
PRUNED_GRAPH = "model.pruned_graph_path"

TRAIN_RESULTS = "train.results_dir"
NUM_EPOCHS = "train.num_epochs"
WARMUP = "train.lr_scheduler.args.warmup_epoch"
RESUME = "train.resume_training_checkpoint_path"
NUM_GPUS = "train.num_gpus"
GPU_IDS = "train.gpu_ids"
NUM_NODES = "train.num_nodes"
TRAIN_PRECISION = "train.precision"

EVALUATE_CHECKPOINT = "evaluate.checkpoint"
EVALUATE_ENGINE = "evaluate.trt_engine"

INFERENCE_CHECKPOINT = "inference.checkpoint"
INFERENCE_ENGINE = "inference.trt_engine"
INFERENCE_DATA = "inference.input_folder"
INFERENCE_RECURSIVE = "inference.recursive"
INFERENCE_OUTPUTS = "inference.outputs"
INFERENCE_SHARD = "inference.shard"
INFERENCE_SHARDS = "inference.shards"
SHARDS = Path("shards")
"""In the folder of an inference in parts: holds a folder for each, by its number."""
SKIP_UNREADABLE = "inference.skip_unreadable"
MAX_MEGAPIXELS = "max_megapixels"
MEGAPIXELS = 200
"""Its default: the largest picture that is decoded."""
INFERENCE_SIZE = ("inference.width", "inference.height")
INFERENCE_RESIZE = "inference.resize"
STRIDE = 32
"""The network halves its input five times: sides must be multiples of this."""
MOST_SIZES = 4.0
"""Pixels that `auto` spends on a long picture, in network's sizes."""

EXPORT_CHECKPOINT = "export.checkpoint"
EXPORT_ONNX = "export.onnx_file"

PRUNE_CHECKPOINT = "prune.checkpoint"
PRUNE_GPU = "prune.gpu_id"

QUANTIZE_MODEL = "quantize.model_path"
QUANTIZE_DEVICE = "quantize.device"
QUANTIZE_BACKEND = "quantize.backend"
QUANTIZE_MODE = "quantize.mode"
QUANTIZE_LAYERS = "quantize.layers"

ENGINE_ONNX = "gen_trt_engine.onnx_file"
ENGINE_FILE = "gen_trt_engine.trt_engine"
ENGINE_BACKEND = "gen_trt_engine.backend"
ENGINE_PRECISION = "gen_trt_engine.tensorrt.data_type"
ENGINE_CALIBRATION = "gen_trt_engine.tensorrt.calibration"
ENGINE_IMAGES = f"{ENGINE_CALIBRATION}.cal_image_dir"
ENGINE_CACHE = f"{ENGINE_CALIBRATION}.cal_cache_file"


def masked(values: Mapping[str, Any]) -> dict[str, Any]:
    """A spec's tree, or values by dotted key, with its secrets hidden."""
    return dict(values) | {key: "***" for key in SECRETS if values.get(key)}


def clamped_warmup(epochs: int, warmup: int) -> int:
    """Epochs of warm-up that a run of so many epochs has room for: it ends before the last one."""
    return min(warmup, epochs - 1)


def engine_wins(engine: str, checkpoint: str) -> str:
    """What is said where both of these keys have a value."""
    return f"{checkpoint!r} is not read: {engine!r} is given, and goes before it"


def results_folder(results_dir: str | Path, own: str, section: str) -> Path:
    """Folder of an action's results.

    Args:
        results_dir: of the whole experiment.
        own: `<section>.results_dir`, which goes before it; empty: not given.
        section: the action's own section.
    """
    return Path(own) if own else Path(results_dir) / section

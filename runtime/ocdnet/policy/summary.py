"""Where a planned job writes, what will be there, and the plan in one sentence."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import count
from pathlib import Path
from typing import Any

from ocdnet.catalogue import ACTIONS, SEARCH
from ocdnet.notes import Notes

_TRAINED = (
    "model_best.pth",
    "model_epoch_<EEE>_step_<SSSSS>.pth (epochs count from 0)",
    "ocd_model_latest.pth",
    "results.json (best_epoch)",
)
_FOUND = (
    "model_best.pth (the best trial's)",
    "best_spec.yaml",
    "trial_<NNN>/ (a training each)",
    "results.json",
)
_SCORES = ("results.json (hmean, precision, recall)",)
_PREDICTIONS = ("<stem>.txt", "<stem>_result.jpg", "<stem>_pred.jpg")
_FILES: dict[str, tuple[str, ...]] = {
    "train": _TRAINED,
    SEARCH: _FOUND,
    "resume": _TRAINED,
    "retrain": _TRAINED,
    "evaluate": _SCORES,
    "deploy_evaluate": _SCORES,
    "inference": _PREDICTIONS,
    "deploy_inference": _PREDICTIONS,
}
_DOES = {
    "train": "Train",
    "resume": "Go on training",
    "retrain": "Train the pruned model",
    "evaluate": "Score",
    "deploy_evaluate": "Score the engine",
    "inference": "Find text with",
    "deploy_inference": "Find text with the engine",
    "export": "Write as ONNX",
    "prune": "Prune",
    "quantize": "Quantize",
    "gen_trt_engine": "Build an engine from",
}
_MODEL = {
    "evaluate": "evaluate.checkpoint",
    "deploy_evaluate": "evaluate.trt_engine",
    "inference": "inference.checkpoint",
    "deploy_inference": "inference.trt_engine",
    "export": "export.checkpoint",
    "prune": "prune.checkpoint",
    "quantize": "quantize.model_path",
    "gen_trt_engine": "gen_trt_engine.onnx_file",
}


def section_of(action: str) -> str:
    """The action's own section, which also names its folder of results."""
    return "train" if action == "resume" else ACTIONS[action].section


def folder_of(action: str, tree: Mapping[str, Any]) -> Path:
    """Folder of the job's results: `<section>.results_dir`, else `<results_dir>/<section>`."""
    section = SEARCH if action == SEARCH else section_of(action)
    own = (tree.get(section) or {}).get("results_dir")
    return Path(own) if own else Path(tree.get("results_dir") or "results") / section


def free_results_dir(base: str, section: str, notes: Notes) -> str:
    """The folder itself, or the first of `<base>-2`, `-3` ... in which the section has no results.

    An earlier run is never written over.
    """
    if not _taken(Path(base) / section):
        return base
    plain = base.rstrip("/")
    free = next(f"{plain}-{n}" for n in count(2) if not _taken(Path(f"{plain}-{n}") / section))
    notes.warn(f"{base}/{section} holds an earlier job: this one writes to {free}/{section}.")
    return free


def _taken(folder: Path) -> bool:
    try:
        return any(folder.iterdir())
    except NotADirectoryError:
        return True
    except OSError:
        return False


def promised_files(action: str, tree: Mapping[str, Any]) -> dict[str, Any]:
    """The plan's `outputs`: the job's folder, and the files that matter in it or elsewhere."""
    files = list(_FILES.get(action, _artifact(action, tree)))
    return {"folder": str(folder_of(action, tree)), "files": [*files, "status.json"]}


def _artifact(action: str, tree: Mapping[str, Any]) -> list[str]:
    own = tree.get(action) or {}
    if action == "prune":
        return [f"pruned_{own.get('ch_sparsity')}.pth"]
    if action == "quantize":
        onnx = own.get("backend") == "modelopt.onnx"
        return ["a Q/DQ ONNX file" if onnx else "quantized_model_torchao.pth"]
    if action == "export":
        return [str(own.get("onnx_file") or "detector.onnx")]
    engine = str(own.get("trt_engine"))
    return [engine, f"{engine}.json"]


def summary(action: str, trials: int | None, tree: Mapping[str, Any], where: str | None) -> str:
    """The plan in one sentence, for the user to confirm.

    Args:
        action: what is planned.
        trials: of an AutoML search; None: it is no search.
        tree: the complete spec.
        where: the platform; None where another skill decides it, and the folder.
    """
    what = _DOES[action]
    if action in _MODEL:
        section, _, name = _MODEL[action].partition(".")
        what += f" {(tree.get(section) or {}).get(name) or 'a model'}"
    else:
        train, model = tree.get("train") or {}, tree.get("model") or {}
        what += f" {model.get('backbone')} for {epochs(train.get('num_epochs'))}"
        what += f" in each of {trials} trials of an AutoML search" if trials else ""
    data = _data(action, tree)
    if where is None:
        return f"{what}{data}."
    return f"{what}{data}; results in {folder_of(SEARCH if trials else action, tree)}, on {where}."


def epochs(count: Any) -> str:
    """A number of epochs in words."""
    return "1 epoch" if count == 1 else f"{count} epochs"


def _data(action: str, tree: Mapping[str, Any]) -> str:
    section = section_of(action)
    if section == "inference":
        return f" in {(tree.get(section) or {}).get('input_folder')}"
    if section not in ("train", "evaluate"):
        return ""
    dataset = tree.get("dataset") or {}
    names = ("train_dataset", "validate_dataset") if section == "train" else ("validate_dataset",)
    paths = [", ".join((dataset.get(name) or {}).get("data_path") or ["?"]) for name in names]
    return f" on {paths[0]}" + (
        f", validated on {paths[1]}" if paths[1:] and paths[1] != "?" else ""
    )

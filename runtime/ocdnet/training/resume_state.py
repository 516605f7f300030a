"""Whether everything that a run resumes from is whole: checked before the training starts."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ocdnet.checkpoint import SPEC_KEY
from ocdnet.config.train import Optimizer
from ocdnet.errors import DataError
from ocdnet.runs.names import METRICS
from ocdnet.training.ema import EMA_KEY
from ocdnet.training.optimizer import build_optimizer, optimizer_arguments
from ocdnet.tree import keys

Content = Mapping[str, Any]

_ADAM = ("step", "exp_avg", "exp_avg_sq")
_FREE = ("params", "lr", "foreach", "fused", "capturable")
"""Options of an optimiser that may differ between two machines, or follow a schedule."""
_ORDER = ("ready", "started", "processed", "completed")
"""Lightning's counters of a loop; each is at most the one before."""
_BATCHES = "epoch_loop.batch_progress"
_STEPS = "epoch_loop.automatic_optimization.optim_progress"
_SCALER = ("scale", "growth_factor", "backoff_factor", "growth_interval", "_growth_tracker")
_MOST = 2**53
_TRIAL = (2, 3, 64, 64)
"""Images that every network can be trained on."""


class Broken(Exception):
    """What of a checkpoint is missing or makes no sense; a sentence's end for people."""


def check_state(path: Path, content: Content, model: nn.Module, config: Optimizer) -> None:
    """Check the state that a run goes on with.

    Args:
        path: the checkpoint.
        content: of it.
        model: the network, of the checkpoint's shapes.
        config: the spec's `train.optimizer`, of the checkpoint's type.

    Raises:
        DataError: a part is missing, damaged, or of another optimiser or network.
    """
    try:
        _check_version(content)
        _check_weights(content, model)
        steps = _check_loops(content)
        _check_optimizer(content, model, config, steps)
        _check_scaler(content)
        _check_callbacks(content)
    except Broken as error:
        raise DataError(
            "bad-checkpoint",
            f"Cannot resume from {path}: {error}",
            expected="a model_epoch_<EEE>_step_<SSSSS>.pth as training wrote it",
            hint="Resume from another one, or start anew from its weights: "
            f"model.pretrained_model_path={path}",
        ) from error


def _need(good: bool, problem: str) -> None:
    if not good:
        raise Broken(problem)


def _part(content: Any, key: str, kind: type | tuple[type, ...], where: str = "") -> Any:
    """An entry, after a check of its type."""
    value = content.get(key)
    _need(isinstance(value, kind) and not isinstance(value, bool), f"its {where}{key} is missing")
    return value


def _count(content: Any, key: str, where: str) -> int:
    value: int = _part(content, key, int, where)
    _need(0 <= value <= _MOST, f"its {where}{key} is {value}")
    return value


def _check_version(content: Content) -> None:
    version = _part(content, "pytorch-lightning_version", str)
    # Lightning converts what releases before 2 wrote, none of which was ours.
    major = version.partition(".")[0]
    _need(major.isdecimal() and int(major) >= 2, f"it names Lightning {version!r}")


def _check_weights(content: Content, model: nn.Module) -> None:
    own = {f"model.{key}": value for key, value in model.state_dict().items()}
    _check_tensors(_part(content, "state_dict", Mapping), own, "state_dict")
    averages = keys.get(content[SPEC_KEY], "train.model_ema") is True
    if EMA_KEY not in content:
        _need(not averages, "the average of its weights (train.model_ema) is missing")
        return
    average = _part(content, EMA_KEY, Mapping)
    _count(average, "updates", f"{EMA_KEY}.")
    trained = _part(average, "trained", Mapping, f"{EMA_KEY}.")
    _check_tensors(trained, own, f"{EMA_KEY}.trained")


def _check_tensors(given: Mapping[str, Any], own: Mapping[str, Tensor], where: str) -> None:
    _need(given.keys() == own.keys(), f"its {where} has other keys than the network")
    for key, tensor in own.items():
        _check_tensor(given[key], tensor.shape, f"{where}.{key}")
        same = given[key].is_floating_point() == tensor.is_floating_point()
        _need(same, f"its {where}.{key} is {given[key].dtype}")


def _check_tensor(value: Any, shape: torch.Size, where: str) -> None:
    plain = isinstance(value, Tensor) and value.layout == torch.strided and not value.is_meta
    _need(plain, f"its {where} is no tensor")
    _need(value.shape == shape, f"its {where} has the shape {list(value.shape)}")
    finite = bool(torch.isfinite(value.float()).all())
    _need(not value.is_complex() and finite, f"its {where} holds values that are not finite")


def _check_loops(content: Content) -> int:
    """Check Lightning's counters; the optimiser steps so far."""
    loops = _part(_part(content, "loops", Mapping), "fit_loop", Mapping, "loops.")
    for key, value in loops.items():
        if str(key).endswith("state_dict"):
            _need(isinstance(value, Mapping), f"its loops.{key} is no mapping")
            _need(not value.get("combined_loader"), f"its loops.{key} is of another data loader")
        else:
            _check_progress(value, f"loops.{key}")
    epochs = _part(loops, "epoch_progress", Mapping, "loops.")["current"]
    batches = _part(loops, _BATCHES, Mapping, "loops.")
    _need(isinstance(batches.get("is_last_batch"), bool), f"its loops.{_BATCHES} is not whole")
    steps = _part(loops, _STEPS, Mapping, "loops.")
    total = int(steps["optimizer"]["step"]["total"]["completed"])
    for progress, where in ((epochs, "epoch_progress"), (batches["current"], _BATCHES)):
        _need(progress.keys() >= {*_ORDER}, f"its loops.{where} is not whole")
        _need(progress["ready"] - progress["completed"] <= 1, f"its loops.{where} is no progress")
    stepped = _part(loops, "epoch_loop.state_dict", Mapping, "loops.")
    _count(stepped, "_batches_that_stepped", "loops.epoch_loop.state_dict.")
    epoch, step = _count(content, "epoch", ""), _count(content, "global_step", "")
    _need(epoch == epochs["completed"], f"its epoch is {epoch}, its loops say otherwise")
    _need(step == total, f"its global_step is {step}, its loops say {total}")
    _need(epoch <= step, f"it has seen {epoch} epochs in {step} steps")
    _need(step <= batches["total"]["ready"], f"it has made {step} steps of fewer batches")
    return step


def _check_progress(value: Any, where: str) -> None:
    """Counters, maybe of several parts: `total` and `current`, each in `_ORDER`."""
    _need(isinstance(value, Mapping), f"its {where} is no mapping")
    if "total" not in value and "current" not in value:
        wanted = {"optimizer"} if where.endswith("optim_progress") else {"step", "zero_grad"}
        _need(value.keys() == wanted, f"its {where} is not whole")
        for key, part in value.items():
            _check_progress(part, f"{where}.{key}")
        return
    _need(value.keys() <= {"total", "current", "is_last_batch"}, f"its {where} has other keys")
    for name in ("total", "current"):
        counters = _part(value, name, Mapping, f"{where}.")
        _need({"ready", "completed"} <= counters.keys() <= {*_ORDER}, f"its {where} is not whole")
        counts = [_count(counters, key, f"{where}.{name}.") for key in _ORDER if key in counters]
        _need(counts == sorted(counts, reverse=True), f"its {where}.{name} is no progress")


def _check_optimizer(content: Content, model: nn.Module, config: Optimizer, steps: int) -> None:
    states = _part(content, "optimizer_states", list)
    _need(len(states) == 1, f"it holds the state of {len(states)} optimisers")
    _need(isinstance(states[0], Mapping), "the state of its optimiser is no mapping")
    groups = _part(states[0], "param_groups", list, "optimizer_states.")
    state = _part(states[0], "state", Mapping, "optimizer_states.")
    parameters = list(model.parameters())
    _need(len(groups) == 1, f"its optimiser has {len(groups)} groups of parameters")
    _need(isinstance(groups[0], Mapping), "its optimiser's parameters are no mapping")
    ids = groups[0].get("params")
    _need(ids == list(range(len(parameters))), "its optimiser has other parameters")
    _check_options(groups[0], model, config)
    _check_scheduler(content)
    if config.type == "SGD" and not groups[0]["momentum"]:
        _need(not any(state.values()), "the state is of another optimiser than SGD")
        return
    _need(state.keys() <= {*ids}, "its optimiser has other parameters")
    lacking = {*ids} - state.keys()
    whole = not lacking or not steps or lacking <= _idle(model)
    _need(whole, "the state of its optimiser is not whole")
    names = [*_ADAM, *(["max_exp_avg_sq"] if groups[0].get("amsgrad") else [])]
    wanted = {"momentum_buffer"} if config.type == "SGD" else {*names}
    for number, entry in state.items():
        where = f"optimizer_states.state.{number}"
        _need(isinstance(entry, Mapping), f"its {where} is no mapping")
        _need(entry.keys() == wanted, f"its {where} is of another optimiser than {config.type}")
        for name in wanted - {"step"}:
            _check_tensor(entry[name], parameters[number].shape, f"{where}.{name}")
            _need(entry[name].is_floating_point(), f"its {where}.{name} is {entry[name].dtype}")
            square = not name.endswith("_sq") or bool((entry[name] >= 0).all())
            _need(square, f"its {where}.{name} holds negative squares")
        if "step" in wanted:
            _check_tensor(entry["step"], torch.Size([]), f"{where}.step")
            _need(1 <= float(entry["step"]) <= steps, f"its {where}.step is no step of the run")


def _idle(model: nn.Module) -> set[int]:
    """Places of the parameters without gradients: FAN has some that its maps do not need."""
    trial = copy.deepcopy(model).train()
    trial(torch.zeros(_TRIAL)).sum().backward()
    return {at for at, weight in enumerate(trial.parameters()) if weight.grad is None}


def _check_options(group: Mapping[str, Any], model: nn.Module, config: Optimizer) -> None:
    """Options that the spec does not set are those of a new optimiser, its own are numbers."""
    new = build_optimizer(config, model).param_groups[0]
    _need(group.keys() == new.keys(), f"its optimiser has other options than {config.type}")
    for name, value in new.items():
        given, where = group[name], f"its optimiser's {name} is {group[name]!r:.40}"
        if name in ("foreach", "fused", "capturable"):
            _need(given is None or isinstance(given, bool), where)
        elif name == "lr" or name in optimizer_arguments(config):
            number = isinstance(given, int | float) and math.isfinite(given) and given >= 0
            _need(number and isinstance(given, bool) == isinstance(value, bool), where)
        elif name not in _FREE:
            same = (
                list(given) == list(value)
                if isinstance(value, tuple) and isinstance(given, list | tuple)
                else given == value and type(given) is type(value)
            )
            _need(same, where)


def _check_scheduler(content: Content) -> None:
    # The learning rate is a function of the epoch: no scheduler has a state.
    _need(not _part(content, "lr_schedulers", list), "its lr_schedulers are of another program")


def _check_scaler(content: Content) -> None:
    """The scale of fp16's losses, where there is one."""
    if "MixedPrecision" not in content:
        return
    scaler = _part(content, "MixedPrecision", Mapping)
    _need(not scaler or scaler.keys() == {*_SCALER}, "its MixedPrecision is not whole")
    for name, value in scaler.items():
        number = isinstance(value, int | float) and not isinstance(value, bool)
        least: Callable[[float], bool] = (lambda x: x >= 0) if name[0] == "_" else (lambda x: x > 0)
        good = number and math.isfinite(value) and least(value)
        _need(good, f"its MixedPrecision.{name} is {value!r:.40}")


def _check_callbacks(content: Content) -> None:
    """The best so far; earlier releases did not keep its loss."""
    callbacks = _part(content, "callbacks", Mapping)
    where = "callbacks.EpochCheckpoints"
    best = _part(callbacks, "EpochCheckpoints", Mapping, "callbacks.")
    _need({"best", "best_epoch", "metric"} <= best.keys(), f"its {where} is not whole")
    _need(best["metric"] in METRICS, f"its {where}.metric is {best['metric']!r:.40}")
    for name in ("best", "best_loss", "best_epoch"):
        value, kind = best.get(name), int if name == "best_epoch" else int | float
        number = isinstance(value, kind) and not isinstance(value, bool) and math.isfinite(value)
        _need(value is None or number, f"its {where}.{name} is {value!r:.40}")
    for name, state in callbacks.items():
        _need(isinstance(state, Mapping), f"its callbacks.{name} is no mapping")

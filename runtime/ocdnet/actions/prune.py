"""Prune: remove channels from a network, which is then trained again."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from ocdnet import install
from ocdnet.actions.scoring import kpi, side_by_side
from ocdnet.actions.session import session, store_spec
from ocdnet.backends.torch import TorchPredictor
from ocdnet.checkpoint import PRUNED_KEY, SPEC_KEY, Checkpoint
from ocdnet.config import spec
from ocdnet.config.prune import PruneConfig
from ocdnet.config.spec import Loaded
from ocdnet.data.steps import eval_preprocess
from ocdnet.devices import torch_device
from ocdnet.errors import DataError, SpecError
from ocdnet.files import replacing, sha256
from ocdnet.models.factory import build_model
from ocdnet.networks import network_of
from ocdnet.runs.files import RESULTS
from ocdnet.runs.outputs import refuse_input
from ocdnet.runs.records import Measured, PruneResult, ThinnedLayer, write_results
from ocdnet.weights import load_exactly, read_checkpoint, save

LOG = logging.getLogger("ocdnet")
_IMAGE = (1, 3, 736, 1280)
"""Input for which operations are counted: TAO's default size."""


def run(loaded: Loaded) -> PruneResult:
    """Write `pruned_<ch_sparsity>.pth`: the smaller weights, and the spec.

    Args:
        loaded: a spec checked for `prune`.

    Returns:
        The file, and parameters, operations, size, latency and (with validation data) hmean before
        and after; results.json also holds every layer's channels.

    Raises:
        UserError: a bad checkpoint, settings that leave nothing of a layer, a missing package.
    """
    experiment = loaded.experiment
    config = experiment.prune
    install.require("torch_pruning", "prune needs torch-pruning", "prune")
    name = f"pruned_{config.ch_sparsity}.pth"
    with session(loaded, writes=(name, RESULTS)) as here:
        source = _source(config)
        target = here.folder / name
        refuse_input(target, source.path, "prune.results_dir")
        experiment.model = network_of(source, experiment.model)
        store_spec(loaded)
        backbone = experiment.model.backbone
        model = build_model(experiment.model)
        load_exactly(model, source, backbone)
        before = _cost(model)
        LOG.info(
            "Pruning %s: %.1f %% of each layer's channels.", backbone, 100 * config.ch_sparsity
        )
        cuts = _pruned(model, config)
        after = _cost(model)
        how = {"ch_sparsity": config.ch_sparsity, "round_to": config.round_to, "p": config.p}
        content = {
            "state_dict": model.state_dict(),
            SPEC_KEY: {**source.spec, "model": spec.dump(loaded)["model"]},
            PRUNED_KEY: {**how, "source": sha256(source.path), "before": before, "after": after},
            **source.carried(),
        }
        with replacing(target) as temporary:
            save(content, temporary)
            # While the file has its temporary name: bad validation data leave no file behind.
            old, new = _measured(loaded, {source.path: before, temporary: after})
        here.status.write("RUNNING", f"Pruned into {target}.", kpi(new))
        result = PruneResult(
            warnings=here.warnings,
            checkpoint=str(source.path),
            pruned_model=str(target),
            ch_sparsity=config.ch_sparsity,
            round_to=config.round_to,
            p=config.p,
            thinned_layers=len(cuts),
            before=old,
            after=new,
            results=str(here.folder / RESULTS),
            layers=tuple(
                ThinnedLayer(layer=cut.layer, before=cut.before, after=cut.after) for cut in cuts
            ),
        )
        write_results(here.folder, result)
        return replace(result, layers=None)


def _source(config: PruneConfig) -> Checkpoint:
    path = Path(config.checkpoint)
    if path.suffix == ".onnx":
        raise DataError(
            "wrong-model-file",
            f"prune needs a checkpoint, but {path.name} is an exported network",
            got=path.suffix,
            expected="a .pth file",
            hint="Give the checkpoint from which it was exported.",
        )
    checkpoint = read_checkpoint(path)
    if checkpoint.int8:
        raise DataError(
            "already-quantized",
            f"The weights of {path} are int8",
            expected="a checkpoint of training or pruning",
            hint="Prune first, train again, then quantize.",
        )
    return checkpoint


def _pruned(model: nn.Module, config: PruneConfig) -> list[Any]:
    """Remove channels; the layers that lost some. SpecError names a setting's largest value."""
    from ocdnet.models.pruning import CannotPrune, prune_channels

    try:
        cuts = prune_channels(model, config.ch_sparsity, config.round_to, config.p)
    except CannotPrune as error:
        at_most = {
            "round_to": str(error.channels),
            "ch_sparsity": f"{int(1000 * (1 - 1 / error.channels)) / 1000:g}",
        }[error.key]
        raise SpecError(
            "cannot-prune",
            f"'prune.{error.key}' does not fit the layer {error.layer}",
            got=getattr(config, error.key),
            expected=f"at most {at_most}: the layer has {error.channels} channels",
            hint=f"Set prune.{error.key}={at_most} or less.",
        ) from error
    if not cuts:
        raise SpecError(
            "nothing-pruned",
            "No layer would lose a channel",
            got={"ch_sparsity": config.ch_sparsity, "round_to": config.round_to},
            expected="a share of the widest layer that amounts to round_to channels or more",
            hint="Raise prune.ch_sparsity, or lower prune.round_to.",
        )
    for cut in cuts if config.verbose else ():
        LOG.info("%s: %d -> %d channels", cut.layer, cut.before, cut.after)
    return cuts


def _cost(model: nn.Module) -> dict[str, Any]:
    """Parameters and size, and operations for one 1280x736 image; a multiply-add counts as two."""
    model.eval()
    with torch.inference_mode(), FlopCounterMode(display=False) as counter:
        model(torch.zeros(_IMAGE))
    parameters = sum(parameter.numel() for parameter in model.parameters())
    size = sum(value.numel() * value.element_size() for value in model.state_dict().values())
    return {
        "parameters": parameters,
        "gflops": round(counter.get_total_flops() / 1e9, 2),
        "megabytes": round(size / 1e6, 3),
    }


def _measured(loaded: Loaded, costs: Mapping[Path, dict[str, Any]]) -> list[Measured]:
    """What both networks cost, and how they score, as evaluate runs them."""
    experiment = loaded.experiment
    data = experiment.dataset.validate_dataset
    device = torch_device(1, [experiment.prune.gpu_id])
    predictors = [TorchPredictor(path, experiment.model, device) for path in costs]
    sizes = [cost["megabytes"] for cost in costs.values()]
    models = side_by_side(predictors, sizes, eval_preprocess(data.args), data, "pruning")
    return [
        replace(model, parameters=cost["parameters"], gflops=cost["gflops"])
        for model, cost in zip(models, costs.values(), strict=True)
    ]

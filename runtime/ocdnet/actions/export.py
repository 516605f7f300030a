"""Export: a checkpoint as ONNX that ONNX Runtime and TensorRT read, checked against torch."""

from __future__ import annotations

import contextlib
import io
import logging
import warnings
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ocdnet import install
from ocdnet.actions.session import session
from ocdnet.backends.onnx import OnnxPredictor
from ocdnet.backends.torch import TorchPredictor
from ocdnet.config.export import ExportConfig
from ocdnet.config.spec import Loaded
from ocdnet.data.preprocess import TAO, Preprocess
from ocdnet.errors import EnvironmentFault, RunError, SpecError
from ocdnet.files import replacing, sha256
from ocdnet.models.quantized import to_float
from ocdnet.runs.files import onnx_beside
from ocdnet.runs.printed import ExportResult, Tensor
from ocdnet.runs.status_line import Kpi
from ocdnet.spec_keys import STRIDE

LOG = logging.getLogger("ocdnet")
LEAST_OPSET = 19
"""The first operator set with DeformConv."""
_SIDES = ("height", "width")
_MOST_PARTS = 1024
"""Of 32 pixels: sides of a dynamic size up to 32,768."""
TOLERANCE = 1e-3
"""Largest difference of a probability between torch and the exported file."""


def run(loaded: Loaded) -> ExportResult:
    """Write an ONNX file: input `input` float32[batch, 3, H, W], output `pred` [batch, 1, H, W].

    The batch size is dynamic, the image size fixed unless `export.dynamic_size` says otherwise;
    `metadata_props` holds the preprocessing.

    Args:
        loaded: a spec checked for `export`.

    Returns:
        The file, its input, and the largest difference from torch.

    Raises:
        UserError: a bad checkpoint, an existing file, a missing package, or an exported network
            that computes something else.
    """
    config = loaded.experiment.export
    _require_packages()
    with session(loaded) as here:
        checkpoint = Path(config.checkpoint)
        target = Path(config.onnx_file or onnx_beside(config.checkpoint))
        _refuse_existing(target)
        _refuse_unknown(config.opset_version)
        predictor = TorchPredictor(checkpoint, loaded.experiment.model, torch.device("cpu"))
        mode = predictor.img_mode or loaded.experiment.dataset.validate_dataset.args.img_mode
        how = predictor.normalisation or TAO
        preprocess = Preprocess((config.width, config.height), mode, how)
        LOG.info("Exporting %s: about a minute.", checkpoint)
        with replacing(target) as temporary:
            with _quiet(config.verbose):
                _write(predictor.model, temporary, config)
            opset = _fit_opset(temporary, config.opset_version)
            _describe(temporary, preprocess, checkpoint, predictor.backbone)
            LOG.info("Comparing the exported network with the checkpoint's.")
            difference = _parity(predictor, temporary, preprocess)
            if config.dynamic_size:
                turned = replace(preprocess, size=(config.height + STRIDE, config.width))
                difference = max(difference, _parity(predictor, temporary, turned))
        sides = _SIDES if config.dynamic_size else (config.height, config.width)
        here.status.write("RUNNING", f"Exported {target}.", Kpi(max_difference=difference))
        return ExportResult(
            warnings=here.warnings,
            onnx_file=str(target),
            input=Tensor(name="input", shape=("batch", 3, *sides)),
            output=Tensor(name="pred", shape=("batch", 1, *sides)),
            opset=opset,
            img_mode=mode,
            max_difference=difference,
        )


def _write(model: torch.nn.Module, path: Path, config: ExportConfig) -> None:
    # Two images: the exporter would take a batch of one for a constant.
    example = torch.zeros(2, 3, config.height, config.width)
    model = model.to(memory_format=torch.contiguous_format)
    if to_float(model):
        LOG.info("The weights are int8: the ONNX file holds them as floats of the same values.")
    shapes: dict[int, Any] = {0: torch.export.Dim("batch")}
    if config.dynamic_size:
        for axis, side in enumerate(_SIDES, 2):
            shapes[axis] = STRIDE * torch.export.Dim(f"{side}_parts", min=1, max=_MOST_PARTS)
    program = torch.onnx.export(
        model,
        (example,),
        input_names=["input"],
        output_names=["pred"],
        opset_version=max(config.opset_version, LEAST_OPSET),
        dynamo=True,
        dynamic_shapes=(shapes,),
        verbose=config.verbose,
    )
    program.save(path, external_data=False)


def _describe(path: Path, preprocess: Preprocess, checkpoint: Path, backbone: str) -> None:
    """Add preprocessing, backbone and source to the file's metadata."""
    import onnx

    model = onnx.load(path)
    for value in (*model.graph.input, *model.graph.output):
        for dimension, name in zip(value.type.tensor_type.shape.dim[2:], _SIDES, strict=True):
            if dimension.dim_param:  # an expression of the exporter's
                dimension.dim_param = name
    onnx.helper.set_model_props(
        model,
        {
            **preprocess.to_metadata(),
            "ocdnet.backbone": backbone,
            "ocdnet.source_sha256": sha256(checkpoint),
        },
    )
    onnx.checker.check_model(model, full_check=True)
    onnx.save(model, path)


def _parity(predictor: TorchPredictor, path: Path, preprocess: Preprocess) -> float:
    """Largest difference from torch on an image of noise; raises RunError above TOLERANCE."""
    noise = np.random.default_rng(0).integers(0, 256, (736, 1280, 3), dtype=np.uint8)
    images = preprocess.to_tensor([preprocess.prepare(noise).image])
    difference = float(np.abs(predictor(images) - OnnxPredictor(path)(images)).max())
    if not difference <= TOLERANCE:
        raise RunError(
            "no-parity",
            "The exported network does not compute what the checkpoint does",
            got=difference,
            expected=f"differences up to {TOLERANCE}",
            hint="Nothing was written. Report this with the versions of torch and onnxruntime.",
        )
    return difference


def _refuse_unknown(opset: int) -> None:
    from onnx.defs import onnx_opset_version

    newest = onnx_opset_version()
    if opset > newest:
        raise SpecError(
            "unknown-opset",
            "The ONNX package that is installed does not know 'export.opset_version'",
            got=opset,
            expected=f"{newest} at most",
        )


def _fit_opset(path: Path, wanted: int) -> int:
    """Bring a file to the operator set that is wanted, or the first above that has its operators.

    Its IR version becomes the one of that operator set: older runtimes refuse a newer one.

    Returns:
        The operator set.
    """
    import onnx

    from ocdnet.actions.opsets import lowered, opset_of

    model = lowered(onnx.load(path), wanted)
    opset = opset_of(model)
    if opset > wanted:
        LOG.warning(
            "export.opset_version is raised from %d to %d, the first that has all of the network's "
            "operators%s.",
            wanted,
            opset,
            " (DeformConv)" if opset == LEAST_OPSET else "",
        )
    model.ir_version = onnx.helper.find_min_ir_version_for(model.opset_import)
    onnx.save(model, path)
    return opset


def _refuse_existing(target: Path) -> None:
    if target.exists():
        raise SpecError(
            "file-exists",
            f"{target} exists",
            expected="a file that does not exist yet",
            hint="Remove it, or set export.onnx_file to another path.",
        )


def _require_packages() -> None:
    from importlib.util import find_spec

    missing = [name for name in ("onnx", "onnxscript", "onnxruntime") if find_spec(name) is None]
    if missing:
        raise EnvironmentFault(
            "missing-packages",
            f"Export needs {', '.join(missing)}",
            hint=install.command("export"),
        )


@contextlib.contextmanager
def _quiet(verbose: bool) -> Any:
    """Hide the exporter's output unless it is wanted."""
    if verbose:
        yield
        return
    with contextlib.redirect_stdout(io.StringIO()), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield

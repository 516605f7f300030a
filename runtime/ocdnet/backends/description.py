"""What a model's file says of itself; nothing is run."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ocdnet.backends.base import BatchSizes
from ocdnet.backends.open import is_foreign
from ocdnet.backends.sidecar import Engine, beside, read_engine
from ocdnet.data.preprocess import TAO, Normalisation
from ocdnet.data.resizing import Room
from ocdnet.errors import DataError
from ocdnet.files import sha256
from ocdnet.runs.printed_weights import InputInfo, ModelInfo
from ocdnet.runs.records import StartingWeights
from ocdnet.spec_keys import BATCH, NUM_EPOCHS, TRAIN_DATA, TRAIN_PRECISION
from ocdnet.tree import keys
from ocdnet.zoo.registry import Weights, of_digest

if TYPE_CHECKING:
    from ocdnet.checkpoint import Checkpoint
    from ocdnet.config.model import ModelConfig

_CHECKPOINTS = (".pth", ".tlt", ".ckpt")
_TOLD = (TRAIN_DATA, NUM_EPOCHS, BATCH, "train.optimizer.args.lr", TRAIN_PRECISION)
"""Settings of a training that are told of its checkpoint."""


def describe(path: Path) -> ModelInfo:
    """What a checkpoint, an ONNX file or an engine (by the JSON file beside it) says of itself.

    Raises:
        DataError: absent, damaged, or none of these.
        EnvironmentFault: the package that reads it is not installed.
    """
    if not path.is_file():
        raise DataError("no-model", f"There is no file {path}", got=str(path))
    engine = None if is_foreign(path) else _engine(path)
    if engine is not None:
        return _of_engine(path, engine)
    return _of_onnx(path) if path.suffix == ".onnx" else _of_checkpoint(path)


def _engine(path: Path) -> Engine | None:
    engine = read_engine(path)
    if engine is None and path.suffix not in (*_CHECKPOINTS, ".onnx"):
        raise DataError(
            "unknown-model-file",
            f"{path} has no {beside(path).name}, and not the suffix of a model",
            got=path.suffix,
            expected="a .pth or .onnx file, or an engine with the JSON file that was written to it",
        )
    return engine


def _of_checkpoint(path: Path) -> ModelInfo:
    from ocdnet.weights import fitting_backbone, read_checkpoint

    checkpoint = read_checkpoint(path)
    weights, digest = checkpoint.weights, sha256(path)
    known, spec = of_digest(digest), {key: keys.get(checkpoint.spec, key) for key in _TOLD}
    fpn = _fpn_of(checkpoint, known)
    learnt = [value for key, value in weights.items() if _is_learnt(key)]
    return ModelInfo(
        file=str(path),
        kind="checkpoint",
        source=checkpoint.source,
        name=known.name if known else None,
        sha256=digest,
        bytes=path.stat().st_size,
        backbone=checkpoint.backbone or fitting_backbone(weights),
        inner_channels=fpn.inner_channels if fpn else None,
        neck_block=fpn.neck_block if fpn else None,
        input=_input(checkpoint.img_mode, checkpoint.normalisation),
        tensors=len(weights),
        parameters=sum(value.numel() for value in learnt),
        resumable=checkpoint.full,
        pruned=checkpoint.pruned,
        int8_layers=len(checkpoint.int8),
        start=StartingWeights(**_texts(checkpoint.start)) if checkpoint.start else None,
        spec={key: value for key, value in spec.items() if value is not None} or None,
    )


def _fpn_of(checkpoint: Checkpoint, known: Weights | None) -> ModelConfig | None:
    """The network of a checkpoint whose neck is an FPN; None of others, and of backbones alone."""
    from ocdnet.networks import LATERAL, own_model

    try:
        return own_model(checkpoint, known) if LATERAL in checkpoint.weights else None
    except DataError:  # its spec makes no sense
        return None


def _texts(start: Mapping[str, str]) -> dict[str, Any]:
    return dict(start)


def _is_learnt(key: str) -> bool:
    """Whether it is a weight, and no statistic of a batch norm."""
    return not key.endswith(("running_mean", "running_var", "num_batches_tracked"))


def _of_onnx(path: Path) -> ModelInfo:
    from ocdnet.backends.onnx import OnnxPredictor
    from ocdnet.onnx_file import load_whole, model_sha256

    predictor = OnnxPredictor(path)
    model = load_whole(path)
    told = {one.key: one.value for one in model.metadata_props}
    weights = model.graph.initializer
    source = told.get("ocdnet.source_sha256")
    return ModelInfo(
        file=str(path),
        kind="onnx",
        source="ocdnet's export" if source else f"another trainer ({beside(path).name})",
        sha256=model_sha256(path),
        bytes=path.stat().st_size,
        backbone=told.get("ocdnet.backbone"),
        input=_input(predictor.img_mode, predictor.normalisation, predictor.size),
        tensors=len(weights),
        parameters=sum(_count(value.dims) for value in weights),
        batch=_three(predictor.batch),
        made_from={"sha256": source} if source else None,
    )


def _count(sides: Any) -> int:
    product = 1
    for side in sides:
        product *= side
    return product


def _of_engine(path: Path, engine: Engine) -> ModelInfo:
    return ModelInfo(
        file=str(path),
        kind="engine",
        source=f"gen_trt_engine, for {engine.kind}",
        sha256=engine.engine_sha256,
        bytes=path.stat().st_size,
        input=_input(engine.preprocess.img_mode, engine.normalisation, engine.size),
        precision=engine.precision,
        batch=_three(engine.sizes),
        made_from={str(key): value for key, value in engine.source.items()},
    )


def _three(batch: BatchSizes | None) -> tuple[int, int, int] | None:
    return (batch.min, batch.opt, batch.max) if batch else None


def _input(
    img_mode: str | None,
    normalisation: Normalisation | None,
    size: tuple[int, int] | Room | None = None,
) -> InputInfo:
    how, room = normalisation or TAO, size if isinstance(size, Room) else None
    return InputInfo(
        img_mode=img_mode,
        mean=how.mean,
        divisor=how.divisor,
        size=None if isinstance(size, Room) else size,
        min_size=room.least if room else None,
        max_size=room.most if room else None,
    )

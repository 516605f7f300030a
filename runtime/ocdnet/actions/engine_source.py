"""The ONNX file that an engine is built from, and what the spec asks of it."""

from __future__ import annotations

import fnmatch
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ocdnet.backends.base import Batch, BatchSizes, filled
from ocdnet.backends.maps import check_map
from ocdnet.backends.onnx import OnnxPredictor
from ocdnet.backends.open import check_fit
from ocdnet.config.gen_trt_engine import GenTrtEngineConfig, TensorRT
from ocdnet.data.preprocess import Preprocess
from ocdnet.errors import DataError, SpecError
from ocdnet.tree.keys import nearest

_FORMATS = ("fp32", "fp16", "int8")
_LAYERS = "gen_trt_engine.tensorrt.layers_precision"
_SHOWN = 10


@dataclass(frozen=True, kw_only=True)
class Source:
    """An ONNX file to build from.

    Attributes:
        path: the file.
        sha256: of the file and of those beside it that hold its weights.
        predictor: the file in ONNX Runtime.
        preprocess: how images become its input, at the engine's size.
        batch: images in a batch of the engine.
        nodes: operator of each node, by the node's name.
    """

    path: Path
    sha256: str
    predictor: OnnxPredictor
    preprocess: Preprocess
    batch: BatchSizes
    nodes: dict[str, str]

    @property
    def operators(self) -> set[str]:
        """Operator types of the nodes."""
        return set(self.nodes.values())


def read_source(config: GenTrtEngineConfig) -> Source:
    """Read the ONNX file of a section, and try it once.

    Raises:
        DataError: it cannot be used, is of another size, image mode or batch than the spec says, or
            does not answer with probabilities.
        SpecError: the spec gives both a fixed batch and a profile.
    """
    import onnx

    from ocdnet.onnx_file import check_weights, model_sha256

    path = Path(config.onnx_file)
    wanted = Preprocess((config.width, config.height), config.img_mode)
    predictor = OnnxPredictor(path)
    preprocess = check_fit(predictor, wanted, path)
    if predictor.size is not None and config.least != config.most:
        raise DataError(
            "size-mismatch",
            f"{path} takes images of one size only",
            got=f"min_size {list(config.least)}, max_size {list(config.most)}",
            expected="none of them, or a file of export.dynamic_size=true",
        )
    check_weights(path)
    batch = batch_sizes(config, predictor.batch, path)
    try_out(predictor, preprocess, batch.max)
    graph = onnx.load(path, load_external_data=False).graph
    return Source(
        path=path,
        sha256=model_sha256(path),
        predictor=predictor,
        preprocess=preprocess,
        batch=batch,
        nodes={node.name or f"#{n}": node.op_type for n, node in enumerate(graph.node)},
    )


def try_out(predictor: OnnxPredictor, preprocess: Preprocess, most: int = 1) -> None:
    """Run a network once on noise: what it cannot do is known before anything is made of it.

    Args:
        predictor: the network.
        preprocess: how images become its input.
        most: images in a batch that it is to take; two tell whether it takes several.

    Raises:
        DataError: it cannot compute such a batch, or its answers are no probabilities.
    """
    for probability in predictor(filled(noise(preprocess), min(most, 2))):
        check_map(probability, predictor, None)


def noise(preprocess: Preprocess) -> Batch:
    """A batch of one image of noise, always the same."""
    pixels = np.random.default_rng(0).integers(0, 256, (736, 1280, 3), dtype=np.uint8)
    return preprocess.to_tensor([preprocess.prepare(pixels).image])


def batch_sizes(config: GenTrtEngineConfig, fixed: BatchSizes | None, path: Path) -> BatchSizes:
    """Images in a batch of the engine: the spec's profile, or the number that spec or file fixes.

    Args:
        config: the section.
        fixed: the batch of the ONNX file; None if it is dynamic.
        path: the ONNX file, for messages.

    Raises:
        DataError: spec and file fix different numbers.
        SpecError: the spec has a profile, and the batch is fixed.
    """
    profile = BatchSizes(
        config.tensorrt.min_batch_size,
        config.tensorrt.opt_batch_size,
        config.tensorrt.max_batch_size,
    )
    size = config.batch_size if config.batch_size > 0 else fixed.max if fixed else None
    if size is None:
        return profile
    if fixed is not None and fixed.max != size:
        raise DataError(
            "batch-mismatch",
            f"{path} was exported with a fixed batch size",
            got=f"gen_trt_engine.batch_size {size}",
            expected=f"{fixed.max}, or -1",
        )
    if set(profile) - {1, size}:
        raise SpecError(
            "conflict",
            "A fixed batch size leaves no room for a profile of batch sizes",
            got=f"batch_size {size}, min/opt/max_batch_size {list(profile)}",
            expected=f"min/opt/max_batch_size {size}, or a batch_size of -1 and a dynamic ONNX",
        )
    return BatchSizes(size, size, size)


def kept_layers(engine: TensorRT, nodes: dict[str, str]) -> set[str]:
    """Names of the nodes that stay in float32 while the others become FP16 or INT8.

    In an FP32 engine with FP16 layers these are all but the FP16 ones; empty without any.

    Raises:
        SpecError: an entry is not `layer:format`, matches no layer, or does not suit the engine's
            own format.
    """
    named: dict[str, str] = {}
    for entry in engine.layers_precision:
        pattern, _, form = entry.rpartition(":")
        if not pattern or form.lower() not in _FORMATS:
            raise SpecError(
                "bad-layer-precision",
                f"{_LAYERS} holds an entry that cannot be read",
                got=entry,
                expected=f"layer:format, with a format out of {', '.join(_FORMATS)}",
            )
        matching = fnmatch.filter(nodes, pattern)
        if not matching:
            near = nearest(pattern, nodes)
            raise SpecError(
                "no-such-layer",
                f"{_LAYERS} names a layer that the ONNX file does not have",
                got=pattern,
                expected=f"a node's name, e.g. {', '.join(list(nodes)[:_SHOWN])}",
                hint=f"Did you mean {near!r}?" if near else None,
            )
        named.update(dict.fromkeys(matching, form.lower()))
    return _kept(engine.data_type.lower(), named, nodes)


def _kept(base: str, named: dict[str, str], nodes: dict[str, str]) -> set[str]:
    allowed = {"fp32": {"fp32", "fp16"}, "fp16": {"fp32", "fp16"}, "int8": {"fp32", "int8"}}[base]
    others = sorted(set(named.values()) - allowed)
    if others:
        raise SpecError(
            "conflict",
            f"{_LAYERS} asks for a format that the engine's data_type does not allow",
            got=f"{others[0]} in an {base.upper()} engine",
            expected=" or ".join(sorted(allowed)),
            hint="Set gen_trt_engine.tensorrt.data_type to the lowest format that is wanted.",
        )
    # An FP32 engine names the few FP16 layers, the others name the few that stay FP32.
    if base == "fp32":
        low = {name for name, form in named.items() if form != "fp32"}
        return set(nodes) - low if low else set()
    return {name for name, form in named.items() if form == "fp32"}

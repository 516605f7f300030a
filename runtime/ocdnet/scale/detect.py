"""`ocdnet predict` and inference where pictures and results lie in object storage."""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ocdnet import findings
from ocdnet.actions.detection import detector_of
from ocdnet.actions.page_loop import LEFT_OUT, Tally
from ocdnet.actions.picture_sources import RECURSIVE
from ocdnet.config.experiment import Experiment
from ocdnet.config.inference import InferenceConfig
from ocdnet.config.spec import Loaded
from ocdnet.data.preprocess import Preprocess
from ocdnet.data.reading import limit
from ocdnet.detector import GIVEN, Detector
from ocdnet.errors import UsageError
from ocdnet.findings import Findings
from ocdnet.postprocess import DBPostprocessor
from ocdnet.runs.pages import PartsResult
from ocdnet.runs.printed import Problem
from ocdnet.runs.typed import warned
from ocdnet.scale.job import Job
from ocdnet.scale.parts import Format
from ocdnet.scale.pieces import pieces
from ocdnet.scale.plan import prepared
from ocdnet.scale.storage import absolute
from ocdnet.scale.work import Open, Runner, model_files
from ocdnet.spec_keys import (
    INFERENCE_RECURSIVE,
    INFERENCE_RESIZE,
    INFERENCE_SHARDS,
    results_folder,
)
from ocdnet.zoo.registry import STARTER

LOG = logging.getLogger("ocdnet")


@dataclass(frozen=True)
class Request:
    """What is asked of many machines.

    Attributes:
        action: `predict` or `inference`.
        sources: paths and URIs.
        target: folder of the results.
        model: its path, URI, or a name of public weights.
        open_detector: opens it on a node.
        settings: what else decides the results: plain values.
        kind: of the results' files.
        partition_size: pictures of a partition, at most.
        recursive: look into sub-folders, too.
        key: option or spec key of that.
        reading_order: put the regions into the order of reading.
        device: auto, cpu or cuda.
        threads: of an actor; 0: one, with a GPU its share of the CPUs.
        megapixels: of the largest picture that is read.
    """

    action: str
    sources: Sequence[str]
    target: str
    model: str
    open_detector: Open
    settings: dict[str, Any]
    kind: Format = "parquet"
    partition_size: int = 1000
    recursive: bool = False
    key: str = RECURSIVE
    reading_order: bool = False
    device: str = "auto"
    threads: int = 0
    megapixels: int = 0


def of_predict(arguments: dict[str, Any], **values: Any) -> Request:
    """The request of `ocdnet predict`, from the arguments of its `Detector`."""
    named = dict(arguments)
    model, device, threads = (named.pop(name) for name in ("model", "device", "num_threads"))
    if device not in ("auto", "cpu", "cuda"):
        raise UsageError(
            "bad-argument",
            f"--device cannot be {device} on Ray, which gives each actor its GPU",
            got=device,
            expected="auto, cpu or cuda",
        )
    return Request(
        action="predict",
        model=str(model or STARTER.name),
        open_detector=_OpenByArguments(named),
        settings={name: value for name, value in named.items() if name != "batch_size"},
        device=device,
        threads=threads,
        megapixels=limit(),
        **values,
    )


def of_inference(loaded: Loaded, **values: Any) -> Request:
    """The request of an inference spec; what it says of GPUs and machines is Ray's to decide."""
    config, experiment = loaded.experiment.inference, loaded.experiment
    for notice in loaded.notices:
        LOG.warning(notice)
    if config.outputs != InferenceConfig().outputs:
        findings.note(
            "outputs-by-ray",
            "Ray's results are rows: files of single pictures are not written",
            key="inference.outputs",
        )
    if config.shards > 1:
        findings.note(
            "shards-by-ray",
            "Ray shares out the pictures itself: all of them were looked at, not one part",
            key=INFERENCE_SHARDS,
        )
    target = config.results_dir
    if not target and "://" in experiment.results_dir:
        target = f"{experiment.results_dir.rstrip('/')}/inference"
    return Request(
        action="inference",
        sources=[config.input_folder],
        target=target or str(results_folder(experiment.results_dir, "", "inference")),
        model=config.trt_engine or config.checkpoint,
        open_detector=_OpenBySpec(experiment),
        settings={
            "model_section": repr(experiment.model),
            "inference": {
                name: repr(getattr(config, name))
                for name in ("width", "height", "resize", "img_mode", "polygon", "post_processing")
            },
        },
        recursive=config.recursive,
        key=INFERENCE_RECURSIVE,
        device="auto" if config.num_gpus else "cpu",
        threads=config.num_threads,
        megapixels=experiment.max_megapixels,
        **values,
    )


@dataclass(frozen=True)
class _OpenByArguments:
    arguments: dict[str, Any]

    def __call__(self, path: Path, device: str, threads: int) -> Detector:
        return Detector(path, device=device, num_threads=threads, **self.arguments)


@dataclass(frozen=True)
class _OpenBySpec:
    experiment: Experiment

    def __call__(self, path: Path, device: str, threads: int) -> Detector:
        config = self.experiment.inference
        if config.trt_engine:
            section = replace(config, trt_engine=str(path))
        else:
            section = replace(config, checkpoint=str(path))
        if device == "cuda":
            section = replace(section, num_gpus=1, gpu_ids=[0])  # the one that Ray shows
        preprocess = Preprocess(
            (config.width, config.height), config.img_mode, resize=config.resize
        )
        postprocess = DBPostprocessor.from_spec(config.post_processing, config.polygon, "inference")
        model = self.experiment.model
        return detector_of(section, model, preprocess, postprocess, INFERENCE_RESIZE)


def run_inference(loaded: Loaded, runner: Runner, **values: Any) -> PartsResult:
    """`run` for an inference spec, with what `of_inference` takes."""
    return run(of_inference(loaded, **values), findings.collected() or Findings(), runner)


def run(request: Request, seen: Findings, runner: Runner) -> PartsResult:
    """Find the text of all pictures, a row each, in the parts of a folder.

    Raises:
        UserError: a source is missing, no picture can be read, the model can't be used, or the
            folder holds something else.
        KeyboardInterrupt: by SIGINT or SIGTERM. The same goes on with the parts that are not there.
    """
    target = absolute(request.target)
    if not request.model:
        raise UsageError("model-needed", "A detector needs a model", expected=GIVEN)
    model = model_files(request.model, GIVEN)
    digest = hashlib.sha256(b"".join(model.values())).hexdigest()
    settings = {
        "sources": [source if "://" in source else absolute(source) for source in request.sources],
        "recursive": request.recursive,
        "reading_order": request.reading_order,
        "partition_size": request.partition_size,
        "format": request.kind,
        "megapixels": request.megapixels,
        "model": digest,
    } | request.settings
    plan = prepared(
        target,
        json.loads(json.dumps(settings)),  # as the file has it
        lambda: pieces(request.sources, request.recursive, request.partition_size, request.key),
    )
    job = Job(
        target=target,
        kind=request.kind,
        model=model,
        open_detector=request.open_detector,
        device=request.device,
        threads=request.threads,
        reading_order=request.reading_order,
        megapixels=request.megapixels,
    )
    tally, before = Tally(), 0
    for done in runner(job, list(plan.partitions())):
        _add(tally, done)
        before += done["before"]
    tally.check()
    return PartsResult(
        action=request.action,
        warnings=tuple(map(warned, seen.rows())),
        images=tally.images,
        regions=tally.regions,
        skipped=tuple(tally.skipped),
        skipped_images=tally.skipped_images,
        model=request.model,
        parts=f"{target}/part-*.{request.kind}",
        partitions=len(plan.ends),
        partitions_before=before,
    )


def _add(tally: Tally, done: dict[str, Any]) -> None:
    tally.images += done["images"]
    tally.regions += done["regions"]
    tally.skipped_images += done["skipped_images"]
    skipped = done["skipped"]
    for number, (image, problem) in enumerate(skipped.items()):
        unnamed = 0 if number else done["skipped_images"] - len(skipped)
        findings.note("left-out", LEFT_OUT, file=image, count=1 + unnamed)
        if len(tally.skipped) < findings.SHOWN:
            tally.skipped.setdefault(image, Problem(**problem))
    findings.relay(done["findings"])

"""`ocdnet evaluate` on many machines: pictures are looked at there, counts are pooled here."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

from ocdnet import findings
from ocdnet.actions import evaluate
from ocdnet.actions.detection import scored_detector
from ocdnet.actions.evaluate import Used
from ocdnet.actions.explaining import Examined, examined
from ocdnet.config.spec import Loaded
from ocdnet.data.annotations import Annotation, Annotations
from ocdnet.data.doubts import Frames
from ocdnet.data.picture_header import PictureSize, picture_size
from ocdnet.data.steps import eval_preprocess
from ocdnet.detector import Detector
from ocdnet.errors import DataError
from ocdnet.page import Page
from ocdnet.runs.records import EvaluateResult
from ocdnet.scale.labelled import Origins, index_sources
from ocdnet.scale.plan import Partition
from ocdnet.scale.reading import files_of
from ocdnet.scale.work import Runner, Work, model_files
from ocdnet.spec_keys import VALIDATE_DATA

PARTITION_SIZE = 50
"""Pictures that a process looks at before it tells what it saw."""


def run(loaded: Loaded, runner: Runner, partition_size: int = PARTITION_SIZE) -> EvaluateResult:
    """Score a model with the processes of a runner: the results are those of one process.

    Data paths may be URIs of split folders; others must lead to the same files on every node.

    Args:
        loaded: a spec checked for `evaluate`.
        runner: does the partitions.
        partition_size: pictures of a partition, at most.

    Raises:
        UserError: as `actions.evaluate.run`.
    """
    return evaluate.run(loaded, partial(_OnNodes, runner=runner, size=partition_size))


@dataclass(frozen=True)
class _OpenScored:
    loaded: Loaded

    def __call__(self, path: Path, device: str, threads: int) -> Detector:
        experiment = self.loaded.experiment
        section = experiment.evaluate
        key = "trt_engine" if section.trt_engine else "checkpoint"
        values: dict[str, Any] = {key: str(path)}
        if device == "cuda":
            values |= {"num_gpus": 1, "gpu_ids": [0]}  # the one that Ray shows
        changed = replace(experiment, evaluate=replace(section, **values))
        return scored_detector(replace(self.loaded, experiment=changed))


class _Row(NamedTuple):
    """What was seen in a picture, and its size by its header, where it has labels."""

    seen: Examined
    size: PictureSize | None


@dataclass(kw_only=True)
class _Looking(Work):
    """Looks at pictures by an index of their labels; a partition is a range of it."""

    annotations: Annotations
    origins: Origins
    in_order: ClassVar[bool] = True

    def run(self, partition: Partition) -> dict[str, Any]:
        """`rows` of the partition's pictures, `used` and `findings`."""
        annotations = map(self.origins.named, self.annotations[partition.start : partition.stop])
        fetched: dict[str, str] = {}
        with self.working() as (seen, scratch):
            try:
                rows = list(self._rows(list(annotations), scratch, fetched))
            except DataError as error:
                for file, name in fetched.items():
                    error.message = error.message.replace(file, name)
                raise
        return {
            "rows": rows,
            "used": Used.of(self.opened()),
            "findings": [row.renamed(fetched) for row in seen.rows()],
        }

    def pictures(self, partition: Partition) -> str:
        """The first and last one."""
        ends = (self.annotations[number] for number in (partition.start, partition.stop - 1))
        return " to ".join(dict.fromkeys(self.origins.named(one).name for one in ends))

    def _rows(
        self, annotations: list[Annotation], scratch: Path, fetched: dict[str, str]
    ) -> Iterator[_Row]:
        here = self._here(annotations, scratch, fetched)
        for annotation, row in self.opened().map(here, lambda one: one.image, self._look):
            if str(annotation.image) in fetched:
                annotation.image.unlink(missing_ok=True)
            yield row

    def _here(
        self, annotations: list[Annotation], scratch: Path, fetched: dict[str, str]
    ) -> Iterator[Annotation]:
        """The annotations with images that are files of this machine."""
        remote = [bool(self.origins.uri(one.image)) for one in annotations]
        uris = [one.name for one, is_remote in zip(annotations, remote, strict=True) if is_remote]
        files = files_of(uris, scratch)
        for annotation, is_remote in zip(annotations, remote, strict=True):
            if not is_remote:
                yield annotation
                continue
            file = next(files)
            if file.error is not None:
                raise file.error
            fetched[str(file.path)] = annotation.name
            yield replace(annotation, image=file.path)

    def _look(self, annotation: Annotation, page: Page) -> _Row:
        probability, frame = page.held_map()
        seen = examined(annotation, probability, frame, self.opened().postprocess)
        return _Row(seen, picture_size(annotation.image) if annotation.polygons else None)


class _OnNodes:
    """Looks at the pictures of an evaluation with a runner's processes."""

    reused: int | None = None

    def __init__(self, loaded: Loaded, runner: Runner, size: int) -> None:
        config, dataset = loaded.experiment.evaluate, loaded.experiment.dataset.validate_dataset
        if config.reuse_maps:
            findings.note("maps-by-ray", "Ray reuses no kept maps", key="evaluate.reuse_maps")
        eval_preprocess(dataset.args)  # refused before the labels are read
        model = model_files(config.trt_engine or config.checkpoint, "a checkpoint or an ONNX file")
        annotations, self._origins = index_sources(
            dataset.data_path, dataset.args.ignore_tags, VALIDATE_DATA
        )
        self._work = _Looking(
            model=model,
            open_detector=_OpenScored(loaded),
            device="auto" if config.num_gpus else "cpu",
            megapixels=loaded.experiment.max_megapixels,
            annotations=annotations,
            origins=self._origins,
        )
        self._runner, total = runner, len(annotations)
        self._partitions = [
            Partition(number, start, min(start + size, total))
            for number, start in enumerate(range(0, total, size))
        ]
        self._used: Used | None = None

    def used(self) -> Used:
        """The nodes' detector."""
        assert self._used is not None
        return self._used

    def rows(self) -> Iterator[tuple[Annotation, Examined]]:
        """Each picture with what was seen, in order; progress is the runner's."""
        frames = Frames()
        done = self._runner(self._work, self._partitions)
        for partition, told in zip(self._partitions, done, strict=True):
            self._used = told["used"]
            findings.relay(told["findings"])
            annotations = self._work.annotations[partition.start : partition.stop]
            for annotation, row in zip(annotations, told["rows"], strict=True):
                self._compare(frames, annotation, row.size)
                yield self._origins.named(annotation), row.seen
        frames.note(VALIDATE_DATA)

    def _compare(self, frames: Frames, annotation: Annotation, size: PictureSize | None) -> None:
        """Labels with the size of a picture whose header the index could not see."""
        image = self._origins.uri(annotation.image)
        if image and size:
            regions = [polygon.ravel().tolist() for polygon in annotation.polygons]
            frames.see(image, self._origins.uri(annotation.label), regions, size)

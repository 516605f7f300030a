"""A trained network as one object: pictures in, text out. What every action and server uses."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar, overload

from pydantic import ValidationError

from ocdnet.backends.base import Predictor
from ocdnet.backends.open import check_batch, check_fit, open_model
from ocdnet.backends.pipeline import Prediction, predict
from ocdnet.config.shared import PostProcessing, PostProcessingArgs
from ocdnet.data.preprocess import Preprocess
from ocdnet.data.reading import FilePage
from ocdnet.data.resizing import MODES, Mode, Room, note_stretch
from ocdnet.data.sources import Source, is_file, name_of
from ocdnet.errors import DataError, UsageError, UserError
from ocdnet.hardware import limited
from ocdnet.page import Held, Page
from ocdnet.postprocess import DBPostprocessor
from ocdnet.zoo.fetching import model_file
from ocdnet.zoo.registry import STARTER, Suggested

T = TypeVar("T")
R = TypeVar("R")
S = TypeVar("S", bound=Source)

_MOST_THREADS = 1024
_SIZE = 1280, 736
"""Width and height for networks that take any size and do not say which they were made for."""
_DEVICE = re.compile(r"auto|cpu|cuda(:\d+)?")
GIVEN = (
    "a .pth checkpoint, an .onnx file, an engine of gen_trt_engine, or a name of "
    "`ocdnet weights list`"
)


class Detector:
    """Finds text in pictures.

        detector = Detector("results/train/model_best.pth")
        page = detector("photo.jpg")
        page.polygons, page.scores

    It may be called from several threads at once. Pickled, it is opened again where it arrives,
    from the same file. `close`, or the end of a `with`, frees the network.

    Args:
        model: a .pth checkpoint (of this program, of TAO, of the DB release), an .onnx file
            (another trainer's with its JSON file beside it), an engine, or the name of public
            weights, which are fetched once; not given: ocdnet-starter-small, which the package
            brings along.
        device: auto (a GPU where one is), cpu, cuda or cuda:N.
        size: width and height of the network's input in pixels, multiples of 32; not given: what
            the model was made for, else 1280 x 736.
        resize: how pictures come to that size: auto (aspect kept, turned as the picture is), fit
            (aspect kept), tile (large pictures in overlapping parts), stretch (as TAO does).
        thresh: probability above which a pixel is text, 0..1; not given: what those who trained
            public weights used, else .3.
        box_thresh: mean probability that a region must reach, 0..1; not given: likewise, else .55.
        unclip_ratio: how far regions are grown from what the network marks, 0 or more; not given:
            likewise, else 1.5.
        max_candidates: regions of a picture that are looked at, at most: the largest.
        polygon: outlines of any number of corners instead of rotated rectangles.
        batch_size: pictures through the network at once; not given: what the model prefers, else 1.
        num_threads: that compute and that read pictures; 0: one for each CPU. PyTorch has one such
            setting for the whole process.

    Attributes:
        model: path of the file.
        backend: what runs it: torch, onnxruntime, openvino or tensorrt.
        size: width and height as above.
        resize: as above.

    Raises:
        UsageError: an argument makes no sense.
        DataError: the model cannot be used, or takes no such size or batch.
        EnvironmentFault: a package or a device is missing.
    """

    def __init__(
        self,
        model: str | os.PathLike[str] | None = None,
        *,
        device: str = "auto",
        size: tuple[int, int] | None = None,
        resize: Mode = "auto",
        thresh: float | None = None,
        box_thresh: float | None = None,
        unclip_ratio: float | None = None,
        max_candidates: int = 1000,
        polygon: bool = False,
        batch_size: int | None = None,
        num_threads: int = 0,
    ) -> None:
        _check(device, resize, batch_size, num_threads)
        given = {
            "thresh": thresh,
            "box_thresh": box_thresh,
            "unclip_ratio": unclip_ratio,
            "max_candidates": max_candidates,
        }
        _postprocessor(given, None, polygon)
        path = _file(model)
        self._arguments: dict[str, Any] | None = {
            "model": str(path.absolute()),
            "device": device,
            "size": size,
            "resize": resize,
            "thresh": thresh,
            "box_thresh": box_thresh,
            "unclip_ratio": unclip_ratio,
            "max_candidates": max_candidates,
            "polygon": polygon,
            "batch_size": batch_size,
            "num_threads": num_threads,
        }
        with limited(num_threads):
            predictor = open_model(path, device)
        best = predictor.batch.opt if predictor.batch else 1
        preprocess = Preprocess(size or _own_size(predictor), predictor.img_mode or "BGR")
        self._set(
            predictor,
            replace(preprocess, resize=resize),
            _postprocessor(given, getattr(predictor, "suggested", None), polygon),
            batch_size or best,
            num_threads,
        )

    @classmethod
    def of(
        cls,
        predictor: Predictor,
        preprocess: Preprocess,
        postprocess: DBPostprocessor,
        *,
        batch_size: int = 1,
        num_threads: int = 0,
        stretch_key: str = "",
    ) -> Detector:
        """A detector of a network that is open already, for actions; it cannot be pickled.

        Args:
            predictor: the network.
            preprocess: how pictures become its input, as the spec says.
            postprocess: how its maps are read.
            batch_size: pictures through the network at once.
            num_threads: beside the network; 0: one for each CPU.
            stretch_key: spec key by which pictures are stretched: where their aspect changes much
                it is noted.

        Raises:
            DataError: the network was made for other pictures or smaller batches.
        """
        detector = cls.__new__(cls)
        detector._arguments = None
        detector._set(predictor, preprocess, postprocess, batch_size, num_threads, stretch_key)
        return detector

    def _set(
        self,
        predictor: Predictor,
        preprocess: Preprocess,
        postprocess: DBPostprocessor,
        batch_size: int,
        num_threads: int,
        stretch_key: str = "",
    ) -> None:
        self._preprocess = check_fit(predictor, preprocess, predictor.path, batch_size)
        self._predictor: Predictor | None = predictor
        self.postprocess = postprocess
        self._batch_size, self._num_threads = batch_size, num_threads
        self._stretch_key = stretch_key
        self.model, self.backend = str(predictor.path), predictor.backend
        self.size, self.resize = preprocess.pair, preprocess.resize

    @overload
    def __call__(self, source: Source) -> Page: ...

    @overload
    def __call__(self, source: list[S] | tuple[S, ...]) -> list[Page]: ...

    def __call__(self, source: Any) -> Page | list[Page]:
        """Find the text of a picture, or of a list of them.

        Args:
            source: a path, a file's bytes, a file object opened in binary mode, an array uint8
                (H, W) or (H, W, 1, 3 or 4) in OpenCV's order blue, green, red, alpha, or an image
                of Pillow's. Of a document the first page is read; `ocdnet.data.reading.pages_of`
                lists its pages, which may be given as well.

        Returns:
            The page; of a list, a list in its order. Pages of a list let go of their pixels where
            these can be read again, and of their maps.

        Raises:
            DataError: a picture that cannot be read.
        """
        if isinstance(source, list | tuple) and not isinstance(source, FilePage):
            return [page.let_go() for page in self.stream(source)]
        return next(self.stream([source]))

    def stream(
        self,
        sources: Iterable[Source],
        *,
        batch_size: int | None = None,
        on_error: Callable[[Source, UserError], None] | None = None,
    ) -> Iterator[Page]:
        """Find the text of many pictures: in their order, with few of them in memory.

        Threads read the next pictures and look for regions in the last ones while the network
        computes.

        Args:
            sources: pictures, as `__call__` takes them.
            batch_size: pictures through the network at once, instead of the detector's.
            on_error: called for a picture that cannot be read, which is then left out; not given:
                its error is raised.
        """
        pages = self.map(
            sources, lambda source: source, lambda _, page: page, batch_size, skipped=on_error
        )
        return (page for _, page in pages)

    def map(
        self,
        items: Iterable[T],
        source_of: Callable[[T], Source],
        finish: Callable[[T, Page], R],
        batch_size: int | None = None,
        *,
        skipped: Callable[[T, DataError], None] | None = None,
    ) -> Iterator[tuple[T, R]]:
        """`stream` for things that have a picture, with work that is done in its threads.

        Args:
            items: one for each picture.
            source_of: the picture of an item.
            finish: makes a result of an item's page, which holds its picture and its map; called in
                threads.
            batch_size: as of `stream`.
            skipped: as `on_error` of `stream`.

        Returns:
            Each item with what `finish` returned for it, in the items' order.
        """
        predictor, preprocess = self._open_predictor(), self._preprocess
        size = batch_size or self._batch_size
        check_batch(predictor, size)

        def page_of(item: T, prediction: Prediction) -> R:
            source = source_of(item)
            if self._stretch_key and preprocess.resize == "stretch":
                note_stretch(prediction.frame.scale, name_of(source), self._stretch_key)
            found = self.postprocess(prediction.probability, prediction.frame, name_of(source))
            held = Held(
                prediction.image,
                preprocess.img_mode,
                prediction.probability,
                prediction.frame,
                is_file(source),
            )
            number = source.number if isinstance(source, FilePage) else None
            size = prediction.frame.image_size
            page = Page(found.polygons, found.scores, size, name_of(source), number, held)
            return finish(item, page)

        return predict(
            predictor,
            preprocess,
            items,
            source_of,
            page_of,
            batch_size=size,
            skipped=skipped,
            workers=self._num_threads or None,
        )

    @property
    def identity(self) -> str | None:
        """What decides a picture's map, beside the picture and the model's files.

        None where pictures of one batch decide each other's: those of several sizes are padded.
        """
        preprocess = self._preprocess
        alone = self._batch_size == 1 or isinstance(preprocess.size, tuple)
        if preprocess.resize == "stretch" and not alone:
            return None
        return f"{self.backend} {self._open_predictor().device_type} {preprocess!r}"

    def close(self) -> None:
        """Free the network; the detector finds nothing any more."""
        self._predictor = None

    def __enter__(self) -> Detector:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __reduce__(self) -> tuple[Any, ...]:
        if self._arguments is None:
            raise TypeError("A detector of an action cannot be pickled: make one from the file.")
        return _reopened, (self._arguments,)

    def __repr__(self) -> str:
        return f"<Detector {self.model} by {self.backend}>"

    def _open_predictor(self) -> Predictor:
        if self._predictor is None:
            raise UsageError("closed", "This detector was closed", hint="Open another one.")
        return self._predictor


def _reopened(arguments: dict[str, Any]) -> Detector:
    return Detector(**arguments)


def _file(model: str | os.PathLike[str] | None) -> Path:
    path = model_file(STARTER.name if model is None else model)
    if not path.is_file():
        raise DataError("no-model", f"There is no file {path}", got=str(path), expected=GIVEN)
    return path


def _check(device: str, resize: str, batch_size: int | None, num_threads: int) -> None:
    if not _DEVICE.fullmatch(device):
        raise _bad("device", device, "auto, cpu, cuda or cuda:N")
    if resize not in MODES:
        raise _bad("resize", resize, " | ".join(MODES))
    if batch_size is not None and batch_size < 1:
        raise _bad("batch_size", batch_size, "1 or more")
    if not 0 <= num_threads <= _MOST_THREADS:
        raise _bad("num_threads", num_threads, f"0 to {_MOST_THREADS}")


def _postprocessor(
    given: dict[str, float | None], suggested: Suggested | None, polygon: bool
) -> DBPostprocessor:
    """The one of these numbers, which must be such as a spec may hold; None: as suggested."""
    numbers: dict[str, Any] = {
        name: getattr(suggested, name, None) if value is None else value
        for name, value in given.items()
    }
    try:
        args = PostProcessingArgs(**{k: v for k, v in numbers.items() if v is not None})
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        raise _bad(str(first["loc"][0]), first["input"], str(first["msg"])) from error
    return DBPostprocessor.from_spec(PostProcessing(args=args), polygon, "")


def _bad(argument: str, got: object, expected: str) -> UsageError:
    return UsageError(
        "bad-argument", f"{argument} cannot be {got!r}", got=str(got), expected=expected
    )


def _own_size(predictor: Predictor) -> tuple[int, int]:
    """What a network was made for, within what it takes."""
    width, height = predictor.advised or _SIZE
    if not isinstance(predictor.size, Room):
        return predictor.size or (width, height)
    (low_x, low_y), (high_x, high_y) = predictor.size.least, predictor.size.most
    return min(max(width, low_x), high_x), min(max(height, low_y), high_y)

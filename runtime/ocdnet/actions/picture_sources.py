"""What `ocdnet predict` is given: files, patterns, folders, addresses, and bytes on stdin."""

from __future__ import annotations

import glob
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, NamedTuple

from ocdnet import findings
from ocdnet.actions.page_loop import Picture
from ocdnet.actions.result_names import unique_names
from ocdnet.data.folders import list_images, natural_key, note_other
from ocdnet.data.layout import IMAGE_SUFFIXES, is_picture
from ocdnet.data.reading import FilePage, most_bytes, pages_of, pages_of_file
from ocdnet.data.remote import download, file_name, is_url
from ocdnet.errors import DataError, UsageError
from ocdnet.files import is_folder
from ocdnet.runs.files import is_results
from ocdnet.runs.outputs import without_own

STDIN = "-"
RECURSIVE = "--recursive"
_SHOWN = 10
_CHUNK = 1 << 20


class _Given(NamedTuple):
    """A file to read.

    Attributes:
        path: where it is.
        image: what records call it.
        below: the folder that its results' names begin at; None: it came from elsewhere.
        error: why it could not be fetched.
    """

    path: Path
    image: str
    below: Path | None
    error: DataError | None = None


@dataclass(frozen=True)
class PictureSources:
    """Finds the pictures of sources.

    Attributes:
        recursive: search sub-folders, and let `**` of a pattern stand for them.
        scratch: makes a folder for what is fetched.
        stdin: what `-` reads.
    """

    recursive: bool
    scratch: Callable[[], Path]
    stdin: BinaryIO

    def pictures(self, sources: Sequence[str]) -> list[Picture]:
        """The pictures, each once however often it is given; pages of documents are pictures.

        Raises:
            DataError: a source is missing, or there are no images.
        """
        self._refuse_missing(sources)
        given: dict[str, _Given] = {}
        for source in dict.fromkeys(sources):
            files = list(self._files(source))
            if not files:
                findings.note("no-images", "Sources hold no images", file=source)
            for file in files:
                given.setdefault(_identity(file.path), file)
        if not given:
            raise DataError(
                "no-images",
                f"There are no images in {', '.join(sources[:_SHOWN])}",
                expected=f"images ({' '.join(sorted(IMAGE_SUFFIXES))})",
                hint=f"{RECURSIVE} searches sub-folders.",
            )
        return list(_pictures(list(given.values())))

    def _refuse_missing(self, sources: Sequence[str]) -> None:
        missing = [source for source in dict.fromkeys(sources) if not self._is_there(source)]
        if not missing:
            return
        more = f", nor {len(missing) - 1} more" if len(missing) > 1 else ""
        web = any("://" in source for source in missing)
        raise DataError(
            "no-such-source",
            f"There is no file, folder or match of {missing[0]}{more}",
            got=missing,
            expected=f"files, folders, patterns in quotes, http(s) addresses, or {STDIN} for stdin",
            hint="Here http and https are read, others with --runner ray." if web else None,
        )

    def _is_there(self, source: str) -> bool:
        if source == STDIN or is_url(source) or os.path.lexists(source):
            return True
        return any(True for _ in glob.iglob(source, recursive=self.recursive))  # noqa: PTH207

    def _files(self, source: str) -> Iterator[_Given]:
        if source == STDIN:
            yield self._from_stdin()
        elif is_url(source):
            yield self._fetched(source)
        elif is_folder(source):
            yield from self._of_folder(Path(source))
        elif os.path.lexists(source):
            path = Path(source)
            yield _Given(path, str(path), path.parent)
        else:
            yield from self._matching(source)

    def _of_folder(self, folder: Path) -> Iterator[_Given]:
        files = list_images(
            folder, self.recursive, key=RECURSIVE, documents=True, is_own=is_results
        )
        return (_Given(path, str(path), folder) for path in without_own(files, folder))

    def _matching(self, pattern: str) -> Iterator[_Given]:
        """Images that a pattern matches; it stands for no folders."""
        root = _fixed_part(pattern)
        names = sorted(glob.iglob(pattern, recursive=self.recursive), key=natural_key)  # noqa: PTH207
        paths = [Path(name) for name in names if not is_folder(name)]
        results = {
            folder for path in paths for folder in _between(path, root) if is_results(folder)
        }
        images = []
        for path in paths:
            if not is_picture(path.name):
                note_other(path)
            elif results.isdisjoint(_between(path, root)):
                images.append(path)
        return (_Given(path, str(path), root) for path in without_own(images, root))

    def _fetched(self, url: str) -> _Given:
        path = self.scratch() / file_name(url)
        try:
            download(url, path, most=most_bytes())
        except DataError as error:
            return _Given(path, url, None, error)
        return _Given(path, url, None)

    def _from_stdin(self) -> _Given:
        if self.stdin.isatty():
            raise UsageError(
                "no-input",
                f"{STDIN} reads an image from stdin, which is a terminal",
                hint="Pipe a file into it: ocdnet predict - < photo.jpg",
            )
        path, left = self.scratch() / "stdin", most_bytes() + 1
        with path.open("wb") as file:
            while left and (data := self.stdin.read(min(left, _CHUNK))):
                file.write(data)
                left -= len(data)
        if left:
            return _Given(path, "stdin", None)
        raise DataError(
            "image-too-large",
            "stdin holds more bytes than the largest picture",
            got=f"more than {most_bytes():,} bytes",
            expected="one image file",
        )


def _pictures(given: Sequence[_Given]) -> Iterator[Picture]:
    """Each file's pages, with names of results that no two share."""
    rows: list[tuple[_Given, FilePage, FilePage]] = []
    for file, relative in zip(given, _relative(given), strict=True):
        pages = pages_of(file.path) if file.below is None else pages_of_file(file.path)
        rows += [(file, page, FilePage(relative, page.number)) for page in pages]
    names = unique_names([row[2] for row in rows], [row[0].image for row in rows])
    for (file, page, _), name in zip(rows, names, strict=True):
        yield Picture(page, file.image, name, file.error)


def _relative(given: Sequence[_Given]) -> list[Path]:
    """Where each file lies below the folder that they have in common; no two alike.

    What comes from elsewhere lies at the top, with a number behind its name where that is taken.
    """
    roots = [os.path.abspath(file.below) for file in given if file.below is not None]  # noqa: PTH100
    common = os.path.commonpath(roots) if roots else ""
    local = {
        file.path: Path(os.path.relpath(os.path.abspath(file.path), common))  # noqa: PTH100
        for file in given
        if file.below is not None
    }
    taken, paths = set(local.values()), []
    for file in given:
        path = local[file.path] if file.below is not None else Path(file.path.name)
        number = 1
        while file.below is None and path in taken:
            number += 1
            path = Path(f"{file.path.stem}-{number}{file.path.suffix}")
        taken.add(path)
        paths.append(path)
    return paths


def _identity(path: Path) -> str:
    """The same for a file by whatever path; links to files are files of their own."""
    return os.path.join(os.path.realpath(path.parent), path.name)  # noqa: PTH118


def _fixed_part(pattern: str) -> Path:
    """The folder above the first part of a pattern that stands for several names."""
    fixed: list[str] = []
    for part in Path(pattern).parts[:-1]:
        if glob.has_magic(part):
            break
        fixed.append(part)
    return Path(*fixed)


def _between(path: Path, root: Path) -> list[Path]:
    """The folders that lead from a root down to a path, without the root."""
    return [folder for folder in path.parents if folder != root and root in folder.parents]

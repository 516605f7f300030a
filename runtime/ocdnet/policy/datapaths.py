"""Data paths of a plan: is there what an action reads, and what has to be unpacked first."""

from __future__ import annotations

import codecs
import os
import re
import shlex
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path

from ocdnet.data.datalist import check_form
from ocdnet.data.formats.recognise import convert_line
from ocdnet.data.layout import (
    HEAD_BYTES,
    IMAGE_SUFFIXES,
    archive_stem,
    count_images,
    inside_hint,
    is_archive,
    is_foreign_archive,
    is_split,
    part_of,
    tars_of,
)
from ocdnet.data.look import doubts
from ocdnet.data.remote import is_url
from ocdnet.data.text_files import not_utf8
from ocdnet.errors import DataError
from ocdnet.launch.platforms import LOCAL, PLATFORMS
from ocdnet.notes import Notes
from ocdnet.policy.plan_record import Extraction
from ocdnet.spec_keys import INFERENCE_RECURSIVE

_MOST = 200_000
"""Files of a folder, and lines of a list, that are looked at."""
_FEW = 1000
_LONGEST = 200
"""Bytes of a folder's name."""
_LISTS = (".txt", ".json", ".jsonl", ".csv", ".xml")
_URI = re.compile(r"[a-z][a-z0-9+.-]+://", re.IGNORECASE)
_LABELLED = "a folder with img/ and gt/ or of .tar files, or a UTF-8 datalist file"
_IMAGES = f"a folder of images ({' '.join(sorted(IMAGE_SUFFIXES))})"


@dataclass(frozen=True)
class Found:
    """A path to write into the spec, and the number of its images where they were counted."""

    path: str
    images: int | None = None


@dataclass
class Finder:
    """Turns the paths that a user names into those that a spec may hold.

    A path that can't be used is a DataError; on remote platforms it is a warning.

    Attributes:
        platform: where the job is to run; all but `local` get absolute paths.
        program: how our command line is called, quoted for a shell.
        notes: told what is chosen.
        extract: archives to unpack, and URIs to fetch, first.
        recursive: inference searches sub-folders, too.
        by_ray: inference reads URIs where they are.
    """

    platform: str
    program: str
    notes: Notes
    extract: list[Extraction] = field(default_factory=list)
    recursive: bool = False
    by_ray: bool = False

    @property
    def _elsewhere(self) -> bool:
        """Whether the job may see other files than this machine."""
        return PLATFORMS[self.platform].cluster

    def labelled(self, text: str) -> Found:
        """A split folder, a folder of tar files, or a datalist."""
        found = self._find(text, _labelled, "")
        if PLATFORMS[self.platform].tao and Path(found.path).is_dir() and tars_of(Path(found.path)):
            self.notes.warn(f"NVIDIA's image reads no tar files: unpack those of {found.path}.")
        return found

    def images_of_split(self, text: str) -> Found:
        """The folder of images of labelled data."""
        return self._find(text, _images, "img")

    def part(self, text: str, names: Sequence[str]) -> str | None:
        """Of a folder that holds a set's parts, train/ and test/ or the like, the one of a name."""
        path = Path(os.path.expanduser(text))  # noqa: PTH111 - as in _find
        if _URI.match(text) or not path.is_dir() or is_split(path):
            return None
        part = part_of(path, names)
        return None if part is None else str(part)

    def images(self, text: str) -> Found:
        """A folder of images: the one that is named, else the img/ in it."""
        return self._find(text, _images, "")

    def inputs(self, text: str) -> Found:
        """What inference reads: a folder of images or PDF files, or the img/ in it."""
        if _URI.match(text) and not is_url(text):
            if self.by_ray:
                return Found(text)
            if self.platform == LOCAL:
                self.notes.because(
                    "With results_dir at a URI, too, Ray would read the images where they are."
                )
        return self._find(text, _tree if self.recursive else _images_or_pdf, "")

    def doubts(self, found: Found) -> list[str]:
        """What a fast look at a split folder's labels finds; nothing where none can be seen."""
        if any(step.to == found.path for step in self.extract):
            return []
        try:
            return doubts(Path(found.path))
        except OSError:
            return []

    def parts(self, texts: Sequence[str], names: Sequence[str]) -> tuple[str, ...]:
        """Those of several, of the folders that have one."""
        found = (self.part(text, names) for text in texts)
        return tuple(part for part in found if part is not None)

    def _find(self, text: str, check: Callable[[Path], Found], below: str) -> Found:
        """Look at a path; where nothing can be seen, what is wanted lies `below` it."""
        if _URI.match(text):
            return self._uri(text, check, below)
        path = Path(os.path.expanduser(text))  # noqa: PTH111 - Path's raises for unknown users
        if self.platform != LOCAL:
            path = path.absolute()
        try:
            head = self._head(path)
            if is_archive(path.name, head) and not path.is_dir():
                path = self._unpacked(path, head, check)
                if any(step.to == str(path) for step in self.extract):
                    return self._planned(path, check, below)
            data = check(path)
        except OSError as error:
            reason = f"Cannot read {path}: {error.strerror or error}"
            fault = _problem("unreadable-data-path", reason, _LABELLED)
            return self._unseen(path / below, fault, error)
        except DataError as fault:
            return self._unseen(path / below, fault, fault.__cause__)
        if data.path != str(path):
            self.notes.because(f"The images of {path} are those in its img/.", str(path))
        return data

    def _uri(self, uri: str, check: Callable[[Path], Found], below: str) -> Found:
        """What a URI names, in the folder where its fetch step puts it."""
        path = re.split("[?#]", uri)[0] if is_url(uri) else uri
        name = path.rstrip("/").rpartition("/")[2]
        if name.lower().endswith(_LISTS):
            raise _problem(
                "uri-of-a-list",
                f"{path} is a file, and what it lists would not come with it",
                "the URI of a folder or an archive that holds both",
                f"Fetch both ({self.program} data fetch URI --out NEW_FOLDER); then give the list.",
            )
        if is_foreign_archive(name):
            raise _foreign(path)
        stem = archive_stem(name) if is_archive(name) else name
        here = Path(stem if stem.strip(".") and len(os.fsencode(stem)) <= _LONGEST else "data")
        place = here if self.platform == LOCAL else here.absolute()
        folder = self._placed(uri, place, check)
        if any(step.to == str(folder) for step in self.extract):
            return self._planned(folder, check, below)
        return check(folder)

    def _head(self, path: Path) -> bytes:
        """A file's first bytes; none of a folder, nor of an archive that only the job can see."""
        if path.is_file():
            with path.open("rb") as file:
                return file.read(HEAD_BYTES)
        if not path.exists() and not (self._elsewhere and is_archive(path.name)):
            raise _problem("missing-data-path", f"{path} does not exist", "a path that is there")
        return b""

    def _unseen(self, path: Path, fault: DataError, cause: BaseException | None) -> Found:
        if not self._elsewhere:
            raise fault from cause
        self.notes.warn(f"{fault.message}, on this machine: see that the job finds it.")
        return Found(str(path))

    def _unpacked(self, archive: Path, head: bytes, check: Callable[[Path], Found]) -> Path:
        """The folder that holds an archive's data, or will when its extract step has run."""
        if is_foreign_archive(archive.name, head):
            raise _foreign(archive)
        place = archive.with_name(archive_stem(archive.name))
        return self._placed(str(archive), place, check)

    def _placed(self, source: str, place: Path, check: Callable[[Path], Found]) -> Path:
        """The folder that holds what is in an archive or at a URI, or will after its step."""
        for step in self.extract:
            if step.archive == source:
                return Path(step.to)
        done, suffix = ("fetched",) * 2 if _URI.match(source) else ("unpacked", "extracted")
        taken = {step.to for step in self.extract}
        folders = [place, place.with_name(f"{place.name}-{suffix}")]
        for folder in folders:
            if str(folder) in taken:
                continue
            if not folder.exists() or (folder.is_dir() and not any(folder.iterdir())):
                self._add_step(source, folder)
                return folder
            if _passes(check, folder):
                self.notes.warn(f"{source} is {done} already: {folder} is used as it is.")
                return folder
        raise _problem(
            f"archive-not-{done}",
            f"{' and '.join(map(str, folders))} hold something else than {source}",
            "a new or an empty folder",
            f"{self._step(source)} NEW_FOLDER; then give it.",
        )

    def _step(self, source: str) -> str:
        """The command that fetches or unpacks, but for its folder."""
        verb = "fetch" if _URI.match(source) else "extract"
        return f"{self.program} data {verb} {_quoted(source)} --out"

    def _add_step(self, source: str, folder: Path) -> None:
        command = f"{self._step(source)} {_quoted(folder)}"
        self.extract.append(Extraction(archive=source, to=str(folder), command=command))
        how = "fetched" if _URI.match(source) else "an archive: it is unpacked"
        self.notes.because(f"{source} is {how} to {folder} first.", source)

    def _planned(self, folder: Path, check: Callable[[Path], Found], below: str) -> Found:
        if check is not _labelled and not below:
            self.notes.warn(
                f"{folder} is taken to hold images alone; where it will hold img/ and gt/, the"
                f" images will be in {folder / 'img'}."
            )
        return Found(str(folder / below))


def _quoted(path: Path | str) -> str:
    """A path as a shell's argument that is no option."""
    return shlex.quote(f"./{path}" if str(path).startswith("-") else str(path))


def _problem(code: str, message: str, expected: str, hint: str | None = None) -> DataError:
    return DataError(code, message, expected=expected or None, hint=hint)


def _foreign(archive: Path | str) -> DataError:
    hint = "Unpack it with its own tool, and give the folder."
    return _problem("unsupported-archive", f"{archive} can't be unpacked here", "", hint)


def _passes(check: Callable[[Path], Found], path: Path) -> bool:
    try:
        check(path)
    except (DataError, OSError):
        return False
    return True


def _images(path: Path, documents: bool = False) -> Found:
    if not path.is_dir():
        raise _problem("not-a-folder", f"{path} is not a folder", _IMAGES)
    for folder in (path, path / "img"):
        if folder.is_dir() and (count := count_images(folder, _MOST, documents)):
            return Found(str(folder), count)
    hint = "Subfolders are not searched: give the folder that holds the images."
    if documents:
        hint += f" Or set {INFERENCE_RECURSIVE}=true."
    raise _problem("no-images", f"There are no images in {path}", _IMAGES, hint)


def _images_or_pdf(path: Path) -> Found:
    return _images(path, documents=True)


def _tree(path: Path) -> Found:
    """A folder with images in it or below."""
    if not path.is_dir():
        raise _problem("not-a-folder", f"{path} is not a folder", _IMAGES)
    folders = islice((Path(folder) for folder, _, _ in os.walk(path)), _FEW)
    count = sum(count_images(folder, _MOST, documents=True) for folder in folders)
    if not count:
        raise _problem("no-images", f"There are no images in {path} and below", _IMAGES)
    return Found(str(path), count)


def _labelled(path: Path) -> Found:
    if not path.is_dir():
        return _datalist(path)
    if tars_of(path):
        return Found(str(path))
    if not is_split(path):
        raise _no_split(path)
    count = count_images(path / "img", _MOST)
    if not count:
        raise _problem("empty-dataset", f"There are no images in {path / 'img'}", _IMAGES)
    return Found(str(path), count)


def _no_split(path: Path) -> DataError:
    """The error of a folder that is no split folder: what is it, and what was meant?"""
    names = sorted(entry.name for entry in islice(path.iterdir(), _FEW))
    if path.name == "img" and is_split(path.parent):
        code, fault, hint = "no-labels", "holds images without labels", f"Give {path.parent}."
    elif _passes(_images, path):
        code, fault = "no-labels", "holds images without labels: there is no gt/"
        hint = "Put the labels of img/NAME.jpg into gt/gt_NAME.txt, or list the pairs in a file."
    else:
        code, fault, hint = "bad-split-folder", "has no img/ and gt/", None
    hint = convert_line(path) or hint or inside_hint(path)
    return DataError(code, f"{path} {fault}", got=names[:8], expected=_LABELLED, hint=hint)


def _datalist(path: Path) -> Found:
    if not path.is_file():
        raise _problem("not-a-data-path", f"{path} is neither a file nor a folder", _LABELLED)
    with path.open("rb") as file:
        head = file.read(1024)
    try:
        text = codecs.getincrementaldecoder("utf-8-sig")().decode(head)
    except UnicodeDecodeError:
        text = "\0"
    if "\0" in text:
        fault, hint = f"{path} is a file, but not one of UTF-8 text", None
        if head:
            hint = not_utf8(path, "datalist", head, 0).hint
        raise _problem("not-a-datalist", fault, _LABELLED, hint)
    if not text.strip():
        raise _problem("empty-dataset", f"{path} lists nothing", "lines of an image and its labels")
    check_form(path)
    with path.open("rb") as file:
        return Found(str(path), sum(bool(line.strip()) for line in islice(file, _MOST)))

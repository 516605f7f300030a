"""The files of a transfer: each is fetched beside its place, checked, and then whole."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from http.client import HTTPException
from pathlib import Path
from typing import IO
from urllib.error import HTTPError

from ocdnet.data.archive_members import Progress
from ocdnet.data.checksums import differs, is_list, sums, sums_of
from ocdnet.data.safe_names import safe_parts
from ocdnet.data.stores import Changed, Listing, Store, Stored
from ocdnet.errors import DataError, UsageError, UserError
from ocdnet.files import os_fault, read_regular, write_json

_PAUSES = (1.0, 4.0)
"""Seconds before a file that broke off is asked for again."""
_MIB = 1 << 20
_LONGEST = 1 << 30
_SHOWN = 5


class Transfer:
    """What one call fetches, and what an earlier one left.

    Args:
        store: has the files.
        listing: which these are.
        uri: as it is kept and printed.
        part: folder of the transfer; `whole` in it holds the files that are there.

    Attributes:
        names: of the files, relative.
        fetched: bytes that came.
        kept: bytes that were there.
        lacking: bytes that are to come, as far as the store says.
        checked: number of files whose checksum was compared.
        warnings: sentences for the user.

    Raises:
        DataError: a name is unsafe, or two are the same.
    """

    def __init__(self, store: Store, listing: Listing, uri: str, part: Path) -> None:
        self._store, self._listing, self._uri, self.part = store, listing, uri, part
        self.whole, self._cut = part / "whole", part / "cut"
        self._progress: Progress = lambda *_: None
        self._lock, self._stop = threading.Lock(), threading.Event()
        self._sums: dict[str, str] = {}
        self.warnings: list[str] = []
        self.fetched = self.checked = self.kept = self.lacking = 0
        self._places = self._placed(listing.files)
        self.names = list(self._places)

    def begin(self) -> None:
        """Look at what an earlier transfer left; raises UsageError where that is of another URI."""
        self._forget_changed()
        self.kept = sum(map(self._there, self.names))
        self.lacking = max(0, sum(file.size or 0 for file in self._listing.files) - self.kept)

    def run(self, workers: int, progress: Progress) -> None:
        """Fetch all files; raises what a store raises, and UserError.

        Args:
            workers: files that are fetched at a time.
            progress: called with (MiB done, MiB in all).
        """
        self._progress = progress
        lists = [name for name in self.names if is_list(name) and not self._listing.single]
        self._fetch(lists, workers)
        for name in lists:
            found = sums_of(self.whole / name, name)
            if not found:
                self.warnings.append(f"{name} holds no checksum that is known here.")
            for path, digest in found.items():  # of two lists the one of the longer sums
                self._sums[path] = max(self._sums.get(path, ""), digest, key=len)
        if self._listing.single:
            name = self.names[0]
            self._sums = dict(sums(self._store.checksum(self._places[name]), f"{name}.sha256"))
            if self._sums and name not in self._sums:
                self.warnings.append(f"{name}.sha256 holds no checksum of {name}: not compared.")
        known = set(lists)
        self._fetch([name for name in self.names if name not in known], workers)
        if unsure := [name for name in self._store.endless if name not in self._sums]:
            self.warnings.append(
                f"The server tells no size of {len(unsure)} files, which may have been cut: "
                f"{', '.join(sorted(unsure)[:_SHOWN])}."
            )
        absent = [name for name in self._sums if name not in self._places]
        if absent and not self._listing.single:
            self.warnings.append(
                f"{len(absent)} files that a list of checksums names are not there: "
                f"{', '.join(absent[:_SHOWN])}."
            )

    def _placed(self, files: Iterable[Stored]) -> dict[str, Stored]:
        """Each file by its relative name, which is safe."""
        places: dict[str, Stored] = {}
        folders: set[str] = set()
        for file in files:
            parts = safe_parts(file.name, partial(self._refused, file.name))
            name = "/".join(parts)
            if not parts or name in places:
                raise self._refused(
                    file.name, "has the name of another" if parts else "has no name"
                )
            places[name] = file
            folders.update("/".join(parts[:depth]) for depth in range(1, len(parts)))
        for name in folders & places.keys():
            if places.pop(name).size:  # some tools make an empty file for each folder
                raise self._refused(name, "has the name of a folder")
        return places

    def _refused(self, name: str, problem: str) -> UserError:
        return DataError(
            "unsafe-name",
            f"{self._uri} is not fetched: a file {problem}",
            got=name[:120],
            expected="files with unique relative paths in UTF-8",
            hint="Rename it in the store, or fetch a folder without it.",
        )

    def _forget_changed(self) -> None:
        """Drop what an earlier transfer left of files that are others now; note what is wanted."""
        journal = self.part / "transfer.json"
        before: dict[str, str] = {}
        if journal.exists():
            try:
                told = json.loads(read_regular(journal, _LONGEST))
                uri, before = str(told["uri"]), dict(told["files"])
            except (OSError, ValueError, KeyError, TypeError) as error:
                raise self._of_another("its transfer.json can't be read") from error
            if uri != self._uri:
                raise self._of_another(uri)
        wanted = {name: _version(file) for name, file in self._places.items()}
        with _writing(self.part):
            for folder in (self.whole, self._cut):
                folder.mkdir(exist_ok=True)
                for path in [path for path in folder.rglob("*") if not path.is_dir()]:
                    name = path.relative_to(folder).as_posix()
                    if not wanted.get(name) or before.get(name) != wanted[name]:
                        path.unlink()
        write_json(journal, {"uri": self._uri, "files": wanted})

    def _of_another(self, got: str) -> UsageError:
        return UsageError(
            "other-transfer",
            f"{self.part} is of another transfer",
            got=got,
            expected=self._uri,
            hint="Name another --out, or remove that folder.",
        )

    def _there(self, name: str) -> int:
        """Bytes of a file that an earlier transfer brought."""
        return _size(self.whole / name) or _size(self._cut / name)

    def _fetch(self, names: list[str], workers: int) -> None:
        """Several at a time; the first error ends all."""
        waiting, taking = iter(names), threading.Lock()

        def take() -> str | None:
            with taking:
                return None if self._stop.is_set() else next(waiting, None)

        def work() -> None:
            try:
                for name in iter(take, None):
                    self._bring(name)
            except BaseException:
                self._stop.set()
                raise

        with ThreadPoolExecutor(max(1, min(workers, len(names)))) as pool:
            try:
                for done in [pool.submit(work) for _ in range(min(workers, len(names)))]:
                    done.result()
            finally:
                self._stop.set()
        self._stop.clear()

    def _bring(self, name: str) -> None:
        """Make one file whole; one that is there already is only checked."""
        place, cut, file = self.whole / name, self._cut / name, self._places[name]
        if place.is_file():
            self._check(name, file, place)
            return
        with _writing(place):
            place.parent.mkdir(parents=True, exist_ok=True)
            cut.parent.mkdir(parents=True, exist_ok=True)
        pauses, before = iter(_PAUSES), _size(cut)
        while True:
            try:
                self._append(file, cut)
                break
            except (OSError, HTTPException) as error:
                if _size(cut) > before:  # it gets on
                    pauses, before = iter(_PAUSES), _size(cut)
                pause = next(pauses, None)
                if pause is None or _is_final(error) or self._stop.wait(pause):
                    raise
        if not self._stop.is_set():
            self._check(name, file, cut)
            with _writing(place):
                cut.replace(place)

    def _append(self, file: Stored, cut: Path) -> None:
        """Write what is missing of a file.

        Raises:
            OSError: it broke off.
        """
        have = _size(cut) if file.version else 0
        if have and have == file.size:
            return
        with self._store.reading(file, have) as (start, pieces), self._opened(cut, start) as target:
            self.kept -= min(self.kept, have - start)  # of a server that can only begin anew
            came = start
            for piece in pieces:
                with _writing(cut):
                    target.write(piece)
                came += len(piece)
                self._count(len(piece))
                if self._stop.is_set():
                    return
        if file.size is not None and came < file.size:
            raise OSError(f"{file.name} broke off {file.size - came:,} bytes before its end")
        if file.size is not None and came > file.size:
            cut.unlink()
            raise Changed(file.name)

    @contextmanager
    def _opened(self, cut: Path, start: int) -> Iterator[IO[bytes]]:
        with _writing(cut):
            file = cut.open("ab", buffering=0)
        with file:
            file.truncate(start)
            yield file

    def _check(self, name: str, file: Stored, cut: Path) -> None:
        expected = self._sums.get(name)
        found = differs(cut, expected) if expected else ""
        if not expected and file.md5:
            expected = file.md5
            found = differs(cut, expected)
            if found and not self._store.plain_md5(file):
                return
        if found:
            cut.unlink()
            raise DataError(
                "checksum-differs",
                f"{self._uri}: {name} is not what its checksum says, and is not kept",
                got=found,
                expected=expected,
                hint="Run the same command again, which fetches this file anew. If it is so again, "
                "the file is damaged at its source, or its checksum is of another one.",
            )
        with self._lock:
            self.checked += bool(expected)

    def _count(self, came: int) -> None:
        with self._lock:
            self.fetched += came
            done, lacking = self.kept + self.fetched, max(0, self.lacking - self.fetched)
            self._progress(done // _MIB, (done + lacking) // _MIB)


def _version(file: Stored) -> str:
    """What tells a file from another one of its name; empty where nothing does."""
    return f"{file.version} {file.size}" if file.version else ""


def _is_final(error: Exception) -> bool:
    """Whether asking again is of no use."""
    if isinstance(error, HTTPError):
        return error.code < 500 and error.code != 429
    return isinstance(error, FileNotFoundError | PermissionError)


def _size(file: Path) -> int:
    return file.stat().st_size if file.is_file() else 0


@contextmanager
def _writing(path: Path) -> Iterator[None]:
    """Errors of this machine's own disk, which asking again does not mend."""
    try:
        yield
    except OSError as error:
        fault = os_fault(error, path)
        fault.hint = "Make room there and run it again, or name another --out."
        raise fault from error

"""Fetching a data set from where a URI says: checked, resumable, several files at a time."""

from __future__ import annotations

import fcntl
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from http.client import HTTPException
from pathlib import Path
from shlex import quote
from typing import Any
from urllib.error import HTTPError

from ocdnet.data.archives import extract
from ocdnet.data.layout import HEAD_BYTES, count_images, is_archive, is_data_path, is_split
from ocdnet.data.new_folder import free_place
from ocdnet.data.remote import is_url
from ocdnet.data.stores import Changed, nothing_there, open_store
from ocdnet.data.transfer import Transfer
from ocdnet.errors import DataError, RunError, UsageError, UserError
from ocdnet.files import disk_full, make_folder, os_fault
from ocdnet.install import called
from ocdnet.progress_bar import counter

_GIB = 1 << 30
_OURS = {"lock", "transfer.json", "whole", "cut"}
"""What OUT.part holds."""
_PAGE = re.compile(rb"\s*<(!doctype\s+html|html)\b", re.IGNORECASE)


def fetch(uri: str, out: Path, *, workers: int = 8) -> dict[str, Any]:
    """Fetch what a URI names into a new folder: a file, all files below a folder, or an archive.

    An archive is unpacked as `archives.extract` does. What is fetched waits in `OUT.part` until it
    is whole: a transfer that was cut goes on there when it is asked for again. Sizes are compared,
    and SHA-256 sums and the store's own MD5 where there are any. stderr tells how far it is.

    Args:
        uri: s3://, gs://, http(s)://, file:// or another one that fsspec reads.
        out: folder to make; absent or empty.
        workers: files that are fetched at a time.

    Returns:
        JSON-ready: `uri`; `fetched` and `kept`, bytes that came now and that an earlier call had
        brought; `checked`, the number of files whose checksum was compared; and `out`, `files`,
        `bytes`, `data_path`, `images` as `archives.extract`.

    Raises:
        UsageError: it is no URI, `out` is not absent or empty, or OUT.part is of another transfer.
        DataError: nothing is there, it can't be read, a checksum differs, or as `archives.extract`.
        RunError, EnvironmentFault: the disk is full, a folder can't be written, a package lacks.
    """
    target, said = free_place(out), _without_query(uri)
    part = target.with_name(f"{target.name}.part")
    with _explained(said, out):
        store = open_store(uri)
        listing = store.listing()
    if not listing.files:
        raise nothing_there(said)
    transfer = Transfer(store, listing, said, part)
    make_folder(part)
    with _locked(part):
        transfer.begin()
        _check_room(transfer, out)
        with _explained(said, out), counter("fetching (MiB)") as progress:
            transfer.run(workers, progress)
        document = _placed(transfer, listing.single, target, out)
        shutil.rmtree(part, ignore_errors=True)
    return {
        "uri": said,
        "fetched": transfer.fetched,
        "kept": transfer.kept,
        "checked": transfer.checked,
        **document,
        **({"warnings": transfer.warnings} if transfer.warnings else {}),
    }


def _placed(transfer: Transfer, single: bool, target: Path, out: Path) -> dict[str, Any]:
    """Unpack an archive into its place, or put all files there; tell what is there."""
    only = transfer.whole / transfer.names[0]
    if single:
        head = _head(only)
        if _PAGE.match(head) and not only.name.lower().endswith((".html", ".htm")):
            only.unlink()
            raise DataError(
                "web-page",
                "What the address leads to is a web page",
                got=only.name,
                expected="a file or an archive",
                hint="Open it in a browser: it may ask for a login, or link to the file itself.",
            )
        if is_archive(only.name, head):
            return _unpacked(only, out)
    try:
        if target.exists():
            target.rmdir()
        transfer.whole.rename(target)
    except OSError as error:
        raise os_fault(error, out) from error
    data_path = str(out) if is_data_path(target) else None
    return {
        "out": str(out),
        "files": len(transfer.names),
        "bytes": sum((target / name).stat().st_size for name in transfer.names),
        "data_path": data_path,
        "images": count_images(target / "img" if is_split(target) else target),
    }


def _head(file: Path) -> bytes:
    with file.open("rb") as opened:
        return opened.read(HEAD_BYTES)


def _unpacked(archive: Path, out: Path) -> dict[str, Any]:
    try:
        with counter("unpacking") as progress:
            return extract(archive, out, progress=progress)
    except UserError as error:
        if error.code in ("damaged-archive", "not-an-archive"):
            archive.unlink()  # else the same command would unpack the same again
            error.hint = (
                "Run the same command again, which fetches it anew. If it is so again, it is "
                "damaged at its source, or no archive."
            )
            raise
        if error.code == "unsupported-archive":
            error.hint = f"It is fetched: {archive}. {error.hint}"
            raise
        by_hand = f"{called()} data extract {quote(str(archive))} --out {quote(str(out))}"
        error.hint = f"{error.hint or ''} It is fetched; to unpack it alone: {by_hand}".strip()
        raise


def _check_room(transfer: Transfer, out: Path) -> None:
    free = shutil.disk_usage(transfer.part).free
    if transfer.lacking > free:
        raise RunError(
            "disk-full",
            f"{out} has no room for what is fetched",
            got=f"{free / _GIB:.1f} GiB free",
            expected=f"{transfer.lacking / _GIB:.1f} GiB",
            hint="Free some space, or choose another --out.",
        )


@contextmanager
def _locked(part: Path) -> Iterator[None]:
    """One transfer at a time: two would write into the same files."""
    try:
        if {entry.name for entry in part.iterdir() if entry.suffix != ".tmp"} - _OURS:
            raise UsageError(
                "output-exists",
                f"{part} is where the transfer waits, and holds other things",
                hint="Name another --out, or move that folder away.",
            )
        lock = (part / "lock").open("w")
    except OSError as error:
        fault = os_fault(error, part)
        fault.hint = "Name another --out, or remove that folder."
        raise fault from error
    with lock as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise UsageError(
                "fetch-in-progress",
                f"Another process is fetching into {part}",
                hint="Wait until it has ended, or name another --out.",
            ) from error
        except OSError:  # a file system without locks
            pass
        yield


@contextmanager
def _explained(uri: str, out: Path) -> Iterator[None]:
    """A UserError of whatever a store's library raises: each has errors of its own."""
    try:
        yield
    except UserError:
        raise
    except FileNotFoundError as error:
        raise nothing_there(uri) from error
    except Changed as error:
        raise _fault(uri, f"{error} was changed at its source meanwhile", out) from error
    except Exception as error:
        fault = disk_full(error)
        if fault is None and isinstance(error, HTTPError) and error.code in (404, 410):
            fault = nothing_there(uri)
        if fault is None and _forbids(error):
            fault = _forbidden(uri, error)
        raise fault or _fault(uri, _reason(error), out) from error


def _forbids(error: Exception) -> bool:
    status = getattr(error, "code", None) or getattr(error, "status", None)  # aiohttp's
    if status in (401, 403):
        return True
    return isinstance(error, PermissionError) or "Credential" in type(error).__name__


def _reason(error: Exception) -> str:
    if isinstance(error, HTTPError):
        return f"the server says {error.code} {str(error.reason).strip().partition(chr(10))[0]}"
    said = str(getattr(error, "reason", None) or error).strip().partition("\n")[0]
    plain = said and isinstance(error, OSError | HTTPException)
    return (said if plain else f"{type(error).__name__}: {said}")[:300]


def _fault(uri: str, reason: str, out: Path) -> DataError:
    part = out.resolve().with_name(f"{out.resolve().name}.part")
    goes_on = f": it goes on with what is in {out}.part" if part.exists() else ""
    return DataError(
        "cannot-fetch",
        f"Cannot fetch {uri}: {reason}",
        hint=f"Run the same command again{goes_on}.",
    )


def _forbidden(uri: str, error: Exception) -> DataError:
    web = is_url(uri)
    by_protocol = {
        "s3": "Credentials are found as AWS's own tools find them (AWS_PROFILE, ~/.aws, a role), "
        "another server by AWS_ENDPOINT_URL; a public bucket: FSSPEC_S3_ANON=true.",
        "gs": "Credentials are found as Google's own tools find them (gcloud auth "
        "application-default login); a public bucket: FSSPEC_GS_TOKEN=anon.",
    }
    hint = by_protocol.get(uri.partition("://")[0].lower())
    return DataError(
        "forbidden",
        f"{uri} may not be read from here",
        got=_reason(error),
        expected="an address that needs no login, or is signed" if web else "credentials for it",
        hint=hint,
    )


def _without_query(uri: str) -> str:
    """A URI as it may be printed and kept: without a signature or a password."""
    uri = re.sub(r"^([^/]*://[^/:@]*):[^/@]*@", r"\1@", uri)
    return re.split("[?#]", uri, maxsplit=1)[0] if is_url(uri) else uri

"""Where data lies that a URI names: its files, their versions, and their bytes from any place on.

http and https need nothing but Python; what else fsspec knows (s3, gs) needs the extra `uri`.
"""

from __future__ import annotations

import base64
import binascii
import logging
import re
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from typing import Any, Protocol
from urllib.error import HTTPError
from urllib.parse import urlsplit

from ocdnet.data.remote import SILENCE_SECONDS, file_name, is_url, web_opener, web_request
from ocdnet.errors import DataError, EnvironmentFault, UsageError
from ocdnet.install import command

_PIECE = 1 << 23
"""Bytes of a request to an object store."""
_CHUNK = 1 << 18
_SMALL = 1 << 20
"""Bytes of the longest checksum file beside another file."""
_VERSIONS = ("ETag", "etag", "md5Hash", "generation", "mtime", "LastModified", "created")
_EXTRA = ("s3", "s3a", "gs", "gcs")
_PROTOCOL = re.compile(r"[a-z][a-z0-9+.-]*://", re.IGNORECASE)
_MD5 = re.compile(r"[0-9a-f]{32}")


class Changed(Exception):
    """A file is another one than when it was listed."""


@dataclass(frozen=True)
class Stored:
    """A file in a store.

    Attributes:
        name: its path below what the URI names.
        address: how the store calls it.
        size: bytes; None: the store does not say.
        version: another one for another content; empty where the store tells none.
        md5: of its content, in hexadecimal; empty where the store tells none.
    """

    name: str
    address: str
    size: int | None
    version: str = ""
    md5: str = ""


@dataclass(frozen=True)
class Listing:
    """What a URI names: one file, or all files below a folder."""

    files: tuple[Stored, ...]
    single: bool


class Store(Protocol):
    """A place with files."""

    def listing(self) -> Listing:
        """What is there."""

    def reading(
        self, file: Stored, start: int
    ) -> AbstractContextManager[tuple[int, Iterator[bytes]]]:
        """A context with (where it begins, pieces of bytes): at `start` unless that can't be."""

    def checksum(self, file: Stored) -> str:
        """The text of the `.sha256` file beside a file; empty without one."""

    def plain_md5(self, file: Stored) -> bool:
        """Whether a file's `md5` is surely that of its content."""


def open_store(uri: str) -> Store:
    """The store that a URI leads to.

    Raises:
        UsageError: it is no URI.
        EnvironmentFault: a package that reads it is missing.
    """
    if not _PROTOCOL.match(uri) or "::" in uri:
        raise UsageError(
            "not-a-uri",
            "There is no URI to fetch from",
            got=uri,
            expected="s3://bucket/prefix, gs://..., https://..., file:///absolute/path",
            hint="An archive that is here already: `ocdnet data extract`.",
        )
    # A web address that ends in / is a page with links, which fsspec knows how to list.
    return _Web(uri) if is_url(uri) and not uri.endswith("/") else _Fsspec(uri)


class _Web:
    """One file at an http(s) address."""

    def __init__(self, uri: str) -> None:
        self._uri, self._opener = uri, web_opener()

    def listing(self) -> Listing:
        try:
            answer = self._open(self._uri, {"Range": "bytes=0-0"})
        except HTTPError as error:
            if error.code != 416:  # of an empty file no byte can be had
                raise
            answer = error
        with answer:
            size = answer.headers.get("Content-Length")
            if answer.status in (206, 416):
                size = str(answer.headers.get("Content-Range", "")).rpartition("/")[2]
            tag = answer.headers.get("ETag") or ""
            version = answer.headers.get("Last-Modified") or "" if tag[:2] in ("", "W/") else tag
        known = int(size) if size and size.isdecimal() else None
        return Listing((Stored(file_name(self._uri), self._uri, known, version),), single=True)

    @contextmanager
    def reading(self, file: Stored, start: int) -> Iterator[tuple[int, Iterator[bytes]]]:
        headers = {"Range": f"bytes={start}-", "If-Range": file.version} if start else {}
        with self._open(file.address, headers) as answer:
            begins = start if answer.status == 206 else 0
            yield begins, iter(lambda: answer.read(_CHUNK), b"")

    def checksum(self, file: Stored) -> str:
        parts = urlsplit(self._uri)
        if parts.query:  # of a signed address only the file itself can be had
            return ""
        try:
            with self._open(f"{self._uri}.sha256", {}) as answer:
                return bytes(answer.read(_SMALL)).decode("utf-8", errors="replace")
        except HTTPError:
            return ""

    def plain_md5(self, file: Stored) -> bool:
        return bool(file.md5)

    def _open(self, url: str, headers: Mapping[str, str]) -> Any:
        request = web_request(url)
        for name, value in headers.items():
            request.add_header(name, value)
        return self._opener.open(request, timeout=SILENCE_SECONDS)


class _Fsspec:
    """What fsspec and its plug-ins read."""

    def __init__(self, uri: str) -> None:
        protocol = uri.partition("://")[0].lower()
        for name in ("fsspec", "gcsfs", "s3fs"):  # what they log with tracebacks, they raise, too
            logging.getLogger(name).setLevel(logging.CRITICAL)
        try:
            from fsspec.core import url_to_fs  # noqa: PLC0415 - an extra's package

            # Without its cache, so that a file that changes meanwhile is seen.
            self._fs, root = url_to_fs(uri, use_listings_cache=False, skip_instance_cache=True)
        except ImportError as error:
            ours = protocol in (*_EXTRA, "http", "https") or error.name == "fsspec"
            raise EnvironmentFault(
                "missing-package",
                f"Fetching {protocol}:// needs a package that is not installed",
                got=str(error),
                hint=command("uri") if ours else f"Install what reads {protocol}:// with fsspec.",
            ) from error
        except ValueError as error:  # fsspec's own, for a protocol that it does not know
            raise UsageError(
                "not-a-uri", str(error)[:200], got=protocol, expected="s3, gs, https or file"
            ) from error
        self._root, self._folder = str(root).rstrip("/"), uri.endswith("/")
        self._web = is_url(uri)

    def listing(self) -> Listing:
        if not self._folder:
            info = self._fs.info(self._root)
            if info["type"] == "file":
                name = self._root.rpartition("/")[2]
                return Listing((self._stored(name, self._root, info),), single=True)
        found = self._fs.find(self._root, detail=True)
        files = [
            self._stored(path.removeprefix(self._root).lstrip("/"), path, info)
            for path, info in sorted(found.items())
            # A marker of a folder is no file; nor is a link of a page that sorts its table.
            if not path.endswith("/") and not (self._web and "?" in path)
        ]
        return Listing(tuple(files), single=False)

    @contextmanager
    def reading(self, file: Stored, start: int) -> Iterator[tuple[int, Iterator[bytes]]]:
        yield start, self._pieces(file, start)

    def _pieces(self, file: Stored, start: int) -> Iterator[bytes]:
        size = self._fs.info(file.address)["size"] if file.size is None else file.size
        for place in range(start, size, _PIECE):
            yield self._fs.cat_file(file.address, start=place, end=min(size, place + _PIECE))
        if start or size > _PIECE:  # it came in several pieces: of one and the same file?
            now = self._stored(file.name, file.address, self._fs.info(file.address))
            if file.version and now.version != file.version:
                raise Changed(file.name)

    def checksum(self, file: Stored) -> str:
        try:
            text = bytes(self._fs.cat_file(f"{file.address}.sha256", start=0, end=_SMALL))
        except OSError:  # there is none, or it is not for us
            return ""
        return text.decode("utf-8", errors="replace")

    def plain_md5(self, file: Stored) -> bool:
        """An ETag of S3 is no MD5 of an object that is encrypted with a key of its own."""
        if not hasattr(self._fs, "call_s3"):
            return True
        bucket, key, _ = self._fs.split_path(file.address)
        head = self._fs.call_s3("head_object", Bucket=bucket, Key=key)
        kept = str(head.get("ServerSideEncryption", "AES256"))
        return kept == "AES256" and "SSECustomerAlgorithm" not in head

    def _stored(self, name: str, path: str, info: Mapping[str, Any]) -> Stored:
        version = str(next((info[key] for key in _VERSIONS if info.get(key)), ""))
        return Stored(name, path, info.get("size"), version, self._md5(info))

    @staticmethod
    def _md5(info: Mapping[str, Any]) -> str:
        """Of S3 the ETag, unless the object came in parts; of Google's store its own field."""
        tag = str(info.get("ETag", "")).strip('"')
        if _MD5.fullmatch(tag):
            return tag
        try:
            return base64.b64decode(str(info.get("md5Hash", "")), validate=True).hex()
        except binascii.Error:
            return ""


def nothing_there(uri: str) -> DataError:
    """The error of a URI that leads to nothing."""
    return DataError(
        "nothing-there",
        f"There is nothing at {uri}",
        expected="a file, an archive, or a folder (prefix) with files in it",
        hint="Look at the bucket, and at the spelling; names are case-sensitive.",
    )

"""Where data lies that a URI names: its files, their versions, and their bytes from any place on.

http and https need nothing but Python; what else fsspec knows (s3, gs) needs the extra `uri`.
"""

from __future__ import annotations

import base64
import binascii
import html
import logging
import re
import string
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from typing import Any, Protocol
from urllib.error import HTTPError
from urllib.parse import quote, unquote, urlsplit

from ocdnet.data.remote import SILENCE_SECONDS, file_name, is_url, web_opener, web_request
from ocdnet.errors import DataError, EnvironmentFault, UsageError
from ocdnet.files import path_of_uri
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
_DEEPEST = 64
"""Levels of folders; a page that links to itself under ever new names has no end."""


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
    """A place with files.

    Attributes:
        endless: names of files that came without a size and without a mark of their end.
    """

    endless: list[str]

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
        UsageError: it is no URI, or a web address that holds a login.
        EnvironmentFault: a package that reads it is missing.
    """
    if not _PROTOCOL.match(uri) or "::" in uri or (is_url(uri) and not _has_host(uri)):
        raise UsageError(
            "not-a-uri",
            "There is no URI to fetch from",
            got=uri,
            expected="s3://bucket/prefix, gs://..., https://..., file:///absolute/path",
            hint="An archive that is here already: `ocdnet data extract`.",
        )
    if is_url(uri) and "@" in urlsplit(uri).netloc:
        raise UsageError(
            "login-in-uri",
            "A name and password in a web address are not sent",
            expected="an address that needs no login, or is signed",
        )
    # A web address that ends in / is a page with links, which fsspec knows how to list.
    return _Web(uri) if is_url(uri) and not uri.endswith("/") else _Fsspec(uri)


def _has_host(url: str) -> bool:
    try:
        return bool(urlsplit(url).hostname)
    except ValueError:
        return False


class _Web:
    """One file at an http(s) address."""

    def __init__(self, uri: str) -> None:
        self._uri, self._opener = uri, web_opener()
        self.endless: list[str] = []

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
            version = _version(answer)
        known = int(size) if size and size.isdecimal() else None
        return Listing((Stored(file_name(self._uri), self._uri, known, version),), single=True)

    @contextmanager
    def reading(self, file: Stored, start: int) -> Iterator[tuple[int, Iterator[bytes]]]:
        headers = {"Range": f"bytes={start}-", "If-Range": file.version} if start else {}
        with self._open(file.address, headers) as answer:
            if answer.status != 206:
                yield 0, self._pieces(file, answer)
                return
            begins = str(answer.headers.get("Content-Range", "")).startswith(f"bytes {start}-")
            if begins and _version(answer) in ("", file.version):
                yield start, self._pieces(file, answer)
                return
        # Of another file than the one that was cut, or from another place: servers err.
        with self._open(file.address, {}) as answer:
            yield 0, self._pieces(file, answer)

    def _pieces(self, file: Stored, answer: Any) -> Iterator[bytes]:
        if file.size is None and answer.length is None and not answer.chunked:
            self.endless.append(file.name)
        while piece := answer.read(_CHUNK):
            yield piece
        if answer.length:
            raise OSError(f"{file.name} broke off {answer.length:,} bytes before its end")

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


def _version(answer: Any) -> str:
    """What tells the file of an answer from another one; a weak ETag says too little."""
    tag = str(answer.headers.get("ETag") or "")
    return str(answer.headers.get("Last-Modified") or "") if tag[:2] in ("", "W/") else tag


class _Fsspec:
    """What fsspec and its plug-ins read."""

    def __init__(self, uri: str) -> None:
        name, _, path = uri.partition("://")
        protocol = name.lower()
        if protocol == "file":
            path = path_of_uri(path)
        self.endless: list[str] = []
        for name in ("fsspec", "gcsfs", "s3fs"):  # what they log with tracebacks, they raise, too
            logging.getLogger(name).setLevel(logging.CRITICAL)
        try:
            from fsspec.core import url_to_fs  # noqa: PLC0415 - an extra's package

            # Without its cache, so that a file that changes meanwhile is seen.
            self._fs, root = url_to_fs(
                f"{protocol}://{path}", use_listings_cache=False, skip_instance_cache=True
            )
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
        self._flat = protocol in _EXTRA
        self._web = _Web(uri) if is_url(uri) else None
        if self._web:
            self.endless = self._web.endless

    def listing(self) -> Listing:
        info = {"type": "directory"} if self._folder else self._fs.info(self._root)
        if info["type"] != "directory" and not (self._flat and self._is_marker(info)):
            name = self._root.rpartition("/")[2]
            return Listing((self._stored(name, self._root, self._regular(info)),), single=True)
        found = self._fs.find(self._root, detail=True) if self._flat else self._walked()
        files = [
            self._stored(path.removeprefix(self._root).lstrip("/"), path, info)
            for path, info in sorted(found.items())
            if not path.endswith("/") and path != self._root  # a marker of a folder is no file
        ]
        return Listing(tuple(files), single=False)

    def _is_marker(self, info: Mapping[str, Any]) -> bool:
        """Whether a file is nothing but a folder's name, as some tools leave it in a bucket."""
        return not info.get("size") and any(
            self._root != path for path in self._fs.find(self._root)
        )

    def _walked(self) -> dict[str, Mapping[str, Any]]:
        """Files below the folder. fsspec's own walk passes over folders that it cannot list."""
        found: dict[str, Mapping[str, Any]] = {}
        waiting, depth = [self._root], self._root.count("/")
        while waiting:
            folder = waiting.pop()
            for info in self._listed(folder):
                name = str(info["name"]).rstrip("/")
                if name.count("/") - depth > _DEEPEST or name == folder:
                    raise _unfit(
                        name, "is a file and a folder" if name == folder else "lies too deep"
                    )
                if info["type"] == "directory":
                    waiting.append(name)
                else:
                    found[name] = self._regular(info)
        return found

    def _listed(self, folder: str) -> Iterator[Mapping[str, Any]]:
        """What lies in a folder; of a page what it links to below itself."""
        try:
            entries = self._fs.ls(f"{folder}/" if self._web else folder, detail=True)
            for info in entries:
                name = html.unescape(info["name"]) if self._web else info["name"]
                last = name.rstrip("/").rpartition("/")[2]
                if self._web and ("?" in name or "#" in name or last in ("", ".", "..")):
                    continue
                if self._web and name.rstrip("/") == folder:
                    continue
                # Of a link fsspec tells its own date, not that of the file.
                yield self._fs.info(name) if info.get("islink") else {**info, "name": name}
        except FileNotFoundError as error:
            if folder == self._root and not self._fs.exists(folder):
                raise
            raise _unfit(str(error.filename or error), "is not there, but listed") from error

    def _regular(self, info: Mapping[str, Any]) -> Mapping[str, Any]:
        if info["type"] != "file":
            raise _unfit(str(info["name"]), "is neither a file nor a folder")
        return info

    @contextmanager
    def reading(self, file: Stored, start: int) -> Iterator[tuple[int, Iterator[bytes]]]:
        if self._web:  # fsspec's parts are wrong of a server that knows none
            with self._web.reading(file, start) as answer:
                yield answer
            return
        yield start, self._pieces(file, start)

    def _pieces(self, file: Stored, start: int) -> Iterator[bytes]:
        size = self._fs.info(file.address)["size"] if file.size is None else file.size
        for place in range(start, size, _PIECE):
            end = min(size, place + _PIECE)
            # A byte beyond the end is had of a file that has grown.
            yield self._fs.cat_file(file.address, start=place, end=end + (end == size))
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
        if self._web:
            name, path = unquote(name), quote(path, safe=string.punctuation)
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


def _unfit(name: str, problem: str) -> DataError:
    return DataError(
        "unsafe-name",
        f"{name[:200]} {problem}",
        hint="Rename or remove it in the store, or fetch a folder without it.",
    )


def nothing_there(uri: str) -> DataError:
    """The error of a URI that leads to nothing."""
    return DataError(
        "nothing-there",
        f"There is nothing at {uri}",
        expected="a file, an archive, or a folder (prefix) with files in it",
        hint="Look at the bucket, and at the spelling; names are case-sensitive.",
    )

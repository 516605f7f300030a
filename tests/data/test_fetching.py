"""Data by URI: what arrives is what is there, goes on after a cut, and is checked."""

from __future__ import annotations

import hashlib
import http.server
import json
import os
import re
import tarfile
import threading

import pytest

from ocdnet.data import transfer
from ocdnet.data.fetching import fetch
from ocdnet.errors import UserError

SET = {"img/1.jpg": b"1" * 9000, "img/2.jpg": b"", "gt/gt_1.txt": b"", "gt/gt_2.txt": b"x"}


def filled(folder, files=SET):
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    return folder


def tree(folder):
    found = (path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): path.read_bytes() for path in found}


def sums(files):
    return "".join(f"{hashlib.sha256(data).hexdigest()} *{name}\n" for name, data in files.items())


def refused(*arguments):
    with pytest.raises(UserError) as caught:
        fetch(*arguments)
    return caught.value


class Server:
    """Serves bytes, in parts if asked; `whole` requests are answered, the others break off."""

    def __init__(self, content):
        self.content, self.whole, self.asked, self.ranges, self.sums = content, 99, [], True, None
        server = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                server.answer(self)

            def log_message(self, *_):
                pass

        self.http = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.http.serve_forever, daemon=True).start()
        self.url = f"http://127.0.0.1:{self.http.server_port}/set.tar?key=1"

    def answer(self, request):
        content = self.content
        if request.path.endswith(".sha256"):
            content = (self.sums or "<html>").encode()
        asked = re.match(r"bytes=(\d+)-(\d*)", request.headers.get("Range", ""))
        tag = f'"{hashlib.md5(content).hexdigest()}"'
        begin, end = 0, len(content)
        if asked and self.ranges and request.headers.get("If-Range", tag) == tag:
            begin, end = int(asked[1]), min(end, int(asked[2] or end) + 1)
        request.send_response(206 if end - begin < len(content) else 200)
        request.send_header("Content-Range", f"bytes {begin}-{end - 1}/{len(content)}")
        request.send_header("ETag", tag)
        request.send_header("Content-Length", str(end - begin))
        request.end_headers()
        body = content[begin:end]
        if not (asked and asked[2]):  # what only asks for a first byte is answered
            self.asked.append(begin)
            self.whole -= 1
            body = body if self.whole >= 0 else body[: len(body) // 2]
        request.wfile.write(body)


@pytest.fixture
def server(tmp_path, monkeypatch):
    monkeypatch.setattr(transfer, "_PAUSES", (0.0,))
    with tarfile.open(tmp_path / "set.tar", "w") as bundle:
        bundle.add(filled(tmp_path / "source"), "words")
    started = Server((tmp_path / "set.tar").read_bytes())
    yield started
    started.http.shutdown()
    started.http.server_close()


def test_an_archive_on_the_web_goes_on_after_a_cut(server, tmp_path):
    out = tmp_path / "out"
    server.whole, size = 0, len(server.content)
    # Each try gets half of what is left: it goes on while bytes come, and gives up at none.
    told = refused(server.url, out)
    assert (told.code, "key" in told.message) == ("cannot-fetch", False)
    assert server.asked[:3] == [0, size // 2, size * 3 // 4]
    assert not out.exists()
    server.whole, server.asked = 99, []
    told = fetch(server.url, out)
    assert server.asked == [size - 1]
    assert (told["fetched"], told["kept"]) == (1, size - 1)
    assert (told["uri"], told["data_path"], told["images"]) == (server.url[:-6], str(out), 2)
    assert tree(out) == SET
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out", "set.tar", "source"]


@pytest.mark.parametrize("ranges", [True, False])
def test_a_file_that_changed_or_has_no_parts_begins_anew(server, tmp_path, ranges):
    server.whole = -99
    refused(server.url, tmp_path / "out")
    server.whole, server.ranges = 99, ranges
    server.content = server.content if not ranges else server.content.replace(b"1" * 99, b"2" * 99)
    fetch(server.url, tmp_path / "out")
    assert tree(tmp_path / "out")["img/1.jpg"][:1] == (b"2" if ranges else b"1")


def test_the_sum_beside_a_file_is_compared(server, tmp_path):
    address = server.url.partition("?")[0]
    server.sums = sums({"set.tar": b"another"})
    assert refused(address, tmp_path / "out").code == "checksum-differs"
    server.sums = sums({"set.tar": server.content})
    assert fetch(address, tmp_path / "out")["checked"] == 1
    assert refused(address + "/x", tmp_path / "out").code == "output-exists"


def test_a_folder_is_fetched_and_checked_by_its_list(tmp_path):
    pytest.importorskip("fsspec")
    listed = sums(SET | {"gone.jpg": b""})
    source = filled(tmp_path / "a b", SET | {"SHA256SUMS": listed.encode()})
    told = fetch(source.as_uri().replace("%20", " "), tmp_path / "out", workers=3)
    assert tree(tmp_path / "out") == tree(source)
    assert (told["files"], told["checked"], told["images"]) == (5, 4, 2)
    assert "gone.jpg" in told["warnings"][0]
    (source / "img/1.jpg").write_bytes(b"0" * 9000)
    uri = f"file://{source}"
    assert refused(uri, tmp_path / "new").code == "checksum-differs"
    # What was whole stays, unless it changes where it came from.
    kept = tmp_path / "new.part/whole/gt/gt_2.txt"
    filled(source)
    os.utime(source / "gt/gt_2.txt", (1, 1))
    kept.write_bytes(b"old")
    fetch(uri, tmp_path / "new")
    assert tree(tmp_path / "new") == tree(source)


@pytest.mark.parametrize(
    ("names", "code"),
    [
        (["../x", "img/a"], "unsafe-name"),
        (["a", "a/b"], "unsafe-name"),
        ([], "nothing-there"),
    ],
)
def test_what_a_store_lists_is_not_trusted(names, code, tmp_path, monkeypatch):
    memory = pytest.importorskip("fsspec.implementations.memory")
    store = memory.MemoryFileSystem()
    paths = [f"/set/{name}" for name in names]
    monkeypatch.setattr(
        type(store), "store", {path: memory.MemoryFile(store, path, b"x") for path in paths}
    )
    assert refused("memory://set", tmp_path / "out").code == code
    assert not any(tmp_path.glob("x"))


@pytest.mark.parametrize("uri", ["words", "/data/words", "nope://x/y", "zip::file:///a.zip"])
def test_what_is_no_uri_is_refused(uri, tmp_path):
    assert refused(uri, tmp_path / "out").code in ("not-a-uri", "missing-package")
    assert list(tmp_path.iterdir()) == []


def test_a_transfer_of_something_else_is_not_touched(tmp_path):
    part = tmp_path / "out.part"
    part.mkdir()
    (part / "transfer.json").write_text(json.dumps({"uri": "s3://other", "files": {}}))
    pytest.importorskip("fsspec")
    source = filled(tmp_path / "source")
    assert refused(f"file://{source}", tmp_path / "out").code == "other-transfer"
    assert (part / "transfer.json").exists()

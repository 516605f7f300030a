"""Data by URI: whole, checked, taken up after a cut."""

from __future__ import annotations

import hashlib
import http.server
import os
import re
import tarfile
import threading
from functools import partial
from pathlib import Path

import pytest

from ocdnet.data import stores, transfer
from ocdnet.data.fetching import fetch
from ocdnet.errors import UserError

SET = {"img/1.jpg": b"1" * 9000, "img/2.jpg": b"", "gt/gt_1.txt": b"", "gt/gt_2.txt": b"x"}


def filled(folder, files=SET):
    for path, content in ((folder / name, content) for name, content in files.items()):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    return folder


def tree(folder):
    found = filter(Path.is_file, folder.rglob("*"))
    return {str(path.relative_to(folder)): path.read_bytes() for path in found}


def sums(files):
    return "".join(f"{hashlib.sha256(data).hexdigest()} {name}\n" for name, data in files.items())


def refused(*arguments, **options):
    with pytest.raises(UserError) as caught:
        fetch(*arguments, **options)
    return caught.value.code


class Server(http.server.BaseHTTPRequestHandler):
    cuts, has_parts, sums, careless, after = False, True, "<html>", False, b""

    def do_GET(self):
        content = self.sums.encode() if self.path.endswith(".sha256") else self.content
        tag = hashlib.md5(content).hexdigest()
        asked = re.match(r"bytes=(\d+)-(\d*)", self.headers.get("Range", ""))
        begin, end = 0, len(content)
        same = self.careless or self.headers.get("If-Range", f'"{tag}"') == f'"{tag}"'
        if asked and self.has_parts and same:
            begin, end = int(asked[1]), min(end, int(asked[2] or end) + 1)
        self.send_response(206 if end - begin < len(content) else 200)
        self.send_header("Content-Range", f"bytes {begin}-{end - 1}/{len(content)}")
        self.send_header("ETag", f'"{tag}"')
        self.send_header("Content-Length", str(end - begin))
        self.end_headers()
        if not (asked and asked[2]):  # what only asks for a first byte is answered
            self.asked.append(begin)
            end -= self.cuts * (end - begin + 1) // 2
            if self.after:
                type(self).content, type(self).cuts = self.after, False
        self.wfile.write(content[begin:end])

    def log_message(self, *_):
        pass


@pytest.fixture
def server(tmp_path, monkeypatch):
    monkeypatch.setattr(transfer, "_PAUSES", (0.0,))
    with tarfile.open(tmp_path / "set.tar", "w") as bundle:
        bundle.add(filled(tmp_path / "source"), "words")
    handler = type("Own", (Server,), {"content": (tmp_path / "set.tar").read_bytes(), "asked": []})
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as listening:
        threading.Thread(target=listening.serve_forever, daemon=True).start()
        handler.url = f"http://127.0.0.1:{listening.server_port}/set.tar"
        yield handler
        listening.shutdown()


def test_an_archive_on_the_web_goes_on_after_a_cut(server, tmp_path):
    out, size = tmp_path / "out", len(server.content)
    server.cuts = True
    # Each try gets half of what is left: it goes on while bytes come, and gives up at none.
    assert refused(f"{server.url}?key=1", out) == "cannot-fetch"
    assert server.asked[:3] == [0, size // 2, size * 3 // 4]
    assert refused(f"{server.url}x", out) == "other-transfer"
    server.cuts, server.asked[:] = False, []
    told = fetch(f"{server.url}?key=2", out)
    assert (server.asked, told["fetched"], told["kept"]) == ([size - 1], 1, size - 1)
    assert (told["uri"], told["data_path"], told["images"]) == (server.url, str(out), 2)
    assert tree(out) == SET
    assert not (tmp_path / "out.part").exists()


@pytest.mark.parametrize("parts", [True, False])
def test_a_file_that_changed_or_has_no_parts_begins_anew_and_is_checked(server, tmp_path, parts):
    server.cuts = True
    refused(server.url, tmp_path / "out")
    server.cuts, server.has_parts = False, parts
    server.content = server.content.replace(b"1" * 99, b"2" * 99)
    server.sums = sums({"set.tar": b"another"})
    assert refused(server.url, tmp_path / "out") == "checksum-differs"
    server.sums = sums({"set.tar": server.content})
    assert fetch(server.url, tmp_path / "out")["checked"] == 1
    assert tree(tmp_path / "out")["img/1.jpg"][:1] == b"2"


def test_a_file_that_changes_between_two_parts_is_not_mixed(server, tmp_path):
    server.cuts = server.careless = True
    server.after = server.content.replace(b"1" * 9000, b"2" * 9000)
    fetch(f"{server.url}?key", tmp_path / "out")
    assert server.asked == [0, len(server.content) // 2, 0]
    assert tree(tmp_path / "out") == SET | {"img/1.jpg": b"2" * 9000}


def test_what_is_no_whole_archive_is_not_kept(server, tmp_path):
    whole, out = server.content, tmp_path / "out"
    for server.content, code in ((whole[:-9999], "damaged-archive"), (b"<html>", "web-page")):
        assert refused(server.url, out) == code
        assert not any((tmp_path / "out.part/whole").iterdir())
    for address, code in (("http://a:b@x/y/", "login-in-uri"), ("http://[x/y", "not-a-uri")):
        assert refused(address, out) == code


def test_the_files_of_a_page_come_under_their_names_and_once(tmp_path, monkeypatch):
    pytest.importorskip("aiohttp")
    monkeypatch.setattr(stores, "_PIECE", 1000)  # this server knows no parts
    own = {"img/ü 1.jpg": b"1" * 5000, "gt/ü 1.txt": b""}
    listed = {"md5": f"MD5 (img/ü 1.jpg) = {hashlib.md5(b'1' * 5000).hexdigest()}".encode()}
    source = filled(tmp_path / "a", own | listed)
    handler = partial(http.server.SimpleHTTPRequestHandler, directory=source)
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as listening:
        threading.Thread(target=listening.serve_forever, daemon=True).start()
        told = fetch(f"http://127.0.0.1:{listening.server_port}/", tmp_path / "out")
        listening.shutdown()
    assert (tree(tmp_path / "out"), told["checked"]) == (tree(source), 1)


def test_what_can_not_be_fetched_is_not_passed_over(tmp_path):
    pytest.importorskip("fsspec")
    source = filled(tmp_path / "a", {"s.tar": b""})
    assert fetch(f"file://{source}", tmp_path / "tars")["data_path"] == str(tmp_path / "tars")
    (source / "img").symlink_to("nothing")
    assert refused(f"file://{source}", tmp_path / "out") == "unsafe-name"
    (source / "img").unlink()
    os.mkfifo(source / "img")
    assert refused(f"file://{source}", tmp_path / "out") == "unsafe-name"
    filled(tmp_path / "b.part", {"thesis": b""})
    assert refused(f"file://{source}/s.tar", tmp_path / "b") == "output-exists"
    assert (tmp_path / "b.part/thesis").exists()


def test_a_folder_is_fetched_and_checked_by_its_list(tmp_path):
    pytest.importorskip("fsspec")
    listed = sums(SET | {"gone.jpg": b""}).encode()
    source = filled(tmp_path / "a b", SET | {"SHA256SUMS": listed})
    told = fetch(f"file://{source}", tmp_path / "out", workers=3)
    assert tree(tmp_path / "out") == tree(source)
    assert (told["files"], told["checked"], told["images"]) == (5, 4, 2)
    assert "gone.jpg" in told["warnings"][0]
    filled(source, {"img/1.jpg": b"0" * 9000})
    assert refused(f"file://{source}", tmp_path / "new", workers=1) == "checksum-differs"
    filled(tmp_path / "new.part/whole", {"gt/gt_1.txt": b"spoiled"})
    assert refused(f"file://{source}", tmp_path / "new") == "checksum-differs"
    filled(tmp_path / "new.part/whole", {"gt/gt_2.txt": b"old", "stray": b""})
    filled(source)
    os.utime(source / "gt/gt_2.txt", (1, 1))
    assert refused(source.as_uri(), tmp_path / "new") == "other-transfer"  # it has %20
    fetch(f"file://{source}", tmp_path / "new")
    assert tree(tmp_path / "new") == tree(source)


@pytest.mark.parametrize("names", [["../x"], ["a", "a/b"], []])
def test_what_a_store_lists_is_not_trusted(names, tmp_path, monkeypatch):
    memory = pytest.importorskip("fsspec.implementations.memory")
    store = memory.MemoryFileSystem()
    files = {f"/set/{name}": memory.MemoryFile(store, f"/set/{name}", b"x") for name in names}
    monkeypatch.setattr(type(store), "store", files)
    code = "unsafe-name" if names else "nothing-there"
    assert refused("memory://set", tmp_path / "out") == code
    assert not any(tmp_path.glob("x"))

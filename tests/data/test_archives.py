"""Unpacking archives: what arrives, what is refused, and that refusing leaves nothing."""

from __future__ import annotations

import bz2
import gzip
import io
import itertools
import json
import lzma
import os
import re
import stat
import struct
import tarfile
import zipfile
from pathlib import Path
from types import SimpleNamespace

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from ocdnet.data import archives
from ocdnet.data.archives import extract
from ocdnet.errors import DataError, EnvironmentFault, RunError, UsageError

SPLIT = {"img/1.jpg": b"one", "img/2.jpg": b"two", "gt/gt_1.txt": b"", "gt/gt_2.txt": b"0,0\n"}
PACKERS = {
    "tar": bytes,
    "tar.gz": gzip.compress,
    "tar.bz2": bz2.compress,
    "tar.xz": lzma.compress,
}
KINDS = [*PACKERS, "zip"]


def tar_bytes(members):
    """A tar of (name or TarInfo, bytes) pairs."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as bundle:
        for name, content in members:
            info = name if isinstance(name, tarfile.TarInfo) else tarfile.TarInfo(name)
            if info.isreg():
                info.size = len(content)
            bundle.addfile(info, io.BytesIO(content))
    return buffer.getvalue()


def zip_bytes(members, method=zipfile.ZIP_DEFLATED):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", method) as bundle:
        for name, content in members:
            bundle.writestr(name, content)
    return buffer.getvalue()


def pack(path, files, kind=None):
    kind = kind or path.name.partition(".")[2]
    members = files.items() if isinstance(files, dict) else files
    path.write_bytes(zip_bytes(members) if kind == "zip" else PACKERS[kind](tar_bytes(members)))
    return path


def tree(folder):
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


def listing(folder):
    return sorted(path.name for path in folder.iterdir())


def refused(archive, out=None, kind=DataError, **options):
    """The error's code, after checking that nothing else is left beside the archive."""
    before = sorted(archive.parent.rglob("*"))
    with pytest.raises(kind) as caught:
        extract(archive, out or archive.parent / "new" / "out", **options)
    assert sorted(archive.parent.rglob("*")) == before
    json.dumps(caught.value.to_dict()).encode()
    return caught.value


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("prefix", ["", "./", "train/", "a/b/"])
def test_a_split_arrives_with_img_and_gt_at_the_top(tmp_path, kind, prefix):
    files = {prefix + name: content for name, content in SPLIT.items()}
    # Told by its content: the name may lie.
    archive = pack(tmp_path / "data.bin", files, kind)
    out = tmp_path / "sub" / "out"
    told = extract(archive, out)
    assert tree(out) == SPLIT
    assert told == {
        "out": str(out),
        "files": 4,
        "bytes": 10,
        "data_path": str(out),
        "images": 2,
    }
    assert listing(tmp_path / "sub") == ["out"]


def test_images_alone_arrive_at_the_top(tmp_path):
    archive = pack(tmp_path / "img.tar.gz", {"img/a.jpg": b"a", "img/b.PNG": b"b"})
    told = extract(archive, tmp_path / "out")
    assert tree(tmp_path / "out") == {"a.jpg": b"a", "b.PNG": b"b"}
    assert (told["data_path"], told["images"]) == (None, 2)


def test_several_folders_stay(tmp_path):
    archive = pack(tmp_path / "a.zip", {"x/train/img/1.jpg": b"1", "x/test/img/1.jpg": b"2"})
    extract(archive, tmp_path / "out")
    assert tree(tmp_path / "out") == {"train/img/1.jpg": b"1", "test/img/1.jpg": b"2"}


@pytest.mark.parametrize("kind", KINDS)
def test_what_macos_adds_is_left_out(tmp_path, kind):
    junk = {"__MACOSX/train/._a.jpg": b"x", ".DS_Store": b"x", "train/img/._a.jpg": b"x"}
    told = extract(pack(tmp_path / "a", {**junk, "train/img/a.jpg": b"a"}, kind), tmp_path / "out")
    assert tree(tmp_path / "out") == {"a.jpg": b"a"}
    assert told["files"] == 1


def test_permissions_are_not_carried_over(tmp_path):
    info = tarfile.TarInfo("a.jpg")
    info.mode, info.uid = 0o6777, 12345
    folder = tarfile.TarInfo("locked")
    folder.type, folder.mode = tarfile.DIRTYPE, 0
    extract(pack(tmp_path / "a.tar", [(info, b"a"), (folder, b"")]), tmp_path / "out")
    mode = (tmp_path / "out" / "a.jpg").stat().st_mode
    assert not mode & (stat.S_ISUID | stat.S_ISGID | stat.S_IXUSR)
    assert (tmp_path / "out" / "locked").stat().st_mode & stat.S_IRWXU == stat.S_IRWXU


def test_an_empty_folder_may_be_there_and_a_link_to_one(tmp_path):
    archive = pack(tmp_path / "a.zip", SPLIT)
    (tmp_path / "empty").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "empty")
    extract(archive, tmp_path / "link")
    assert tree(tmp_path / "empty") == SPLIT
    assert (tmp_path / "link").is_symlink()


@pytest.mark.parametrize("there", ["file", "folder", "here", "loop"])
def test_nothing_is_written_over(tmp_path, there, monkeypatch):
    archive, out = pack(tmp_path / "a.zip", SPLIT), tmp_path / "out"
    if there == "file":
        out.write_text("mine")
    elif there == "loop":
        out.symlink_to(out)
    else:
        out.mkdir()
    if there == "folder":
        (out / "mine").write_text("mine")
    if there == "here":
        monkeypatch.chdir(out)
    assert refused(archive, out, UsageError).code == "output-exists"


BAD_NAMES = [
    *("../evil", "a/../../evil", "/etc/evil", "C:\\evil", "c:evil", "a\\..\\evil", "a\nb", ".."),
    *("caf\udce9.jpg", "x" * 256, "a/" * 65 + "b", "é" * 200),
]


@pytest.mark.parametrize("name", BAD_NAMES)
def test_unsafe_names_in_a_tar(tmp_path, name):
    error = refused(pack(tmp_path / "a.tar", {"img/1.jpg": b"1", name: b"evil"}))
    assert error.code == "unsafe-member"
    assert error.got == name[:120]


@pytest.mark.parametrize("name", [name for name in BAD_NAMES if "\udce9" not in name])
def test_unsafe_names_in_a_zip(tmp_path, name):
    assert refused(pack(tmp_path / "a.zip", {"img/1.jpg": b"1", name: b"e"})).code == (
        "unsafe-member"
    )


NAMES = st.text(st.sampled_from("ab./\\:\0\n é\udc80漢~*"), max_size=12) | st.text(max_size=20)


@given(st.lists(NAMES, min_size=1, max_size=4), st.sampled_from(["tar", "zip"]))
@example(["a", "a"], "zip")
@example(["a", "a/b"], "tar")
@example(["a/b", "a"], "tar")
@example(["a", "./."], "tar")
@settings(deadline=None, max_examples=150)
@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_no_name_leads_out_or_is_lost(tmp_path_factory, names, kind):
    folder = tmp_path_factory.mktemp("names")
    try:
        archive = pack(folder / "a", [(n, str(i).encode()) for i, n in enumerate(names)], kind)
    except (UnicodeEncodeError, IndexError):
        return  # no archive holds such a name
    try:
        told = extract(archive, folder / "out")
    except DataError:
        assert listing(folder) == ["a"]
        return
    assert listing(folder) == ["a", "out"]
    assert len(tree(folder / "out")) == told["files"]
    stored = [name.partition("\0")[0] for name in names]
    files = [name for name in stored if not (kind == "zip" and name.endswith("/"))]
    assert told["files"] == len([n for n in files if not re.search("(^|/)[.]_", n)])


def link(name, kind, target):
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, target
    return info


@pytest.mark.parametrize(
    "kind",
    [*(tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE, tarfile.CHRTYPE, tarfile.BLKTYPE)],
)
def test_links_and_devices_in_a_tar(tmp_path, kind):
    members = [("img/1.jpg", b"1"), (link("img/evil", kind, "/etc"), b""), ("img/evil/x", b"x")]
    error = refused(pack(tmp_path / "a.tar", members))
    assert (error.code, error.got) == ("unsafe-member", "img/evil")


def test_links_in_a_zip(tmp_path):
    info = zipfile.ZipInfo("img/evil")
    info.create_system, info.external_attr = 3, (stat.S_IFLNK | 0o777) << 16
    error = refused(pack(tmp_path / "a.zip", [(info, b"/etc/hostname")]))
    assert (error.code, error.got) == ("unsafe-member", "img/evil")


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.filterwarnings("ignore:Duplicate name")
@pytest.mark.parametrize("names", [("a.jpg", "./a.jpg"), ("a", "a/b"), ("a/b", "a")])
def test_two_members_of_one_name(tmp_path, kind, names):
    archive = pack(tmp_path / "a", [(name, b"x") for name in names], kind)
    error = refused(archive)
    assert (error.code, error.got) == ("unsafe-member", names[1])


def test_an_encrypted_zip(tmp_path):
    data = bytearray(zip_bytes({"a.jpg": b"a"}.items()))
    data[6] |= 1
    data[data.index(b"PK\x01\x02") + 8] |= 1
    (tmp_path / "a.zip").write_bytes(data)
    assert refused(tmp_path / "a.zip").code == "encrypted-archive"


def test_a_zip_whose_names_are_utf8_without_saying_so(tmp_path):
    data = zip_bytes({"cafe.jpg": b"a"}.items())
    (tmp_path / "a.zip").write_bytes(data.replace(b"cafe.jpg", "caé.jpg".encode()))
    extract(tmp_path / "a.zip", tmp_path / "out")
    assert tree(tmp_path / "out") == {"caé.jpg": b"a"}
    (tmp_path / "b.zip").write_bytes(data.replace(b"cafe.jpg", b"caf\x82.jpg"))
    assert refused(tmp_path / "b.zip").code == "unsafe-member"


def test_a_zip_name_cut_at_nul(tmp_path):
    data = zip_bytes({"a.jpgXevil": b"a"}.items()).replace(b"a.jpgXevil", b"a.jpg\0evil")
    (tmp_path / "a.zip").write_bytes(data)
    assert refused(tmp_path / "a.zip").code == "unsafe-member"


def test_a_zip_by_a_method_that_takes_all_memory(tmp_path):
    (tmp_path / "a.zip").write_bytes(zip_bytes([("a.jpg", b"a" * 99)], zipfile.ZIP_BZIP2))
    assert "deflate" in refused(tmp_path / "a.zip").message


@pytest.mark.parametrize("kind", KINDS)
def test_bombs(tmp_path, kind):
    archive = pack(tmp_path / "bomb", {"img/1.bmp": bytes(4 << 20)}, kind)
    assert refused(archive, max_gb=0.003).code == "archive-too-large"
    many = pack(tmp_path / "many", {f"{i}.jpg": b"" for i in range(50)}, kind)
    assert refused(many, max_files=49).code == "archive-too-large"
    assert extract(many, tmp_path / "out", max_files=50)["files"] == 50


def test_a_bomb_is_told_with_the_limit_and_the_flag(tmp_path, monkeypatch):
    monkeypatch.setattr(archives, "GIB", 1 << 20)
    error = refused(pack(tmp_path / "a.tar.gz", {"img/1.bmp": bytes(8 << 20)}))
    assert "100 times its size" in error.expected
    assert "--max-gb" in error.hint


def test_passing_over_junk_is_bounded_too(tmp_path, monkeypatch):
    monkeypatch.setattr(archives, "GIB", 1 << 20)
    members = {"__MACOSX/x": bytes(8 << 20), "a.jpg": b""}
    assert refused(pack(tmp_path / "a.tar.gz", members)).code == "archive-too-large"
    after = gzip.compress(tar_bytes([("a.jpg", b"")]) + bytes(8 << 20))
    (tmp_path / "b.tar.gz").write_bytes(after)
    assert refused(tmp_path / "b.tar.gz").code == "archive-too-large"


def test_a_disk_that_is_too_small_is_told_before_it_is_full(tmp_path, monkeypatch):
    monkeypatch.setattr(archives.shutil, "disk_usage", lambda _: SimpleNamespace(free=1000))
    error = refused(pack(tmp_path / "a.zip", {"img/1.bmp": bytes(4096)}))
    assert "free space" in error.expected


def test_a_zip_that_lies_about_sizes(tmp_path):
    data = bytearray(zip_bytes([("a.jpg", bytes(5000))]))
    directory = data.index(b"PK\x01\x02")
    for size in (10, 6000):
        struct.pack_into("<I", data, 22, size)
        struct.pack_into("<I", data, directory + 24, size)
        (tmp_path / "a.zip").write_bytes(data)
        assert refused(tmp_path / "a.zip").code == "damaged-archive"


@pytest.mark.parametrize("kind", KINDS)
def test_an_archive_that_is_cut_anywhere_leaves_nothing(tmp_path, kind):
    # Two blocks of content each, so that cuts at the borders of blocks are among them.
    noise = os.urandom(1024)
    whole = pack(tmp_path / "a", {"1.jpg": noise, "2.jpg": noise}, kind).read_bytes()
    end = len(whole)
    if kind == "tar":
        end = 2 * (512 + 1024)  # what follows are zeros, which no tar lacks only in part
    for size in {*range(0, end - 1, 97), *range(512, end, 512), end - 1}:
        (tmp_path / "a").write_bytes(whole[:size])
        assert refused(tmp_path / "a").code in {"damaged-archive", "not-an-archive"}, size


@pytest.mark.parametrize("kind", KINDS)
@given(data=st.data())
@settings(deadline=None, max_examples=60)
def test_damaged_bytes_are_told_or_harmless(tmp_path_factory, kind, data):
    folder = tmp_path_factory.mktemp("damaged")
    content = bytearray(pack(folder / "a", {"img/1.jpg": b"1" * 600, "x": b"2"}, kind).read_bytes())
    at = data.draw(st.lists(st.integers(0, min(len(content), 4000) - 1), min_size=1, max_size=4))
    for position in at:
        content[position] = data.draw(st.integers(0, 255))
    (folder / "a").write_bytes(content)
    try:
        extract(folder / "a", folder / "out")
    except DataError:
        assert listing(folder) == ["a"]
    else:
        assert listing(folder) == ["a", "out"]


def test_a_damaged_header_in_the_middle_is_not_taken_for_the_end(tmp_path):
    data = bytearray(tar_bytes([("1.jpg", b"1"), ("2.jpg", b"2"), ("3.jpg", b"3")]))
    data[1024 + 150] ^= 1
    (tmp_path / "a.tar").write_bytes(data)
    assert refused(tmp_path / "a.tar").code == "damaged-archive"


def test_a_second_tar_behind_the_first_is_not_lost(tmp_path):
    one = tar_bytes([("1.jpg", b"1")])
    (tmp_path / "a.tar").write_bytes(one + tar_bytes([("2.jpg", b"2")]))
    assert "after its end" in refused(tmp_path / "a.tar").message


@pytest.mark.parametrize("size", ["-512", "-1", "99999999999999999999"])
def test_hostile_sizes_end(tmp_path, size):
    info = tarfile.TarInfo("1.jpg")
    info.pax_headers = {"size": size}
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.PAX_FORMAT) as bundle:
        bundle.addfile(info)
    (tmp_path / "a.tar").write_bytes(buffer.getvalue())
    assert refused(tmp_path / "a.tar").code in {"damaged-archive", "archive-too-large"}


def test_a_header_that_is_to_fill_memory(tmp_path):
    info = tarfile.TarInfo("1.jpg")
    info.pax_headers = {"comment": "x" * (1 << 20)}
    archive = pack(tmp_path / "a.tar.gz", [(info, b"")])
    assert "header" in refused(archive).message


@pytest.mark.parametrize(
    ("content", "code"),
    [
        (b"", "not-an-archive"),
        (b"<html>404</html>", "not-an-archive"),
        (gzip.compress(b"just text"), "not-an-archive"),
        (b"7z\xbc\xaf\x27\x1c" + bytes(99), "unsupported-archive"),
        (gzip.compress(tar_bytes([])), "empty-archive"),
        (zip_bytes([]), "empty-archive"),
        (zip_bytes([("img/", b"")]), "empty-archive"),
    ],
)
def test_what_holds_no_data(tmp_path, content, code):
    (tmp_path / "a.tar.gz").write_bytes(content)
    assert refused(tmp_path / "a.tar.gz").code == code


@pytest.mark.parametrize("what", ["absent", "folder", "pipe"])
def test_no_file(tmp_path, what):
    path = tmp_path / "a.zip"
    if what == "folder":
        path.mkdir()
    if what == "pipe":
        os.mkfifo(path)
    assert refused(path).code == "missing-archive"


def test_a_full_disk(tmp_path, monkeypatch):
    """Only the error of the operating system is made up."""
    opened = Path.open

    def full(path, mode="r", *rest, **named):
        if mode != "xb":
            return opened(path, mode, *rest, **named)
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "open", full)
    error = refused(pack(tmp_path / "a.zip", SPLIT), kind=RunError)
    assert error.code == "disk-full"
    assert str(tmp_path / "new" / "out") in error.message
    assert "results_dir" not in error.hint


def test_a_folder_that_cannot_be_made(tmp_path):
    archive = pack(tmp_path / "a.zip", SPLIT)
    error = refused(archive, archive / "out", EnvironmentFault)
    assert error.code == "cannot-write"


@pytest.mark.parametrize("kind", KINDS)
def test_progress_is_each_per_cent_once(tmp_path, kind):
    files = {f"{i}.jpg": os.urandom(5000) for i in range(30)}
    told = []
    extract(pack(tmp_path / "a", files, kind), tmp_path / "out", progress=lambda *n: told.append(n))
    assert told == list(zip(range(1, len(told) + 1), itertools.repeat(100)))
    assert len(told) > 90

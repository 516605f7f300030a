"""Weights by name: fetched once from a server on this machine, whole or not at all."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from click.testing import CliRunner

from ocdnet.cli.main import cli
from ocdnet.config import spec
from ocdnet.errors import DataError, EnvironmentFault, Exit, SpecError
from ocdnet.zoo import registry
from ocdnet.zoo.fetching import MIRROR, cache, fetch, model_file

CONTENT = b"weights " * 4000
DIGEST = hashlib.sha256(CONTENT).hexdigest()
FILE = f"dbnet_small-{DIGEST[:8]}.pth"


class _Server(ThreadingHTTPServer):
    def __init__(self):
        self.asked: list[str] = []
        self.how = "right"
        super().__init__(("127.0.0.1", 0), _Handler)

    @property
    def url(self):
        return f"http://127.0.0.1:{self.server_address[1]}"


class _Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        how = self.server.how
        self.server.asked.append(self.path)
        if how == "absent":
            self.send_error(404)
            return
        body = CONTENT if how == "right" else CONTENT[:-9] + b"?" * 9
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body[: len(body) // 2] if how == "cut off" else body)

    def log_message(self, *_):
        pass


@pytest.fixture
def server():
    with _Server() as one:
        thread = threading.Thread(target=one.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield one
        one.shutdown()
        thread.join()


@pytest.fixture(autouse=True)
def _empty_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.delenv(MIRROR, raising=False)
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def weights(server, monkeypatch):
    made = named(f"{server.url}/mmocr/dbnet/{FILE}")
    monkeypatch.setitem(registry._BY_NAME, made.name, made)
    return made


def named(url):
    return registry.Weights(
        name="dbnet-small",
        kind="detector",
        backbone="resnet18",
        trained_on=("nothing",),
        licence="Apache-2.0",
        source="https://example.org/dbnet",
        url=url,
    )


def left():
    return [path.name for path in cache().iterdir()] if cache().exists() else []


def test_a_file_is_fetched_once_and_its_licence_said_once(server, weights, capsys):
    file = model_file("dbnet-small")
    assert file == cache() / FILE
    assert file.read_bytes() == CONTENT
    assert left() == [FILE]
    said = capsys.readouterr().err
    assert "Apache-2.0" in said
    assert "https://example.org/dbnet" in said
    assert model_file("dbnet-small") == file
    assert capsys.readouterr().err == ""
    assert server.asked == [f"/mmocr/dbnet/{FILE}"]


@pytest.mark.parametrize(
    ("how", "kind", "code"),
    [
        ("another", DataError, "wrong-hash"),
        ("cut off", DataError, "wrong-hash"),
        ("absent", EnvironmentFault, "cannot-fetch"),
    ],
)
def test_what_is_not_the_file_leaves_nothing_and_is_fetched_anew(server, weights, how, kind, code):
    server.how = how
    with pytest.raises(kind) as caught:
        fetch(weights)
    error = caught.value
    assert error.code == code
    assert weights.url in error.message
    assert str(cache() / FILE) in error.hint
    assert left() == []
    server.how = "right"
    assert fetch(weights).read_bytes() == CONTENT


def test_a_server_that_refuses_is_named_with_the_place_for_the_file(server, weights):
    server.shutdown()
    server.server_close()
    with pytest.raises(EnvironmentFault) as caught:
        fetch(weights)
    assert (caught.value.code, caught.value.exit_code) == ("cannot-fetch", Exit.ENVIRONMENT)
    assert "refused" in caught.value.got
    for named_there in (weights.url, str(cache() / FILE), MIRROR, "HTTPS_PROXY"):
        assert named_there in f"{caught.value.message} {caught.value.hint}"
    assert left() == []
    cache().joinpath(FILE).write_bytes(CONTENT)  # by hand
    assert fetch(weights) == cache() / FILE


def test_a_file_of_the_cache_that_was_changed_is_refused(weights):
    fetch(weights).write_bytes(CONTENT[:100])
    with pytest.raises(DataError) as caught:
        fetch(weights)
    assert caught.value.code == "wrong-hash"
    assert str(cache() / FILE) in caught.value.message


def test_another_server_has_the_same_paths(server, monkeypatch):
    monkeypatch.setenv(MIRROR, f"{server.url}/mirror/")
    elsewhere = named(f"https://nowhere.invalid/mmocr/dbnet/{FILE}")
    assert fetch(elsewhere).read_bytes() == CONTENT
    assert server.asked == [f"/mirror/mmocr/dbnet/{FILE}"]


def test_a_folder_with_the_files_is_all_that_is_looked_at(server, weights, tmp_path, monkeypatch):
    monkeypatch.setenv(MIRROR, str(tmp_path))
    with pytest.raises(EnvironmentFault) as caught:
        fetch(weights)
    assert caught.value.got == str(tmp_path / FILE)
    assert weights.url in caught.value.expected
    (tmp_path / FILE).write_bytes(CONTENT)
    assert fetch(weights) == tmp_path / FILE
    assert server.asked == []


def test_two_processes_may_fetch_the_same_file(server, weights):
    code = (
        "import json, sys; from ocdnet.zoo import fetching, registry; "
        "print(fetching.fetch(registry.Weights(**json.loads(sys.argv[1]))))"
    )
    fields = {key: value for key, value in vars(weights).items() if key != "input"}
    command = [sys.executable, "-c", code, json.dumps(fields)]
    runs = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    assert [run.communicate(timeout=120)[0].strip() for run in runs] == [str(cache() / FILE)] * 2
    assert (cache() / FILE).read_bytes() == CONTENT
    assert left() == [FILE]


def test_without_torch_the_extra_is_named(weights, monkeypatch):
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(EnvironmentFault) as caught:
        fetch(weights)
    assert caught.value.exit_code == Exit.ENVIRONMENT
    assert "[train" in caught.value.hint


def run(*command):
    done = CliRunner().invoke(cli, ["weights", *command], catch_exceptions=True)
    return json.loads(done.stdout) if done.exception is None else done.exception


def test_the_command_copies_it_where_it_is_wanted(weights, tmp_path):
    out = tmp_path / "here.pth"
    fetched = run("fetch", "dbnet-small", "--out", str(out))
    assert (fetched["file"], fetched["sha256"]) == (str(out), DIGEST)
    assert out.read_bytes() == CONTENT
    assert run("fetch", "dbnet-small", "--out", str(out)).code == "file-exists"


def test_the_list_holds_every_name_with_its_licence():
    rows = run("list")["weights"]
    assert [row["name"] for row in rows] == [weights.name for weights in registry.WEIGHTS]
    assert all(row["licence"] and row["source"] and row["backbone"] for row in rows)


def test_torchvisions_own_urls_are_taken_for_its_backbones(server, monkeypatch):
    """Their hash stands in their name: another file is refused."""
    monkeypatch.setenv(MIRROR, server.url)
    with pytest.raises(DataError) as caught:
        model_file("imagenet-resnet18")
    assert caught.value.code == "wrong-hash"
    assert server.asked == ["/models/resnet18-f37072fd.pth"]


@pytest.mark.parametrize("path", ["some/where", "weights.pth", "./x"])
def test_a_path_stays_as_it_is(path):
    assert str(model_file(path)) == path.removeprefix("./")


def test_a_file_goes_before_a_name(tmp_path, monkeypatch, weights):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "dbnet-small").write_bytes(b"")
    assert str(model_file("dbnet-small")) == "dbnet-small"


def test_a_mistyped_name_is_told_from_a_path(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(DataError) as caught:
        model_file("dbnet-r18-icdar")
    assert caught.value.hint == "Did you mean 'dbnet-r18-icdar2015'?"

    def load(action, value):
        key = f"model.pretrained_model_path={value}"
        return spec.load(action, None, [key, "dataset.train_dataset.data_path=[x]"])

    with pytest.raises(SpecError) as refused:
        load("train", "dbnet-r18-icdar")
    assert refused.value.code == "unknown-weights"
    assert refused.value.did_you_mean == "dbnet-r18-icdar2015"
    for value in ("dbnet-r18-icdar2015", "there/weights", "weights.pth"):
        assert load("train", value).experiment.model.pretrained_model_path == value
    (tmp_path / "weights").write_bytes(b"")
    load("train", "weights")


def test_a_digest_names_the_weights_whatever_the_file_is_called():
    known = registry.find("dbnet-r50-icdar2015")
    assert registry.of_digest("54f50589" + "0" * 56) == known
    assert registry.of_digest("0" * 64) is None

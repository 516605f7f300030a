"""Session fixtures: scenes, a detector of the small network trained on them, its ONNX."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from pathlib import Path

import pytest


def pytest_make_parametrize_id(val: object, argname: str) -> str | None:
    """Bytes are named by their argument: an archive's own bytes hold the second they were packed.

    pytest-xdist refuses to start where two workers collect different names.
    """
    return argname if isinstance(val, bytes) else None


@pytest.fixture(autouse=True)
def _sigterm() -> Iterator[None]:
    """A command that has run in this process ignores SIGTERM, and its children would, too."""
    before = signal.getsignal(signal.SIGTERM)
    yield
    signal.signal(signal.SIGTERM, before)


@pytest.fixture(autouse=True, scope="session")
def _maps(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Maps are kept for the tests alone, not in the user's cache."""
    folder = tmp_path_factory.mktemp("maps")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("OCDNET_MAPS", str(folder))
        yield folder


@pytest.fixture(scope="session")
def scenes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`train` (8 images) and `test` (4) of `support.write_blocks`; not to be changed."""
    import support

    folder = tmp_path_factory.mktemp("scenes")
    support.write_blocks(folder / "train", 8, seed=0)
    support.write_blocks(folder / "test", 4, seed=1)
    return folder


@pytest.fixture
def small_network(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every backbone is the small network of `support`."""
    import support

    support.shrink_network(monkeypatch)


@pytest.fixture(scope="session")
def detector(scenes: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Checkpoint of the small network, trained until it finds every block."""
    import support

    with pytest.MonkeyPatch.context() as patch:
        support.shrink_network(patch)
        return support.train_detector(scenes, tmp_path_factory.mktemp("detector"))


@pytest.fixture(scope="session")
def detector_onnx(detector: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The detector as ONNX for 160x160."""
    import support

    path = tmp_path_factory.mktemp("onnx") / "detector.onnx"
    with pytest.MonkeyPatch.context() as patch:
        support.shrink_network(patch)
        support.export(detector, path)
    return path

"""OCDNet: scene-text detection with differentiable binarization.

from ocdnet import Detector

page = Detector("model_best.pth")("photo.jpg")
page.polygons, page.scores
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ocdnet.version import VERSION as __version__  # noqa: N811

if TYPE_CHECKING:
    from ocdnet.detector import Detector
    from ocdnet.errors import UserError
    from ocdnet.page import Page

__all__ = ["Detector", "Page", "UserError", "__version__"]

_HOMES = {"Detector": "detector", "Page": "page", "UserError": "errors"}


def __getattr__(name: str) -> Any:
    """Names are imported as they are used: `import ocdnet` alone costs nothing."""
    if name not in _HOMES:
        raise AttributeError(f"module 'ocdnet' has no attribute {name!r}")
    from importlib import import_module  # noqa: PLC0415

    return getattr(import_module(f"ocdnet.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *_HOMES])

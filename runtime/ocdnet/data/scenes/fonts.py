"""The fonts of this machine: which scripts each draws, and at which size its capitals are right."""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np

from ocdnet import install
from ocdnet.data.scenes.style import Fonts
from ocdnet.data.scenes.words import SCRIPTS
from ocdnet.errors import EnvironmentFault

try:
    from PIL import ImageFont
except ImportError as error:
    raise EnvironmentFault(
        "missing-package",
        "Rendering text needs Pillow",
        expected="pillow >= 10.1",
        hint=install.command("data"),
    ) from error

_SYSTEM_FONT_FOLDERS = (
    "/usr/share/fonts",
    "/usr/local/share/fonts",
    "~/.local/share/fonts",
    "~/.fonts",
    "/Library/Fonts",
    "/System/Library/Fonts",
    "C:/Windows/Fonts",
)
_MAX_FONT_FILES = 1500  # Looking at one takes a millisecond, and more add little variety.
_NOT_FOR_SIGNS = ("display", "symbol", "emoji", "dingbat", "icon", "lastresort", "nonuni", "math")


@dataclass(frozen=True)
class Family:
    """Fonts of one design: files that draw Latin letters, and the other scripts each draws."""

    files: tuple[Path, ...]
    scripts: frozenset[str]


@lru_cache
def families(fonts: Fonts) -> tuple[Family, ...]:
    """The fonts to draw from: matplotlib's DejaVu and STIX, with `"system"` this machine's too.

    Raises:
        EnvironmentFault: matplotlib, whose font folder is used, is not installed.
    """
    files = _bundled()
    if fonts == "system":
        bundled = {path.name for path in files}
        files += [path for path in _system_fonts() if path.name not in bundled]
    members: dict[tuple[str, frozenset[str]], list[Path]] = {}
    for path in files:
        if (looked := _look(path)) is not None:
            members.setdefault(looked, []).append(path)
    return tuple(Family(tuple(paths), scripts) for (_, scripts), paths in members.items())


def _bundled() -> list[Path]:
    # find_spec only locates the package; importing matplotlib would cost a second.
    spec = importlib.util.find_spec("matplotlib")
    if spec is None or spec.origin is None:
        message = "Rendering text needs the fonts that come with matplotlib"
        raise EnvironmentFault(
            "missing-package",
            message,
            expected="matplotlib >= 3.8",
            hint=install.command("data"),
        )
    folder = Path(spec.origin).parent / "mpl-data" / "fonts" / "ttf"
    return [*sorted(folder.glob("DejaVu*.ttf")), *sorted(folder.glob("STIXGeneral*.ttf"))]


def _system_fonts() -> list[Path]:
    paths = sorted(path for root in _SYSTEM_FONT_FOLDERS for path in _font_files(root))
    # Evenly spaced: the first of them might all be of one foundry.
    return paths[:: max(1, -(-len(paths) // _MAX_FONT_FILES))]


def _font_files(root: str) -> Iterator[Path]:
    for folder, _, names in os.walk(Path(root).expanduser()):
        for name in names:
            if name.lower().endswith((".ttf", ".otf", ".ttc")):
                yield Path(folder) / name


def _look(path: Path) -> tuple[str, frozenset[str]] | None:
    """A font's family and its other scripts; None where it does not draw Latin letters."""
    if any(word in path.name.lower() for word in _NOT_FOR_SIGNS):
        return None
    try:
        font = ImageFont.truetype(str(path), 24, layout_engine=ImageFont.Layout.BASIC)
        if not _draws(font, "AHag8&,"):
            return None
        # The first two words: "Noto Sans" of a hundred scripts is one design.
        name = " ".join((font.getname()[0] or path.stem).split()[:2])
        return name, frozenset(script for script in SCRIPTS if _draws(font, SCRIPTS[script][:4]))
    except OSError:
        return None


def _draws(font: ImageFont.FreeTypeFont, letters: str) -> bool:
    """Whether the letters are drawn as something else than the font's blank box."""
    missing = bytes(font.getmask("\U000f1234"))
    drawn = [bytes(font.getmask(letter)) for letter in letters]
    return all(any(mask) and mask != missing for mask in drawn) and len(set(drawn)) == len(drawn)


def random_font(fonts: Fonts, script: str | None, rng: np.random.Generator) -> Path | None:
    """A font file, each family as likely as another; None where none draws the script."""
    able = [f for f in families(fonts) if script is None or script in f.scripts]
    if not able:
        return None
    files = able[int(rng.integers(len(able)))].files
    return files[int(rng.integers(len(files)))]


@lru_cache(maxsize=1024)
def _em_per_cap(path: Path) -> float:
    """Size of the font over the height of its capital H."""
    trial = ImageFont.truetype(str(path), 200, layout_engine=ImageFont.Layout.BASIC)
    _, top, _, bottom = trial.getbbox("H")
    return 200 / max(bottom - top, 1)


@lru_cache(maxsize=512)
def face(path: Path, cap_height: int) -> ImageFont.FreeTypeFont:
    """The font at the size at which its capital H is `cap_height` pixels tall."""
    size = max(4, round(_em_per_cap(path) * cap_height))
    return ImageFont.truetype(str(path), size, layout_engine=ImageFont.Layout.BASIC)

"""How rendered scenes look: every ingredient is a number, and 0 leaves it out."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

from ocdnet.errors import UsageError

Fonts = Literal["bundled", "system"]


@dataclass(frozen=True, kw_only=True)
class SceneStyle:
    """How scenes look. Ranges are (lowest, highest), both included.

    As it stands: what a camera on the street or in a shop sees by chance, words small, many of them
    blurred, of little contrast, or not to be read at all.

    Raises:
        UsageError: a range is reversed or a value out of bounds.
    """

    size: tuple[int, int] = (1280, 720)
    """Width and height of an image in pixels, 64 to 8192 each."""
    words: tuple[int, int] = (4, 60)
    """Words wanted in a scene with text; fewer where they find no room."""
    height: tuple[int, int] = (6, 100)
    """Height of capital letters in pixels before a sign is turned, 3 or more; most are near the
    geometric mean, none above a third of the image."""
    margin: float = 0.1
    """Distance of an outline from its ink as a share of the height of capitals, 0 to 0.12: people
    draw outlines around words, not along their ink."""
    rotate: float = 28.0
    """Largest rotation to either side in degrees, 0 to 180; most signs hang nearly level."""
    turn: float = 55.0
    """Largest turn of a sign away from the camera in degrees, 0 to 65."""
    curved: float = 0.07
    """Share of single signs that are bent to an arc, 0 to 1; above 0 all labels are outlines of six
    points or more."""
    vertical: float = 0.06
    """Share of single signs that run downwards, 0 to 1."""
    panels: float = 0.5
    """Share of signs with many words: notices, lists, posters, shelves, 0 to 1."""
    effects: float = 0.3
    """Share of words with an outline, a shadow, spaced letters or dots of light, 0 to 1."""
    other_scripts: float = 0.08
    """Share of signs in other scripts than Latin, where the fonts have them, 0 to 1."""
    plates: float = 0.4
    """Share of single signs on a plate of their own, 0 to 1; busy places get one always."""
    contrast: float = 40.0
    """Least difference in grey level between text and what is behind it, 10 to 100."""
    ignored: float = 0.06
    """Share of single signs that are made too small or too blurred to read (`###`), 0 to 1."""
    empty: float = 0.1
    """Share of scenes without any text, 0 to 1."""
    clutter: float = 1.0
    """Amount of detail that is not text, 0 (one flat colour) to 3."""
    occluders: float = 1.0
    """Amount of things in front of signs, 0 to 3."""
    light: float = 1.0
    """Strength of shadows, glare, night and colour casts, 0 (even light) to 2."""
    blur: float = 2.0
    """Largest blur of the camera in pixels (defocus or motion), 0 to 10."""
    noise: float = 9.0
    """Largest standard deviation of the camera's noise in grey levels, 0 to 50."""
    jpeg: tuple[int, int] = (45, 95)
    """JPEG quality, 1 to 100."""
    fonts: Fonts = "system"
    """`bundled`: matplotlib's fonts and a list of words, the same everywhere; `system`: this
    machine's fonts and dictionary, too."""
    lines: bool = False
    """Label lines instead of words."""
    photographs: tuple[Path, ...] = ()
    """Pictures without text to use as backgrounds; none: they are drawn."""

    def __post_init__(self) -> None:
        bounds: dict[str, tuple[float, float]] = {
            "size": (64, 8192),
            "words": (1, 1000),
            "height": (3, 8192),
            "margin": (0, 0.12),
            "rotate": (0, 180),
            "turn": (0, 65),
            "contrast": (10, 100),
            "clutter": (0, 3),
            "occluders": (0, 3),
            "light": (0, 2),
            "blur": (0, 10),
            "noise": (0, 50),
            "jpeg": (1, 100),
        }
        shares = ("curved", "vertical", "panels", "effects", "other_scripts", "plates", "ignored")
        bounds |= dict.fromkeys((*shares, "empty"), (0, 1))
        for name, (low, high) in bounds.items():
            value = getattr(self, name)
            pair = value if isinstance(value, tuple) else (value, value)
            # Written so that NaN fails too.
            if not all(low <= number <= high for number in pair):
                expected = f"{low:g} to {high:g}"
                raise UsageError("bad-range", f"{name} is out of bounds", value, expected)
            if name != "size" and pair[0] > pair[1]:
                raise UsageError("bad-range", f"{name} is reversed", value, "lowest, then highest")
        if self.fonts not in get_args(Fonts):
            raise UsageError("bad-choice", "fonts is unknown", self.fonts, list(get_args(Fonts)))


EASY = SceneStyle(
    size=(320, 320),
    words=(3, 8),
    height=(20, 40),
    margin=0,
    rotate=10,
    turn=20,
    curved=0,
    vertical=0,
    panels=0,
    effects=0,
    other_scripts=0,
    contrast=80,
    ignored=0.05,
    empty=0.02,
    clutter=0.4,
    occluders=0,
    light=0,
    blur=0.6,
    noise=4,
    jpeg=(85, 95),
    fonts="bundled",
)
"""Large, clear words at 320x320: what a detector learns from scratch in minutes on a CPU."""

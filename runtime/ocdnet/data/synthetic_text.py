"""Words, fonts and flat signs for synthetic scenes (needs Pillow: the extra `data`)."""

from __future__ import annotations

import importlib.util
import os
import string
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Literal

import cv2
import numpy as np
import numpy.typing as npt

from ocdnet import install
from ocdnet.errors import EnvironmentFault

try:
    from PIL import Image, ImageDraw, ImageFont
except ImportError as error:
    raise EnvironmentFault(
        "missing-package",
        "Rendering text needs Pillow",
        expected="pillow >= 10.1",
        hint=install.command("data"),
    ) from error

Fonts = Literal["bundled", "system"]

_SYSTEM_FONT_FOLDERS = (
    "/usr/share/fonts",
    "/usr/local/share/fonts",
    "~/.local/share/fonts",
    "~/.fonts",
    "/Library/Fonts",
    "/System/Library/Fonts",
    "C:/Windows/Fonts",
)
_MAX_FONT_FILES = 400  # Opening one takes about a millisecond, and more add no variety.
_NOT_FOR_SIGNS = ("display", "symbol", "emoji", "dingbat", "icon", "lastresort", "nonuni")

_WORDS = """
EXIT ENTRANCE STOP OPEN CLOSED PUSH PULL SALE CAFE HOTEL BANK TAXI BUS METRO STATION PLATFORM GATE
LEVEL FLOOR LIFT STAIRS TOILET WAY OUT IN NO SMOKING PARKING CAR PARK STREET ROAD AVENUE LANE BRIDGE
NORTH SOUTH EAST WEST CENTRAL PLAZA MALL MARKET SHOP STORE BOOKS MUSIC FLOWERS BAKERY COFFEE TEA
RICE NOODLE SEAFOOD GRILL PIZZA BURGER FRESH JUICE FRUIT MILK WATER HOT COLD NEW BEST PRICE OFFER
FREE GIFT CARD CASH ONLY PAY HERE MEMBERS WELCOME THANK YOU PLEASE WAIT QUEUE TICKET INFORMATION
SERVICE CENTRE OFFICE SCHOOL LIBRARY CLINIC DENTAL PHARMACY DOCTOR HAIR BEAUTY SPA FITNESS GYM
FASHION SHOES WATCH JEWELLERY OPTICAL PHONE COMPUTER REPAIR KEYS PRINT PHOTO TRAVEL TOURS AIR RAIL
DANGER WARNING CAUTION PRIVATE STAFF FIRE HOSE ALARM EMERGENCY CALL POLICE HOSPITAL AHEAD SLOW TURN
LEFT RIGHT ONE TWO THREE FIRST SECOND OLD TOWN RIVER HILL GARDEN HOUSE HOME ROYAL GOLDEN SUN MOON
STAR BLUE RED GREEN WHITE BLACK and of the for to at by with from your our all day
""".split()  # noqa: SIM905 (a list literal of these is four pages)


def random_text(rng: np.random.Generator) -> str:
    """One transcription: a sign word, a number, a code, or something with punctuation or commas."""
    kind = rng.random()
    if kind < 0.68:
        return _sign_word(rng)
    if kind < 0.78:
        return str(rng.integers(10 ** rng.integers(1, 5)))
    if kind < 0.88:
        characters = list(string.ascii_uppercase + string.ascii_lowercase + string.digits)
        return "".join(rng.choice(characters, int(rng.integers(3, 9))))
    return _with_punctuation(rng)


def _sign_word(rng: np.random.Generator) -> str:
    word = _WORDS[int(rng.integers(len(_WORDS)))]
    return (word.upper(), word.capitalize(), word.capitalize(), word.lower())[int(rng.integers(4))]


def _with_punctuation(rng: np.random.Generator) -> str:
    word, other, number = _sign_word(rng), _sign_word(rng), int(rng.integers(1, 100))
    forms = (
        f"{word},",
        f"{word}!",
        f"({word})",
        f"{word}-{other}",
        f"{word}&{number}",
        f"${number},{int(rng.integers(1000)):03d}",
        f"{number}.{int(rng.integers(100)):02d}",
        f"{number}%",
        f"#{number:02d}-{int(rng.integers(100)):02d}",
        f"Tel:{int(rng.integers(10**6, 10**7))}",
        f"{number % 24:02d}:{number % 60:02d}",
    )
    return forms[int(rng.integers(len(forms)))]


@lru_cache
def font_paths(fonts: Fonts) -> tuple[Path, ...]:
    """The fonts to draw from: matplotlib's DejaVu and STIX, with `"system"` this machine's too.

    Raises:
        EnvironmentFault: matplotlib, whose font folder is used, is not installed.
    """
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
    files = [*sorted(folder.glob("DejaVu*.ttf")), *sorted(folder.glob("STIXGeneral*.ttf"))]
    if fonts == "system":
        bundled = {path.name for path in files}
        files += [path for path in _system_fonts() if path.name not in bundled]
    return tuple(path for path in files if _is_readable_latin(path))


def _system_fonts() -> list[Path]:
    paths = sorted(path for root in _SYSTEM_FONT_FOLDERS for path in _font_files(root))
    # Evenly spaced: the first of them might all be of one foundry.
    return paths[:: max(1, -(-len(paths) // _MAX_FONT_FILES))]


def _font_files(root: str) -> Iterator[Path]:
    for folder, _, names in os.walk(Path(root).expanduser()):
        for name in names:
            if name.lower().endswith((".ttf", ".otf")):
                yield Path(folder) / name


def _is_readable_latin(path: Path) -> bool:
    """Whether the font opens and draws Latin letters as something else than its blank box."""
    if any(word in path.name.lower() for word in _NOT_FOR_SIGNS):
        return False
    try:
        font = ImageFont.truetype(str(path), 24)
        missing = bytes(font.getmask("\U000f1234"))
        drawn = [bytes(font.getmask(letter)) for letter in "AHag8&,"]
    except OSError:
        return False
    return all(any(mask) and mask != missing for mask in drawn) and len(set(drawn)) == len(drawn)


@lru_cache(maxsize=512)
def _font(path: Path, cap_height: int) -> ImageFont.FreeTypeFont:
    """The font at the size at which its capital H is `cap_height` pixels tall."""
    trial = ImageFont.truetype(str(path), 200)
    _, top, _, bottom = trial.getbbox("H")
    return trial.font_variant(size=max(4, round(200 * cap_height / (bottom - top))))


@dataclass(frozen=True)
class Sign:
    """Lines of words in one font, seen straight on.

    `alpha` is the ink, uint8[h, w], with a margin all around; `quads` the tight box of each word,
    float32[N, 4, 2], clockwise from the top left, in pixels of `alpha` (whole numbers are centres
    of pixels, as in OpenCV); `texts` the N transcriptions.
    """

    alpha: npt.NDArray[np.uint8]
    quads: npt.NDArray[np.float32]
    texts: list[str]


def set_sign(lines: list[list[str]], font: Path, cap_height: int, rng: np.random.Generator) -> Sign:
    """Set lines of words with random spacing and alignment; ink boxes never overlap."""
    face = _font(font, cap_height)
    space, gap = (rng.uniform(0.3, 0.7, 2) * cap_height).astype(int).tolist()
    space, gap, margin = max(space, 3), max(gap, 3), max(2, round(0.35 * cap_height))
    rows = [[_ink(word, face) for word in line] for line in lines]
    widths = [sum(ink.shape[1] for ink, _ in row) + space * (len(row) - 1) for row in rows]
    tops = [min(top for _, top in row) for row in rows]
    heights = [
        max(top + ink.shape[0] for ink, top in row) - line_top
        for row, line_top in zip(rows, tops, strict=True)
    ]
    shape = (sum(heights) + gap * (len(rows) - 1) + 2 * margin, max(widths) + 2 * margin)
    alpha, quads, align = np.zeros(shape, np.uint8), [], rng.integers(3) / 2
    y = margin
    for row, width, line_top, height in zip(rows, widths, tops, heights, strict=True):
        x = margin + int(align * (max(widths) - width))
        for ink, top in row:
            h, w = ink.shape
            alpha[y + top - line_top : y + top - line_top + h, x : x + w] = ink
            quads.append(box_quad(x, y + top - line_top, w, h))
            x += w + space
        y += height + gap
    return Sign(alpha, np.stack(quads), [word for line in lines for word in line])


def _ink(word: str, font: ImageFont.FreeTypeFont) -> tuple[npt.NDArray[np.uint8], int]:
    """The word's ink cut to its tight box, and the row of its top relative to the baseline."""
    left, top, right, bottom = (round(side) for side in font.getbbox(word, anchor="ls"))
    pad = 3  # Some fonts draw a little outside the box they announce.
    image = Image.new("L", (right - left + 2 * pad, bottom - top + 2 * pad))
    ImageDraw.Draw(image).text((pad - left, pad - top), word, fill=255, font=font, anchor="ls")
    ink = np.asarray(image)
    x, y, w, h = cv2.boundingRect(ink)
    return ink[y : y + h, x : x + w], y - pad + top


def box_quad(x: int, y: int, w: int, h: int) -> npt.NDArray[np.float32]:
    """Corners of a box of whole pixels, float32[4, 2]: pixel x covers x - 0.5 to x + 0.5."""
    corners = [(x, y), (x + w, y), (x + w, y + h), (x, y + h)]
    return np.array(corners, np.float32) - np.float32(0.5)

"""What stands on signs: words, names, numbers, prices, times, telephone numbers."""

from __future__ import annotations

import re
import string
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path

import numpy as np

from ocdnet.data.scenes.style import Fonts

_DICTIONARY = Path("/usr/share/dict/words")

_SIGNS = """
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


@lru_cache
def _dictionary(fonts: Fonts) -> tuple[str, ...]:
    """Words to draw from: the machine's dictionary, or the English of Python's own help."""
    if fonts == "bundled":
        return tuple(_SIGNS)
    try:
        found = _DICTIONARY.read_text(encoding="utf-8", errors="replace").split()
    except OSError:
        from pydoc_data.topics import topics  # noqa: PLC0415 (half a megabyte of text)

        found = sorted(set(re.findall(r"\b[A-Za-z]+\b", " ".join(topics.values()))))
    words = tuple(word for word in found if word.isascii() and word.isalpha() and len(word) <= 12)
    return words or tuple(_SIGNS)


def _plain_word(fonts: Fonts, rng: np.random.Generator) -> str:
    words: tuple[str, ...] | list[str] = _SIGNS
    if fonts == "system" and rng.random() < 0.6:
        words = _dictionary(fonts)
        # Signs have short words: of two the shorter.
        return min((words[int(rng.integers(len(words)))] for _ in range(2)), key=len)
    return words[int(rng.integers(len(words)))]


def one_case(rng: np.random.Generator) -> Callable[[str], str]:
    """How the words of one sign are written: in capitals, capitalised, or small."""
    return (str.upper, str.upper, str.capitalize, str.capitalize, str.lower)[int(rng.integers(5))]


def random_text(
    fonts: Fonts, rng: np.random.Generator, case: Callable[[str], str] | None = None
) -> str:
    """One transcription: a word, a number, a code, or something with punctuation or commas.

    Args:
        fonts: where the words come from (`SceneStyle.fonts`).
        rng: source of every random choice.
        case: of the sign; drawn where there is none.
    """
    write = case or one_case(rng)
    kind = rng.random()
    if kind < 0.76:
        return write(_plain_word(fonts, rng))
    if kind < 0.84:
        return str(rng.integers(10 ** rng.integers(1, 5)))
    if kind < 0.88:
        characters = list(string.ascii_uppercase + string.ascii_lowercase + string.digits)
        return "".join(rng.choice(characters, int(rng.integers(2, 8))))
    return _with_punctuation(write, fonts, rng)


def _with_punctuation(write: Callable[[str], str], fonts: Fonts, rng: np.random.Generator) -> str:
    word, other = (write(_plain_word(fonts, rng)) for _ in range(2))
    number, thousands = int(rng.integers(1, 100)), int(rng.integers(1000))
    forms = (
        f"{word},",
        f"{word}!",
        f"({word})",
        f"{word}-{other}",
        f"{word}.",
        f"{word}'s",
        f"{word}:",
        f"&{number}",
        f"${number},{thousands:03d}",
        f"${number}.{int(rng.integers(100)):02d}",
        f"{number}%",
        f"#{number:02d}-{int(rng.integers(100)):02d}",
        f"Tel:{int(rng.integers(10**6, 10**7))}",
        f"{int(rng.integers(6000, 10000))}-{int(rng.integers(10**4))}",
        f"{number % 24:02d}:{number % 60:02d}",
        f"{number % 12 + 1}{'ap'[number % 2]}m",
        f"www.{word.lower()}.com",
    )
    return forms[int(rng.integers(len(forms)))]


SCRIPTS: dict[str, str] = {
    "han": "这国们说的一是不了人我在有他中大来上个到为子和你地出道也时年得就那要下以生会自着去之"
    "过家学对可里后小么心多天而能好都然没日于起还发成事只作当想看文无开手十用主行方"
    "又如前所本见经头",
    "kana": "あいうえおかきくけこさしすせそたちつてとなにぬねのアイウエオ"
    "カキクケコサシスセソタチツテト",
    "hangul": "가나다라마바사아자차카타파하고노도로모보소오조구누두루무부수우주기니디리미비시이지",
    "cyrillic": "абвгдежзиклмнопрстуфхцчшщыэюяАБВГДЕЖЗИКЛМНОПРСТ",
    "greek": "αβγδεζηθικλμνξοπρστυφχψωΑΒΓΔΕΖΗΘΛΞΠΣΦΨΩ",
    "tamil": "அஆஇஈஉஊஎஏஐஒஓகஙசஞடணதநபமயரலவழளறன",
    "thai": "กขคฆงจฉชซญฎฏฐณดตถทธนบปผฝพฟภมยรลวศษสหอฮ",
    "hebrew": "אבגדהוזחטיכלמנסעפצקרשת",
}
"""Other scripts, by letters that need no neighbour to be drawn rightly."""


def random_letters(script: str, rng: np.random.Generator) -> str:
    """A word of letters of another script; it means nothing."""
    letters = SCRIPTS[script]
    return "".join(letters[int(i)] for i in rng.integers(len(letters), size=rng.integers(2, 7)))

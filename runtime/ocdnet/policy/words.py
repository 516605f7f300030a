"""What a request's words say: the AutoML policy, and whether text is to be read. Nothing else.

A statement is a thing spoken of (a search, a plain training) with the words around it. Each
negation before or after it flips its meaning, so two cancel out (`don't turn off AutoML`). A search
that is merely mentioned (`the AutoML results`, `how did AutoML do?`) states nothing.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

# Not read: quotations, but for one of a single word; paths, names of files, snake_case names and
# `key=value`, but for `automl_policy=off`.
_QUOTED = r"""(?<!\w)["'`“‘«](?!\w+["'`”’»])[^"`“”«»]{1,200}?["'`”’»](?!\w)"""  # noqa: RUF001
_NAME = (
    r"(?<!\S)(?:(?!w/o?\s|(?:automl|hpo)/(?:automl|hpo)\W*(?:\s|$))\S*(?:[/\\~]|\w\.\w)\S*"
    r"|(?![^\w\s]*(?:auto|hpo|hyper))\S*(?:\w=|[^\W_]_[^\W_])\S*)"
)
_TOKEN = r"[^\W_]+|[,;:.!?=()—–]|(?<!\S)-+(?!\S)"  # noqa: RUF001, S105

# What follows are patterns over lower-case words and punctuation, one space between two. Every
# repetition is bounded, or possessive: time is linear.
_NEGATION = (
    r"(?<!why )not|(?:do|does|did|is|are|wo|ca|would|should|need|must)nt|cannot|no|non|never|nor"
    r"|neither|(?<!with or )without|w o|against|stop|bypass|cancel|forget|forgo|omit(?:ting)?"
    r"|(?:skip|drop)(?:ping)?|(?:avoid|exclud|disabl|deactivat)(?:e|ing)?"
    r"|(?:turn|switch)(?:ing)? off|leave out|(?:opt out|instead|rid) of|(?:rather|other) than"
)
_OFF = r"off|false|disabled|skipped|omitted|excluded|unnecessary|unneeded|unwanted|wait|out(?! of)"
_WISH = (
    r"us(?:e|ing)|run(?! \w+ed )|do|try|keep|start|launch|perform|apply|include|want|need|prefer"
    r"|activate|enabl(?:e|ing)|(?:turn|switch)(?:ing)? on|(?:id|wed|would) like"
    r"|(?<!ed )(?<!found )(?:with|via|through)"  # `the model trained with AutoML` is no wish
)
_FILLER = (
    r"to|the|an?|any|some|my|our|your|full|this|that|it|please|wants|wanted|needs|needed|have|having"
    r"|going|doing|you|me|us|i|we|be|let|get|of|for|yet|longer|more|also|even|think|plan|intend|ask"
    r"|like|wish|running|starting|used|further|kind|interested|in|ever|again|dare|bother|turn|switch"
    r"|set|leave|(?!only|simply)\w+ly|(?:trained|bother) (?:with|via|through)"
    r"|waste|time|on"
    rf"|train(?:ing)?(?:(?! (?:{_NEGATION}) ) \w+){{0,6}}?(?= (?:with|without|using|via|through) )"
)
_HYPER = (
    r"(?:hyper ?)?param(?:eter)?s? (?:(?:grid|random) )?(?:search|optimi[sz]ation|tuning|sweeps?)"
    r"|hyper ?tuning"
)
_ONE = rf"(?:auto ?ml|hpo|{_HYPER})"
_SEARCH = rf"{_ONE}(?: (?:(?:or|nor) (?:(?:{_WISH}) )?|and )?(?:(?:the|any|an?) )?{_ONE}){{0,3}}"
_TUNE = (
    r"(?:tun(?:e|ing)|(?:optimi[sz]|search|sweep)(?:e|ing|ation)?|find) (?:\w+ ){0,4}"
    r"hyper ?param(?:eter)?s?"
)
_DATA = r"(?! (?:sets?|data|datasets?|splits?|folders?|images?|loss|logs?|curves?|scripts?)(?!\S))"
_RESULT = (
    r"(?! (?:(?:jobs?|runs?|trials?|search) )?(?:results?|checkpoints?|models?|folder|winner|best"
    r"|skill|engine|recommendations?|was|were|had|did|found|gave)(?!\S))"
)
_PLAIN = (
    r"(?:plain|normal|ordinary|regular|vanilla|simple|direct|standard) (?:(?:old|single|ocdnet) )?"
    rf"(?:train(?:ing)?|run|fine ?tuning){_DATA}|train (?:it |this |ocdnet )?(?:normally|plainly)"
)
_JUST = rf"(?:just|only|simply) train{_DATA}|(?:single|one) training{_DATA}"
_LINK = (
    r"(?:is|are|be|stays?|turned|switched|set|left|to|should|must|can|may|will|need|not|isnt|arent"
    r"|shouldnt|neednt|doesnt|wont|shall|has|back)"
)
_AFTER = (
    rf"(?: policy)?(?: [:=?(])?(?: {_LINK}){{0,6}} (?:{_OFF}|true|enabled"
    r"|on(?! (?!for |please|and |now|again|this time)\w))"
    rf"|(?: [:=?])?(?: {_LINK}){{1,6}} (?:needed|required|necessary|wanted|desired|used|run|done)"
    r"|(?: policy)?(?: [,:=?]| -+)? (?:yes|no|none|never|please)(?= thanks|(?! \w))"
)
_STATEMENT = (
    rf"(?<!\S)(?=(?P<title>(?<=[.;:!?] )(?:an? )?(?:{_HYPER}))?)"
    # Taken whole, as by `{0,9}+`, which Python 3.11.2 gets wrong.
    rf"(?=(?P<before>(?:(?:{_NEGATION}|{_WISH}|{_FILLER}) ){{0,9}}))(?P=before)"
    rf"(?:(?P<plain>{_PLAIN})|(?P<just>{_JUST})|(?P<tune>{_TUNE})|(?P<search>{_SEARCH}){_RESULT}"
    rf"|(?<!not )(?<!nt )(?<!to )(?P<bare>search|tuning|sweep){_RESULT})"
    rf"(?!\S)(?P<after>(?:{_AFTER})(?!\S)|)"
)
_FLIP = rf"(?<!\S)(?:{_NEGATION}|{_OFF})(?!\S)"
_ASKED = rf"(?<!\S)(?:{_WISH}|on|true|enabled|yes|please|needed|required|wanted|used|done)(?!\S)"

_READ = r"(?:reads?|reading|recogni[sz](?:e|ing)|transcrib(?:e|ing)|decipher|extract|ocr)"
_READING = (
    rf"(?<!\S)(?P<before>(?:(?:{_NEGATION}) (?:(?:{_WISH}|{_FILLER}) ){{0,4}}){{0,2}})"
    rf"(?:{_READ} (?:\w+ ){{0,4}}(?:text|words?|letters?|characters?|digits|plates?|signs?"
    r"|receipts?|invoices?)|(?:text|word|character|plate|handwriting) recognition|ocr ?net"
    r"|(?:do|run|perform|need|want) (?:\w+ )?ocr|what (?:\w+ ){0,4}(?:says?|reads)|what is written"
    rf"|what the words are|(?:and|then|also|to) {_READ} (?:it|them|out|aloud)"
    r"|transcri(?:be|bing|pts?|ptions?))(?!\S)"
)


@dataclass(frozen=True)
class Words:
    """What a text says.

    Attributes:
        automl_policy: what it says of AutoML; None for nothing, or for a conflict.
        conflict: whether it says both on and off.
        reads_text: whether it asks what the words say (recognition, which is not OCDNet's).
    """

    automl_policy: Literal["on", "off"] | None = None
    conflict: bool = False
    reads_text: bool = False


def read(text: str) -> Words:
    """Read a request in English, in linear time; another language states nothing."""
    if not text:
        return Words()  # and no pattern is compiled, which takes longer than the rest
    if not re.fullmatch(rf"\s*{_QUOTED}\s*", text):  # else the whole request is in quotes
        text = re.sub(_QUOTED, " name ", text)
    text = re.sub(_NAME, " name ", text, flags=re.IGNORECASE)
    text = re.sub(r"(?<=\w)['’ʼ`´](?=\w)", "", text.lower())  # noqa: RUF001
    line = " ".join([".", *re.findall(_TOKEN, text)])
    stated = set(_stated(line))
    on, off = "on" in stated, "off" in stated or stated == {"just"}
    return Words(
        automl_policy=None if on == off else "on" if on else "off",
        conflict=on and off,
        reads_text=any(not _negated(match["before"]) for match in re.finditer(_READING, line)),
    )


def _stated(line: str) -> Iterator[Literal["on", "off", "just"]]:
    """What each statement says of AutoML; `just`: off, unless another one says something."""
    for match in re.finditer(_STATEMENT, line):
        around = match["before"] + match["after"]
        negated = _negated(around)
        if match["just"]:
            if not negated:
                yield "just"
        elif match["plain"]:
            yield "on" if negated else "off"
        elif re.search(_FLIP, around):
            yield "off" if negated else "on"
        elif not match["bare"] and (match["tune"] or match["title"] or re.search(_ASKED, around)):
            yield "on"


def _negated(around: str) -> bool:
    """Whether an odd number of negations is around what is spoken of."""
    return len(re.findall(_FLIP, around)) % 2 == 1

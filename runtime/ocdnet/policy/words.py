"""What a request's words say of the action and of AutoML, by a closed list of phrases.

Rules:
* A negator before a phrase (`don't prune`) or after it (`export is not needed`) flips it; two
  cancel out. A negated action is not asked for; `don't prune, quantize or export` drops all three.
* Statements about AutoML that agree are one. Where they disagree, the last one counts if a
  correcting word (actually, sorry, no, ...) stands before it; else it is a conflict and no policy.
* The first action in the text is the action. A search without an action is of training.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cache
from typing import Literal

from ocdnet.policy import phrases

_MOST, _LONGEST = 20, 80
_ENGINES = (".engine", ".trt", ".plan")
_CHUNK = re.compile(r"\S+")
_PART = re.compile(r"[^\W_]+(?:['’ʼ`][^\W_]+)*%?|[,;:.!?=()|—–]|-{2,}|(?<!\S)-(?!\S)")  # noqa: RUF001
_INSIDE = re.compile(r"\w[.]\w")
_EDGES = "\"'`“”‘’«»<>()[]{}*,;:!?."  # noqa: RUF001
_SETS_POLICY = re.compile(r"-*(?:automl|hpo|action)", re.IGNORECASE)
_LISTED = frozenset(
    ["automl", "hpo", "train", "evaluate", "inference", "export", "prune", "quantize", "retrain"]
)


@dataclass(frozen=True)
class Words:
    """What a text says.

    Attributes:
        action: the first action asked for; None where none is.
        others: further actions asked for, in order.
        automl_policy: what it says of AutoML; None for nothing, or for a conflict.
        conflict: whether it says both on and off.
        matched: the phrases understood, as written; at most 20.
        unused: what was not understood and may matter: paths, numbers, names; at most 20 pieces of
            at most 80 characters.
        reads_text: whether it asks what the words say (recognition, which is not OCDNet's).
    """

    action: str | None
    others: tuple[str, ...]
    automl_policy: Literal["on", "off"] | None
    conflict: bool
    matched: tuple[str, ...]
    unused: tuple[str, ...]
    reads_text: bool


@dataclass(frozen=True)
class _Token:
    """A word as phrases see it, its place in the text, and the number of its chunk."""

    word: str
    start: int
    end: int
    chunk: int


@dataclass(frozen=True)
class _Hit:
    """A phrase found: what it says, whether it is negated, its tokens (first, behind the last)."""

    says: str
    negated: bool
    first: int
    behind: int


def read(text: str) -> Words:
    """Read a request in linear time; a text in another language says nothing."""
    tokens = list(_tokens(text))
    line = " ".join(token.word for token in tokens)
    actions = _spread_negation(_hits(line, phrases.ACTIONS), tokens)
    policies = _hits(line, phrases.POLICY)
    reading = _hits(line, phrases.READING)
    stated = list(_stated(policies))
    policy, conflict = _policy(stated, tokens)
    asked = _asked(actions)
    if not asked and any(value == "on" for value, _ in stated):
        asked = ["train"]
    said = [hit for hit in actions if hit.says] + [hit for _, hit in stated] + reading
    said.sort(key=lambda hit: hit.first)
    return Words(
        action=asked[0] if asked else None,
        others=tuple(asked[1:]),
        automl_policy=policy,
        conflict=conflict,
        matched=_pieces(text, tokens, ((hit.first, hit.behind) for hit in said)),
        unused=_pieces(text, tokens, _left(tokens, [*actions, *policies, *reading])),
        reads_text=any(not hit.negated for hit in reading),
    )


def _tokens(text: str) -> Iterator[_Token]:
    """Words, numbers and punctuation; a path or `key=value` is one token."""
    for number, chunk in enumerate(_CHUNK.finditer(text)):
        bare = chunk[0].strip(_EDGES)
        if _is_one(bare):
            start = chunk.start() + chunk[0].index(bare)
            word = "_engine" if bare.lower().endswith(_ENGINES) else "_path"
            yield _Token(word, start, start + len(bare), number)
            if chunk[0][-1] in ".,;:!?":
                yield _Token(chunk[0][-1], chunk.end() - 1, chunk.end(), number)
            continue
        for part in _PART.finditer(chunk[0]):
            word = re.sub(r"['’ʼ`]", "", part[0].lower())  # noqa: RUF001
            first = chunk.start()
            if word:  # an apostrophe alone is none
                yield _Token(word, first + part.start(), first + part.end(), number)


def _is_one(chunk: str) -> bool:
    """Whether a chunk of text is a path, a file's name, a decimal or `key=value`."""
    if not any(map(str.isalnum, chunk)):
        return False
    if "=" in chunk:
        return not _SETS_POLICY.match(chunk)
    if "/" in chunk:
        return not _LISTED.issuperset(chunk.lower().split("/"))
    return "\\" in chunk or chunk.startswith("~") or _INSIDE.search(chunk) is not None


@cache
def _pattern(table: Sequence[tuple[str, str]]) -> re.Pattern[str]:
    """One expression for a table: negators, one of its phrases, a negation behind it.

    A phrase's group is an empty mark behind it: so the phrase's first letter, tried first, tells.
    """
    before = rf"(?P<before>(?:(?:{phrases.NEGATORS}) (?:(?:{phrases.FILLERS}) ){{0,4}}){{0,2}})"
    body = "|".join(f"(?:{phrase})(?P<_{index}>)" for index, (_, phrase) in enumerate(table))
    return re.compile(
        rf"(?<!\S){before}(?:{body})(?!\S)(?P<after>(?:{phrases.NEGATED_AFTER})(?!\S))?"
    )


def _hits(line: str, table: Sequence[tuple[str, str]]) -> list[_Hit]:
    """The phrases of a table in a line of words, in order, none within another."""
    if not line:
        return []  # and no table is compiled, which takes longer than the rest
    negators = re.compile(rf"(?<!\S)(?:{phrases.NEGATORS})(?!\S)")
    found, index, last = [], 0, 0
    for match in _pattern(tuple(table)).finditer(line):
        index += line.count(" ", last, match.start())
        last = match.start()
        row = next(i for i in range(len(table)) if match[f"_{i}"] is not None)
        flips = len(negators.findall(match["before"])) + (match["after"] is not None)
        behind = index + match[0].count(" ") + 1
        found.append(_Hit(table[row][0], flips % 2 == 1, index, behind))
    return found


def _spread_negation(hits: Sequence[_Hit], tokens: Sequence[_Token]) -> list[_Hit]:
    """`don't prune, quantize or export`: a negation reaches along a list that `or` ends."""
    links = [_link(tokens[a.behind : b.first]) for a, b in itertools.pairwise(hits)]
    for index in reversed(range(len(links) - 1)):
        if links[index] == "," and links[index + 1] == "or":
            links[index] = "or"
    result = list(hits[:1])
    for hit, link in zip(hits[1:], links, strict=True):
        negated = hit.negated or (link == "or" and result[-1].negated)
        result.append(replace(hit, negated=negated))
    return result


def _link(between: Sequence[_Token]) -> str:
    """What joins two phrases: `or`, `,` or nothing."""
    words = [token.word for token in between][:6]
    if len(words) < len(between) or any(mark in words for mark in ".;:!?"):
        return ""
    if "or" in words or "nor" in words:
        return "or"
    return "," if words == [","] else ""


def _stated(hits: Sequence[_Hit]) -> Iterator[tuple[Literal["on", "off"], _Hit]]:
    """What each phrase says of AutoML."""
    strong = any(hit.says in ("on", "off") or _refused(hit) for hit in hits)
    for hit in hits:
        if _refused(hit):
            yield "off", hit
        elif hit.says in ("on", "off") or (hit.says == "weak off" and not strong):
            yield ("on" if (hit.says == "on") != hit.negated else "off"), hit


def _refused(hit: _Hit) -> bool:
    """Whether it is a mere mention of the search, negated: `I don't want AutoML`."""
    return hit.says == "mention" and hit.negated


def _policy(
    stated: Sequence[tuple[Literal["on", "off"], _Hit]], tokens: Sequence[_Token]
) -> tuple[Literal["on", "off"] | None, bool]:
    """The policy, and whether the statements contradict each other."""
    if not stated:
        return None, False
    value = stated[-1][0]
    others = [index for index, (said, _) in enumerate(stated) if said != value]
    if not others:
        return value, False
    earlier, later = stated[others[-1]][1], stated[others[-1] + 1][1]
    between = " ".join(token.word for token in tokens[earlier.behind : later.first + 1])
    corrected = re.search(rf"(?<!\S)(?:{phrases.CORRECTIONS})(?!\S)", between)
    return (value, False) if corrected else (None, True)


def _asked(hits: Sequence[_Hit]) -> list[str]:
    """The actions asked for, in order, each once."""
    wanted = [hit.says for hit in hits if hit.says and not hit.negated]
    engine = "engine" in wanted or "an engine" in wanted
    asked: dict[str, None] = {}
    for says in wanted:
        if says in ("engine", "an engine"):
            continue
        of_engine = says in ("evaluate", "inference") and (engine or "gen_trt_engine" in asked)
        asked[f"deploy_{says}" if of_engine else says] = None
    if not asked and "an engine" in wanted:
        return ["gen_trt_engine"]
    return list(asked)


def _left(tokens: Sequence[_Token], hits: Iterable[_Hit]) -> Iterator[tuple[int, int]]:
    """Runs of tokens that no phrase took; a stop word is one only with a name (`words-data`)."""
    taken = {index for hit in hits for index in range(hit.first, hit.behind)}
    free = [
        index not in taken and (token.word[0].isalnum() or token.word[0] == "_")
        for index, token in enumerate(tokens)
    ]
    chunks = {
        token.chunk
        for token, is_free in zip(tokens, free, strict=True)
        if is_free and token.word not in phrases.STOP_WORDS
    }
    start: int | None = None
    for index, token in enumerate(tokens):
        if free[index] and token.chunk in chunks:
            start = index if start is None else start
        elif start is not None:
            yield start, index
            start = None
    if start is not None:
        yield start, len(tokens)


def _pieces(
    text: str, tokens: Sequence[_Token], spans: Iterable[tuple[int, int]]
) -> tuple[str, ...]:
    """The text of token spans as written, each once, bounded."""
    found: dict[str, None] = {}
    for first, behind in spans:
        start, end = tokens[first].start, tokens[behind - 1].end
        piece = " ".join(text[start : min(end, start + 4 * _LONGEST)].split())
        found[piece if len(piece) <= _LONGEST else f"{piece[: _LONGEST - 3]}..."] = None
        if len(found) == _MOST:
            break
    return tuple(found)

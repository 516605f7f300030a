"""The names of mistakes, and what each means; `ocdnet.diagnosis` tells them apart."""

from __future__ import annotations

from typing import Literal, TypeAlias, get_args

MissKind: TypeAlias = Literal[
    "on_ignored", "duplicate", "merged", "split", "loose", "low_score", "missed"
]
"""Why a text that counts has no match; the first that holds:

on_ignored: its detection (IoU > .5) lies mostly on ignored text, so it cannot match.
duplicate: its detection (IoU > .5) was matched with another label.
merged: a detection covers more than half of it, and more than half of another text, too.
split: two detections or more lie mostly on it.
loose: the best detection has an IoU of .3 to .5.
low_score: a region is there (IoU > .5) whose score is below box_thresh.
missed: none of these: the map shows no such region.
"""
FalseKind: TypeAlias = Literal["duplicate", "merged", "split", "loose", "on_ignored", "no_text"]
"""Why a detection that counts has no match; the first that holds:

duplicate: it has an IoU > .5 with a text that another detection took, or lies mostly on such text.
merged: it covers more than half of two texts or more.
split: it lies mostly on a text without a match, on which another one lies, too.
loose: its best IoU with a text is .3 to .5.
on_ignored: more than a quarter of it lies on ignored text, but not enough to pass it over.
no_text: none of these: nothing is labelled there.
"""
MISS_KINDS: tuple[MissKind, ...] = get_args(MissKind)
FALSE_KINDS: tuple[FalseKind, ...] = get_args(FalseKind)

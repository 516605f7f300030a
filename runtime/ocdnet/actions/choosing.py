"""The best of many settings, and how far the choice can be trusted."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ocdnet.findings import note
from ocdnet.metrics import Counts
from ocdnet.runs.printed import (
    BestOfNine,
    CrossValidated,
    HalfTuned,
    OneByOne,
    SettingScores,
    Tried,
)
from ocdnet.spec_keys import VALIDATE_DATA
from ocdnet.sweep import Setting, nine

_DRAWS = 1000
_FEW_TEXTS = 200
_DECIMALS = 6

_Ints = NDArray[np.int64]


@dataclass(frozen=True)
class Choice:
    """What the counts of all settings on all pictures say.

    Attributes:
        settings: all of which there are counts.
        candidates: those that may be chosen, the spec's own among them.
        spec: what the spec says.
        counts: int64[images, settings, 2]: matches, and detections that count.
        gt_care: int64[images]: texts that count.
        second: bool[images]: which of the two halves a picture is in.
    """

    settings: Sequence[Setting]
    candidates: Sequence[Setting]
    spec: Setting
    counts: _Ints
    gt_care: _Ints
    second: NDArray[np.bool_]

    @cached_property
    def best(self) -> Setting | None:
        """The best on all pictures; None where nothing is found with any setting."""
        return self._best(np.ones(len(self.second), np.bool_))

    def _best(self, part: NDArray[np.bool_]) -> Setting | None:
        """The best on a part of the pictures: of equal ones the nearest to the spec's."""
        scored = [(self._scores(one, part).hmean, one) for one in self.candidates]
        highest = max(hmean for hmean, _ in scored)
        if not highest:
            return None
        return min((one for hmean, one in scored if hmean == highest), key=self._distance)

    def _distance(self, one: Setting) -> tuple[bool, float]:
        mine, spec = np.array(one[1:]), np.array(self.spec[1:])
        return one.polygon != self.spec.polygon, float(np.abs(mine - spec).sum())

    def _scores(self, setting: Setting, part: NDArray[np.bool_]) -> Counts:
        matched, det_care = self.counts[part, self.settings.index(setting)].sum(axis=0).tolist()
        return Counts(matched, int(self.gt_care[part].sum()), det_care)

    def records(self) -> dict[str, Any]:
        """The fields of a TuneResult."""
        everything = np.ones(len(self.second), np.bool_)
        return {
            "spec": self._record(self.spec, everything),
            "best": None if self.best is None else self._record(self.best, everything),
            "halves": tuple(self._halves()),
            "cross_validated": self.cross_validated,
            "tao_best_of_nine": self._nine(everything),
            "one_by_one": None if self.best is None else self._one_by_one(self.best, everything),
        }

    def _record(self, one: Setting, part: NDArray[np.bool_]) -> SettingScores:
        return SettingScores(
            thresh=one.thresh,
            box_thresh=one.box_thresh,
            unclip_ratio=one.unclip_ratio,
            polygon=one.polygon,
            **_three(self._scores(one, part)),
        )

    def _halves(self) -> Sequence[HalfTuned]:
        halves = []
        for part in (~self.second, self.second):
            chosen = self._best(part) if part.any() and not part.all() else None
            if chosen is not None:
                other = self._scores(chosen, ~part).hmean
                halves.append(
                    HalfTuned(
                        images=int(part.sum()),
                        chosen=self._record(chosen, part),
                        other_hmean=round(other, _DECIMALS),
                    )
                )
        return halves

    @cached_property
    def cross_validated(self) -> CrossValidated | None:
        """Each picture with what the other half chose; None where a half chooses nothing."""
        if not self.second.any() or self.second.all():
            return None
        of_first, of_second = self._best(~self.second), self._best(self.second)
        if of_first is None or of_second is None:
            return None
        of_halves = [self.settings.index(one) for one in (of_first, of_second)]
        chosen = np.where(self.second, of_halves[0], of_halves[1])
        mine = self.counts[np.arange(len(chosen)), chosen]
        spec = self.counts[:, self.settings.index(self.spec)]
        matched, det_care = mine.sum(axis=0).tolist()
        counts = Counts(matched, int(self.gt_care.sum()), det_care)
        gains = self._gains(mine, spec)
        return CrossValidated(
            **_three(counts),
            gain=round(gains[0], _DECIMALS),
            low=round(float(np.quantile(gains[1:], 0.025)), _DECIMALS),
            high=round(float(np.quantile(gains[1:], 0.975)), _DECIMALS),
        )

    def _gains(self, mine: _Ints, spec: _Ints) -> list[float]:
        """Gain of hmean on the pictures as they are, then on pictures drawn from them."""
        images = len(self.gt_care)
        draws = np.random.default_rng(0).multinomial(images, np.full(images, 1 / images), _DRAWS)
        draws = np.vstack([np.ones(images, np.int64), draws])
        care = draws @ self.gt_care
        hmeans = []
        for counts in (mine, spec):
            matched, det_care = (draws @ counts).T
            # 2PR / (P + R), without a division by nothing.
            hmeans.append(2 * matched / np.maximum(det_care + care, 1))
        gains: list[float] = (hmeans[0] - hmeans[1]).tolist()
        return gains

    def _nine(self, part: NDArray[np.bool_]) -> BestOfNine | None:
        best = max(nine(self.spec), key=lambda one: self._scores(one, part).hmean)
        scores = self._scores(best, part)
        return BestOfNine(thresh=best.thresh, **_three(scores)) if scores.matched else None

    def _one_by_one(self, best: Setting, part: NDArray[np.bool_]) -> OneByOne:
        def tried(name: str) -> Tried:
            values = sorted({getattr(one, name) for one in self.candidates})
            rows = [self._scores(best._replace(**{name: value}), part).hmean for value in values]
            return Tried(values=tuple(values), hmean=tuple(round(row, 4) for row in rows))

        return OneByOne(
            thresh=tried("thresh"),
            box_thresh=tried("box_thresh"),
            unclip_ratio=tried("unclip_ratio"),
        )

    def note_doubts(self) -> None:
        """Note what speaks against the choice."""
        texts = int(self.gt_care.sum())
        if texts < _FEW_TEXTS:
            note(
                "few-texts",
                f"Fewer than {_FEW_TEXTS} texts decide: another set may prefer other settings",
                key=VALIDATE_DATA,
                count=texts,
            )
        if self.best is None:
            note(
                "nothing-found",
                "Nothing is found with any setting, so none is best, nor written: the model needs "
                "training, or its input is prepared in another way than it was trained on",
            )
        elif self.cross_validated is None or self.cross_validated.low <= 0:
            note(
                "unsure-choice",
                "What one half of the pictures chooses is not surely better on the other than the "
                "spec's settings, which may as well stay",
            )


def choose(
    settings: Sequence[Setting],
    candidates: Sequence[Setting],
    spec: Setting,
    rows: Sequence[tuple[bool, int, _Ints]],
) -> Choice:
    """Compare settings.

    Args:
        settings: of which there are counts.
        candidates: those that may be chosen.
        spec: one of them, that is used now.
        rows: of each picture: whether it is in the second half, texts that count, and
            int64[settings, 2].
    """
    second, gt_care, counts = zip(*rows, strict=True)
    return Choice(
        settings, candidates, spec, np.stack(counts), np.array(gt_care), np.array(second, np.bool_)
    )


def _three(counts: Counts) -> dict[str, Any]:
    names = ("hmean", "precision", "recall")
    return {name: round(getattr(counts, name), _DECIMALS) for name in names}

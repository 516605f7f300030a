"""prune.round_to: no layer may have fewer channels, and the narrowest differ among backbones."""

from __future__ import annotations

from pathlib import Path

from ocdnet.notes import Notes
from ocdnet.policy.draft import Draft
from ocdnet.runs.jobs import RunFolder, job_in
from ocdnet.spec_keys import PRUNED_GRAPH
from ocdnet.tree import keys

ROUND_TO = "prune.round_to"
_NARROWEST = {"mobilenet_v2": 16, "mobilenet_v3_large": 16}
"""Channels of the narrowest layer that prune thins, of the backbones with fewer than 32."""
_USUAL = 32


def most(backbone: object, before: RunFolder | None = None) -> int | None:
    """The largest round_to that fits a backbone's layers; None where that is not below 32.

    Args:
        backbone: its name.
        before: the job that trained it: of a network that was pruned already, the round_to of then
            fits again, as no layer has fewer channels than it.
    """
    narrowest = _NARROWEST.get(str(backbone), _USUAL)
    earlier = None if before is None else _of_pruning(before)
    fits = min(narrowest, earlier) if earlier else narrowest
    return fits if fits < _USUAL else None


def fitted(draft: Draft, before: RunFolder | None, notes: Notes) -> dict[str, int]:
    """What round_to must be for the draft's backbone, by dotted key; nothing where it fits.

    Args:
        draft: a spec whose model is known.
        before: the job that trained the model, where it is known.
        notes: told what is chosen, or that what the user gave does not fit.
    """
    fits, value = most(draft.at("model.backbone"), before), draft.at(ROUND_TO)
    if fits is None or not isinstance(value, int) or value <= fits:
        return {}
    narrow = f"the narrowest layer of {draft.at('model.backbone')} has {fits} channels"
    if draft.value(ROUND_TO) is not None:
        notes.warn(
            f"{ROUND_TO} is {value}, but {narrow}, and prune refuses more than a layer has. "
            f"1 to {fits} fit; {fits} is the usual choice.",
            ROUND_TO,
        )
        return {}
    notes.because(f"{ROUND_TO} is {fits}, not {value}: {narrow}.", ROUND_TO)
    return {ROUND_TO: fits}


def _of_pruning(job: RunFolder) -> int | None:
    """The round_to of the pruning that a training began with."""
    pruned = keys.get(job.experiment, PRUNED_GRAPH)
    maker = job_in(Path(pruned).parent) if isinstance(pruned, str) and pruned else None
    value = None if maker is None else keys.get(maker.experiment, ROUND_TO)
    return value if isinstance(value, int) and value > 0 else None

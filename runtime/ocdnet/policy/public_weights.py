"""Public weights in a plan: what it offers for few images, and what a name asks of the machine."""

from __future__ import annotations

from ocdnet.policy.case import Case
from ocdnet.policy.draft import Draft
from ocdnet.policy.plan_record import BetterStart
from ocdnet.policy.starting import by_nvidia, is_open
from ocdnet.spec_keys import PRETRAINED
from ocdnet.zoo.registry import find, is_unknown, named, unknown_weights

_OFFERED = named("dbnet-r18-icdar2015")
"""The smallest detector of real photographs whose words are labelled one by one."""


def better_start(case: Case, draft: Draft, images: int | None) -> BetterStart | None:
    """What a training of few images had better start from; None where the user has chosen.

    Args:
        case: the request.
        draft: its spec.
        images: to train on; None where that is not known.
    """
    if not is_open(case, draft, images):
        return None
    taken = (f"model.backbone={_OFFERED.backbone}", f"{PRETRAINED}={_OFFERED.name}")
    return BetterStart(set=taken)


def check_name(case: Case, draft: Draft) -> None:
    """Say what a name of public weights asks of the machine that trains.

    Raises:
        SpecFieldError: it looks like a name and is none.
    """
    given = draft.at(PRETRAINED)
    if not case.entry.trains or not isinstance(given, str):
        return
    if is_unknown(given):
        raise unknown_weights(given)
    weights = find(given)
    if weights is None:
        return
    if by_nvidia(case):
        case.notes.warn(
            f"{PRETRAINED}: NVIDIA's image does not know the name {given}: give a path.", PRETRAINED
        )
    elif not weights.packaged:
        case.notes.warn(
            f"{PRETRAINED}={given} needs the internet where the run starts, unless it was fetched "
            f"there before: `ocdnet weights fetch {given}` (licence {weights.licence}).",
            PRETRAINED,
        )

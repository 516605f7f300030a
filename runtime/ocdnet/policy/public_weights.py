"""Public weights in a plan: what it offers for few images, and what a name asks of the machine."""

from __future__ import annotations

from ocdnet.launch.platforms import PLATFORMS
from ocdnet.policy.case import BY_SKILL, Case
from ocdnet.policy.draft import Draft
from ocdnet.policy.plan_record import BetterStart
from ocdnet.policy.starting import FEW
from ocdnet.spec_keys import PRETRAINED, RESUME
from ocdnet.zoo.registry import WEIGHTS, find, is_unknown, unknown_weights

_OFFERED = WEIGHTS[0]
"""The smallest detector of real photographs whose words are labelled one by one."""


def better_start(case: Case, draft: Draft, images: int | None) -> BetterStart | None:
    """What a training of few images had better start from; None where the user has chosen.

    Args:
        case: the request.
        draft: its spec.
        images: to train on; None where that is not known.
    """
    chosen = draft.known("model") or draft.at(PRETRAINED) or draft.at(RESUME) or case.parent
    if case.entry.name != "train" or chosen or not images or images >= FEW or _by_nvidia(case):
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
    if _by_nvidia(case):
        case.notes.warn(
            f"{PRETRAINED}: NVIDIA's image does not know the name {given}: give a path.", PRETRAINED
        )
        return
    case.notes.warn(
        f"{PRETRAINED}={given} needs the internet where the run starts, unless it was fetched "
        f"there before: `ocdnet weights fetch {given}` (licence {weights.licence}).",
        PRETRAINED,
    )


def _by_nvidia(case: Case) -> bool:
    """Whether NVIDIA's image trains, which knows none of these names."""
    return case.runner == BY_SKILL or PLATFORMS[case.request.platform].tao

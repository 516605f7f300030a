"""Learning rate as a pure function of the epoch."""

from __future__ import annotations


def warmup_poly_factor(
    epoch: int, num_epochs: int, warmup_epochs: int, power: float = 0.9
) -> float:
    """Factor of the base learning rate in `epoch` (from 0) of `num_epochs`.

    Linear from 1/3 to 1 over `warmup_epochs`, then `(remaining / decaying) ** power`, as TAO's
    WarmupPolyLR. Being a function of the epoch alone it needs no state: a resumed run, also one
    with another `num_epochs`, takes the rate of its own schedule. In (0, 1] while
    `epoch < num_epochs`, 0 from there on.
    """
    if epoch < warmup_epochs:
        progress = epoch / warmup_epochs
        return (1 - progress) / 3 + progress
    remaining = max(0, num_epochs - epoch)
    return float((remaining / (num_epochs - warmup_epochs)) ** power)

"""DBNet's loss (arXiv 1911.08947, section 3.5) with TAO's weights and hard-negative mining."""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ocdnet.data.targets import text_and_background


class LossTerms(NamedTuple):
    """The weighted total and its unweighted parts, float32 scalars."""

    total: Tensor
    shrink: Tensor
    threshold: Tensor
    binary: Tensor


class DBLoss(nn.Module):
    """alpha * balanced BCE(shrink) + beta * masked L1(threshold) + dice(binary).

    Sums run over the whole batch, so the value is that of one rank's batch.

    Args:
        alpha: weight of the shrink-map term.
        beta: weight of the threshold-map term.
        ohem_ratio: negatives kept for each positive, hardest first.
        eps: guards the L1 and dice divisions.
    """

    def __init__(
        self, alpha: float = 5.0, beta: float = 10.0, ohem_ratio: float = 3.0, eps: float = 1e-6
    ) -> None:
        super().__init__()
        self.alpha, self.beta, self.ohem_ratio, self.eps = alpha, beta, ohem_ratio, eps

    def forward(
        self,
        prediction: Tensor,
        shrink_map: Tensor,
        shrink_mask: Tensor,
        threshold_map: Tensor,
        threshold_mask: Tensor,
        pixels: tuple[int, int] | None = None,
    ) -> LossTerms:
        """Loss of the head's training output float32[B, 3, H, W]; the targets are [B, H, W].

        `pixels` of text and of background are counted here if not given: on a GPU the processor
        then waits for all that went before.
        """
        # float32: sums over all pixels of a batch are too large for float16.
        logits, threshold, binary = prediction.float().unbind(1)
        shrink_map, shrink_mask = shrink_map.float(), shrink_mask.float()
        shrink = balanced_bce(logits, shrink_map, shrink_mask, self.ohem_ratio, pixels)
        threshold_loss = masked_l1(threshold, threshold_map, threshold_mask.float(), self.eps)
        binary_loss = dice(binary, shrink_map, shrink_mask, self.eps)
        total = self.alpha * shrink + self.beta * threshold_loss + binary_loss
        return LossTerms(total, shrink, threshold_loss, binary_loss)


def balanced_bce(
    logits: Tensor,
    target: Tensor,
    mask: Tensor,
    ohem_ratio: float,
    pixels: tuple[int, int] | None = None,
) -> Tensor:
    """BCE over all positives and the hardest `ohem_ratio` times as many negatives of the batch.

    float32[B, H, W] each, target and mask in {0, 1}. Zero where the batch has no positive pixel.
    `pixels` is what `text_and_background` gives.
    """
    positive = target * mask
    negative = (1 - target) * mask
    n_positive, n_background = pixels or text_and_background(target, mask)
    # Text is a few per cent of an image: all its negatives would drown the positives.
    n_negative = min(n_background, int(n_positive * ohem_ratio))
    loss = F.binary_cross_entropy_with_logits(logits, target, reduction="none")
    hardest = torch.topk((loss * negative).flatten(), n_negative, sorted=False).values
    return ((loss * positive).sum() + hardest.sum()) / (n_positive + n_negative + 1e-6)


def masked_l1(prediction: Tensor, target: Tensor, mask: Tensor, eps: float) -> Tensor:
    """Mean absolute difference where mask is 1; float32[B, H, W] each."""
    return ((prediction - target).abs() * mask).sum() / (mask.sum() + eps)


def dice(prediction: Tensor, target: Tensor, mask: Tensor, eps: float) -> Tensor:
    """Dice loss 1 - 2|P T| / (|P| + |T|) over the masked batch (arXiv 1606.04797)."""
    overlap = (prediction * target * mask).sum()
    union = (prediction * mask).sum() + (target * mask).sum() + eps
    return 1 - 2 * overlap / union

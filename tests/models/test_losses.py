"""DBNet's loss against the reference's values and gradients, and its rules one by one."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from golden.arrays import golden_case, golden_set
from ocdnet.models.losses import DBLoss, balanced_bce

MAPS = ("shrink_maps", "threshold_maps", "binary_maps")
TARGETS = ("shrink_map", "shrink_mask", "threshold_map", "threshold_mask")
CASES = ("default", "ratio1", "eps1", "no_positive", "few_negative", "mask_zero")


@pytest.mark.parametrize("case", range(6), ids=CASES)
def test_terms_and_gradient_equal_the_reference(case):
    expected = golden_case("loss", case)
    assert (golden_set("loss")["n"], expected["name"]) == (6, CASES[case])
    prediction = torch.from_numpy(expected["pred"]).requires_grad_()
    targets = [torch.from_numpy(expected[name]) for name in TARGETS]
    terms = DBLoss(**json.loads(str(expected["args"])))(prediction, *targets)
    terms.total.backward()
    # the same float32 sums; 1e-7 relative was measured
    found = [float(term.detach()) for term in terms]
    assert found == pytest.approx(
        [float(expected[name]) for name in ("loss", *(f"loss_{m}" for m in MAPS))], rel=1e-6
    )
    np.testing.assert_allclose(prediction.grad[..., ::5, ::5], expected["grad"], rtol=0, atol=1e-8)


@pytest.mark.parametrize(
    ("positives", "negatives", "ratio", "kept"),
    [(2, 30, 3.0, 6), (3, 30, 1.6, 4), (20, 7, 3.0, 7), (4, 0, 3.0, 0), (0, 30, 3.0, 0)],
)
def test_the_hardest_negatives_of_the_batch_are_kept(positives, negatives, ratio, kept):
    """`ratio` for each positive, rounded down, as many as there are; masked pixels never."""
    target, mask = torch.zeros(2, 5, 10), torch.ones(2, 5, 10)
    target.view(-1)[:positives] = 1
    mask.view(-1)[positives + negatives :] = 0
    logits = torch.randn(2, 5, 10, generator=torch.Generator().manual_seed(0))
    pixels = F.softplus(torch.where(target > 0, -logits, logits)).flatten().tolist()
    hardest = sorted(pixels[positives : positives + negatives], reverse=True)[:kept]
    count = positives + kept
    expected = (sum(pixels[:positives]) + sum(hardest)) / count if count else 0.0
    found = balanced_bce(logits, target, mask, ratio)
    assert float(found) == pytest.approx(expected, rel=1e-5)


def scene():
    """Targets with a text, an ignored region and a threshold band."""
    shrink_map, shrink_mask = torch.zeros(2, 16, 24), torch.ones(2, 16, 24)
    threshold_map, threshold_mask = torch.full((2, 16, 24), 0.3), torch.zeros(2, 16, 24)
    shrink_map[:, 4:8, 4:12] = 1
    shrink_mask[:, 12:, 12:] = 0
    threshold_map[:, 3:9, 3:13], threshold_mask[:, 2:10, 2:14] = 0.6, 1
    return shrink_map, shrink_mask, threshold_map, threshold_mask


def test_a_perfect_prediction_costs_nothing():
    shrink_map, _, threshold_map, _ = targets = scene()
    perfect = torch.stack((shrink_map * 60 - 30, threshold_map, shrink_map), dim=1)
    total = float(DBLoss()(perfect, *targets).total)
    assert 0 <= total < 1e-5
    inverted = torch.stack((30 - shrink_map * 60, 1 - threshold_map, 1 - shrink_map), dim=1)
    assert float(DBLoss()(inverted, *targets).total) > 100


def test_ignored_pixels_have_no_gradient():
    shrink_map, shrink_mask, threshold_map, threshold_mask = scene()
    prediction = torch.rand(2, 3, 16, 24, generator=torch.Generator().manual_seed(0))
    prediction.requires_grad_()
    DBLoss()(prediction, shrink_map, shrink_mask, threshold_map, threshold_mask).total.backward()
    shrink, threshold, binary = prediction.grad.unbind(1)
    for gradient, mask in (
        (shrink, shrink_mask),
        (threshold, threshold_mask),
        (binary, shrink_mask),
    ):
        assert not gradient[mask == 0].any()
        assert gradient[mask == 1].any()


@pytest.mark.parametrize("emptied", [(0,), (1, 3), (0, 1, 2, 3)], ids=str)
def test_scenes_without_text_or_with_all_ignored_stay_finite(emptied):
    targets = [torch.zeros_like(t) if i in emptied else t for i, t in enumerate(scene())]
    prediction = torch.rand(2, 3, 16, 24).requires_grad_()
    terms = DBLoss()(prediction, *targets)
    terms.total.backward()
    assert terms.shrink.item() == 0  # no positive pixel: as TAO, no negative counts either
    assert torch.isfinite(terms.total)
    assert torch.isfinite(prediction.grad).all()


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_predictions_give_a_finite_float32_loss(dtype):
    prediction = torch.stack((scene()[0] * -6e4 + 3e4, *scene()[2:]), dim=1).to(dtype)
    with torch.autocast("cpu", torch.bfloat16):
        terms = DBLoss()(prediction, *scene())
    assert {term.dtype for term in terms} == {torch.float32}
    # wrong by 3e4 at each pixel that counts
    assert float(terms.shrink) == pytest.approx(3e4, rel=0.01)

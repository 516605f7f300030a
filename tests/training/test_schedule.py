"""The learning rate against the reference's WarmupPolyLR, and for any run length."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import support
from golden.arrays import golden_set
from ocdnet.training.schedule import warmup_poly_factor


@pytest.mark.parametrize("case", range(6))
def test_rates_equal_the_reference(case):
    arrays = golden_set("lr")
    assert int(arrays["n"]) == 6
    num_epochs, steps, warmup = arrays[f"c{case}_epochs_steps_warmup"].tolist()
    expected = arrays[f"c{case}_lr_per_step"].reshape(num_epochs, steps)
    after_last, base = arrays[f"c{case}_lr_after_last"], float(arrays["base_lr"])
    rates = [base * warmup_poly_factor(e, num_epochs, warmup) for e in range(num_epochs + 1)]
    np.testing.assert_allclose(rates[:-1], expected[:, 0], rtol=1e-12)
    np.testing.assert_array_equal(
        expected, expected[:, :1].repeat(steps, 1)
    )  # constant in an epoch
    assert rates[-1] == pytest.approx(float(after_last), rel=1e-12)


epochs = st.integers(1, 2000)
moments = st.one_of(st.integers(0, 3000), st.floats(0, 3000))


@given(moments, epochs, st.integers(0, 2000))
def test_the_rate_is_a_fraction_of_the_base_for_any_run(epoch, num_epochs, warmup):
    """The reference's turns complex when a run is resumed with more epochs."""
    factor = warmup_poly_factor(epoch, num_epochs, warmup)
    assert isinstance(factor, float)
    assert 0 <= factor <= 1
    assert factor > 0 or epoch >= num_epochs


@given(epochs, st.integers(0, 2000))
def test_the_rate_climbs_in_the_warmup_and_falls_after_it(num_epochs, warmup):
    factors = [warmup_poly_factor(e, num_epochs, warmup) for e in range(num_epochs + 1)]
    top = min(warmup, num_epochs)
    assert factors[:top] == sorted(factors[:top])
    assert factors[top:] == sorted(factors[top:], reverse=True)
    if warmup < num_epochs:
        assert factors[warmup] == 1
        assert factors[-1] == 0


@given(epochs, st.integers(0, 100), st.integers(1, 50))
def test_step_by_step_it_runs_between_the_same_points(num_epochs, warmup, steps):
    warmup = min(warmup, num_epochs - 1)  # as a spec's is
    for epoch in range(min(num_epochs, 5)):
        whole = [warmup_poly_factor(e, num_epochs, warmup) for e in (epoch, epoch + 1)]
        within = [warmup_poly_factor(epoch + n / steps, num_epochs, warmup) for n in range(steps)]
        assert within[0] == whole[0]
        assert min(whole) <= min(within)
        assert max(within) <= max(whole)
        assert within == sorted(within, reverse=whole[0] > whole[1])


@pytest.mark.parametrize(
    ("more", "moments"),
    [
        ([], [0, 0, 0, 0, 1, 1, 1, 1]),
        (["train.lr_scheduler.args.per_step=true"], [n / 4 for n in range(8)]),
        (
            ["train.lr_scheduler.args.per_step=true", "train.accumulate_grad_batches=2"],
            [0, 0.5, 1, 1.5],
        ),
    ],
)
def test_the_rate_of_each_step(scenes, tmp_path, small_network, more, moments):
    each = ["train.checkpoint_interval=1", "train.checkpoint_interval_unit=step"]
    warm = "train.lr_scheduler.args.warmup_epoch=1"
    support.train(scenes, tmp_path, *each, warm, *more)
    paths = sorted((tmp_path / "train").glob("model_epoch_*.pth"))
    rates = [support.load(p)["optimizer_states"][0]["param_groups"][0]["lr"] for p in paths]
    # TAO's WarmupPolyLR of 2 epochs, of which 1 warms up.
    expected = [1e-3 * ((1 - e) / 3 + e if e < 1 else (2 - e) ** 0.9) for e in moments]
    assert rates == pytest.approx(expected)

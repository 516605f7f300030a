"""The learning rate against the reference's WarmupPolyLR, and for any run length."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ocdnet.training.schedule import warmup_poly_factor

GOLDEN = Path(__file__).parents[1] / "golden" / "lr.npz"


@pytest.mark.parametrize("case", range(6))
def test_rates_equal_the_reference(case):
    with np.load(GOLDEN) as arrays:
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


@given(st.integers(0, 3000), epochs, st.integers(0, 2000))
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

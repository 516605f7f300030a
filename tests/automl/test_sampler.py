"""Values are a function of seed, trial and history: whoever asks, and however often."""

from __future__ import annotations

import optuna
import pytest
from optuna.distributions import CategoricalDistribution, FloatDistribution

from ocdnet.automl.sampler import STARTUP, SeededSampler

SPACE = {"lr": FloatDistribution(1e-5, 1e-2, log=True), "kind": CategoricalDistribution(["a", "b"])}


def drawn(count, storage=None, *, tpe=True, seed=0, weights=None):
    """Parameters of so many trials of a study whose best lr is 1e-3."""
    storage = storage or optuna.storages.InMemoryStorage()
    study = optuna.create_study(
        storage=storage,
        study_name="s",
        load_if_exists=True,
        sampler=SeededSampler(tpe=tpe, seed=seed, weights=weights or {}),
    )
    for _ in range(count):
        trial = study.ask(SPACE)
        study.tell(trial, abs(trial.params["lr"] - 1e-3))
    return [trial.params for trial in study.trials]


def test_the_same_seed_draws_the_same():
    assert drawn(12) == drawn(12)
    assert drawn(3) != drawn(3, seed=1)


def test_a_search_that_was_cut_off_draws_what_an_unbroken_one_does():
    storage = optuna.storages.InMemoryStorage()
    drawn(4, storage)
    assert drawn(8, storage) == drawn(12)


def test_trials_differ():
    rates = [params["lr"] for params in drawn(12)]
    assert len(set(rates)) == 12


def test_tpe_learns_and_random_does_not():
    by_tpe = [params["lr"] for params in drawn(60)[STARTUP:]]
    at_random = [params["lr"] for params in drawn(60, tpe=False)[STARTUP:]]
    near = [sum(5e-4 < rate < 2e-3 for rate in rates) for rates in (by_tpe, at_random)]
    assert near[0] > 2 * near[1]


def test_choices_come_by_their_weights_before_anything_is_known():
    def share(weights):
        found = drawn(400, tpe=False, weights=weights)
        return sum(params["kind"] == "a" for params in found) / len(found)

    assert share({"kind": (0.9, 0.1)}) == pytest.approx(0.9, abs=0.05)
    assert share({}) == pytest.approx(0.5, abs=0.08)

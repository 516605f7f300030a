"""Where a trial's values come from: a function of seed, trial and history, whoever asks."""

from __future__ import annotations

import zlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from optuna.distributions import BaseDistribution, CategoricalDistribution
from optuna.samplers import BaseSampler, RandomSampler, TPESampler
from optuna.study import Study
from optuna.trial import FrozenTrial, TrialState

STARTUP = 5
"""Trials drawn at random before the Tree-structured Parzen Estimator has its say."""
_KNOWN = (TrialState.COMPLETE, TrialState.PRUNED)


class SeededSampler(BaseSampler):
    """Optuna's TPE or random sampler, seeded anew for each trial and parameter.

    A search that is killed and goes on, or that several processes share, then draws what an
    unbroken one would: the order of the draws decides nothing. At random, choices come by their
    weights.

    Args:
        tpe: whether TPE follows the first random trials.
        seed: of the search.
        weights: by parameter, how likely each choice is.
    """

    def __init__(self, *, tpe: bool, seed: int, weights: Mapping[str, Sequence[float]]) -> None:
        self.tpe, self.seed, self.weights = tpe, seed, weights

    def infer_relative_search_space(
        self, study: Study, trial: FrozenTrial
    ) -> dict[str, BaseDistribution]:
        """None: the parameters are drawn one by one."""
        return {}

    def sample_relative(
        self, study: Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        """Nothing."""
        return {}

    def sample_independent(
        self,
        study: Study,
        trial: FrozenTrial,
        param_name: str,
        param_distribution: BaseDistribution,
    ) -> Any:
        """The value of one parameter in a trial."""
        entropy = [self.seed, trial.number, zlib.crc32(param_name.encode())]
        seed = int(np.random.SeedSequence(entropy).generate_state(1)[0])
        known = len(study.get_trials(deepcopy=False, states=_KNOWN))
        sampler: BaseSampler
        if self.tpe and known >= STARTUP:
            sampler = TPESampler(seed=seed, n_startup_trials=STARTUP, multivariate=False)
        elif param_name in self.weights and isinstance(param_distribution, CategoricalDistribution):
            rng, weights = np.random.default_rng(seed), self.weights[param_name]
            return param_distribution.choices[rng.choice(len(weights), p=weights)]
        else:
            sampler = RandomSampler(seed=seed)
        return sampler.sample_independent(study, trial, param_name, param_distribution)

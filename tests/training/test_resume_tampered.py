"""A checkpoint of which a part is missing or spoilt is refused before the training starts."""

from __future__ import annotations

import copy

import pytest
import torch

import support
from ocdnet.checkpoint import SPEC_KEY
from ocdnet.errors import DataError, UserError
from ocdnet.runs.files import LATEST, STATUS
from ocdnet.training.ema import EMA_KEY

pytestmark = pytest.mark.usefixtures("small_network")

EPOCH = ("loops", "fit_loop", "epoch_progress", "current")
BATCH = ("loops", "fit_loop", "epoch_loop.batch_progress")
STEP = ("loops", "fit_loop", "epoch_loop.automatic_optimization.optim_progress", "optimizer")
STATE = ("optimizer_states", 0, "state")
GROUP = ("optimizer_states", 0, "param_groups", 0)
BEST = ("callbacks", "EpochCheckpoints")
WEIGHT = ("state_dict", "model.backbone.stem.0.weight")
NAN = torch.tensor(float("nan"))


@pytest.fixture(scope="module")
def run(scenes, tmp_path_factory):
    """A run of two epochs with an average of its weights, by the default optimiser."""
    folder = tmp_path_factory.mktemp("run")
    with pytest.MonkeyPatch.context() as patch:
        support.shrink_network(patch)
        support.train(scenes, folder, "train.model_ema=true", "train.num_epochs=1")
    return folder / "train" / LATEST


def put(*path, to):
    def change(content):
        for key in path[:-1]:
            content = content[key]
        content[path[-1]] = to

    return change


def drop(*path):
    def change(content):
        for key in path[:-1]:
            content = content[key]
        del content[path[-1]]

    return change


TAMPERED = {
    # The optimiser's state.
    "no states": put("optimizer_states", to=[]),
    "states are a mapping": put("optimizer_states", to={}),
    "two optimisers": lambda c: c["optimizer_states"].append(c["optimizer_states"][0]),
    "no optimiser": put("optimizer_states", 0, to=None),
    "empty state": put(*STATE, to={}),
    "no state": drop(*STATE),
    "state of a parameter less": drop(*STATE, 3),
    "state of one more": lambda c: c["optimizer_states"][0]["state"].update({999: {}}),
    "state under names": lambda c: put(
        *STATE, to={str(key): value for key, value in c["optimizer_states"][0]["state"].items()}
    )(c),
    "state without a moment": drop(*STATE, 0, "exp_avg"),
    "moment of another shape": put(*STATE, 0, "exp_avg", to=torch.zeros(3)),
    "moment that is a number": put(*STATE, 0, "exp_avg", to=0.5),
    "moment of integers": lambda c: put(
        *STATE, 0, "exp_avg", to=c["optimizer_states"][0]["state"][0]["exp_avg"].long()
    )(c),
    "moment that is NaN": lambda c: c["optimizer_states"][0]["state"][0]["exp_avg"].fill_(NAN),
    "negative squares": lambda c: c["optimizer_states"][0]["state"][0]["exp_avg_sq"].fill_(-1),
    "entry of SGD": put(*STATE, 0, to={"momentum_buffer": None}),
    "step that is NaN": put(*STATE, 0, "step", to=NAN),
    "step of another run": put(*STATE, 0, "step", to=torch.tensor(1e6)),
    "no groups": put("optimizer_states", 0, "param_groups", to=[]),
    "groups that are numbers": put("optimizer_states", 0, "param_groups", to=[1]),
    "parameters in another order": lambda c: c["optimizer_states"][0]["param_groups"][0][
        "params"
    ].reverse(),
    "fewer parameters": lambda c: c["optimizer_states"][0]["param_groups"][0]["params"].pop(),
    "options of SGD": put(*GROUP, to={"lr": 0.1, "momentum": 0.9, "params": [0]}),
    "other betas": put(*GROUP, "betas", to=(0.5, 2.0)),
    "betas that are words": put(*GROUP, "betas", to="ab"),
    "uphill": put(*GROUP, "maximize", to=True),
    "rate that is NaN": put(*GROUP, "lr", to=float("nan")),
    "eps that is a word": put(*GROUP, "eps", to="small"),
    # Schedules and scales.
    "no schedulers": drop("lr_schedulers"),
    "a scheduler": put("lr_schedulers", to=[{"last_epoch": 3}]),
    "scaler without scale": put("MixedPrecision", to={"growth_factor": 2.0}),
    "scaler that is a list": put("MixedPrecision", to=[1]),
    # Loops and counters.
    "no loops": put("loops", to={}),
    "loops that are a list": put("loops", to=[]),
    "no epochs": drop(*EPOCH[:-1]),
    "epochs not whole": drop(*EPOCH, "processed"),
    "an epoch that is a word": put(*EPOCH, "ready", to="one"),
    "a negative epoch": put(*EPOCH, "completed", to=-1),
    "an epoch that is no integer": put(*EPOCH, "processed", to=1.5),
    "a late epoch": put(*EPOCH, "ready", to=1000),
    "another epoch": put("epoch", to=7),
    "no epoch": drop("epoch"),
    "another step": put("global_step", to=10**6),
    "no step": put("global_step", to=None),
    "steps not whole": drop(*STEP, "step"),
    "steps without a count": drop(*STEP, "step", "total", "completed"),
    "no batches": drop(*BATCH),
    "batches not whole": drop(*BATCH, "is_last_batch"),
    "batches that are None": put(*BATCH, to=None),
    "fewer batches than steps": put(*BATCH, "total", "ready", to=0),
    "an unknown counter": put(*BATCH, "current", "increment_ready", to=1),
    "no steps of batches": put("loops", "fit_loop", "epoch_loop.state_dict", to={}),
    "a loader's state": put("loops", "fit_loop", "state_dict", to={"combined_loader": [{}]}),
    # The best, the average, weights, spec, version.
    "no callbacks": drop("callbacks"),
    "no best": drop(*BEST),
    "best not whole": drop(*BEST, "best"),
    "best that is NaN": put(*BEST, "best", to=float("nan")),
    "best of an epoch that is a word": put(*BEST, "best_epoch", to="x"),
    "best of another measure": put(*BEST, "metric", to="f1"),
    "no average": drop(EMA_KEY),
    "average without weights": drop(EMA_KEY, "trained"),
    "average of no updates": put(EMA_KEY, "updates", to="many"),
    "trained weights of another shape": put(EMA_KEY, "trained", WEIGHT[1], to=torch.zeros(1)),
    "a trained weight less": drop(EMA_KEY, "trained", WEIGHT[1]),
    "a weight less": drop(*WEIGHT),
    "a weight more": put("state_dict", "model.head.more", to=torch.zeros(1)),
    "a weight that is NaN": lambda c: c["state_dict"][WEIGHT[1]].fill_(NAN),
    "no version": drop("pytorch-lightning_version"),
    "an old version": put("pytorch-lightning_version", to="0.7.1"),
    "no version at all": put("pytorch-lightning_version", to="x"),
    "no optimiser in the spec": drop(SPEC_KEY, "train", "optimizer"),
    "no train in the spec": drop(SPEC_KEY, "train"),
    "a seed that is a word": put(SPEC_KEY, "train", "seed", to="x"),
    "a spec that is a word": put(SPEC_KEY, to="spec"),
}


@pytest.fixture(scope="module")
def content(run):
    return torch.load(run, weights_only=True)


@pytest.mark.parametrize("name", TAMPERED)
def test_it_is_refused_as_a_whole(run, content, scenes, tmp_path, name):
    spoilt = copy.deepcopy(content)
    TAMPERED[name](spoilt)
    path = tmp_path / "model_epoch_000_step_00004.pth"
    torch.save(spoilt, path)
    start = f"train.resume_training_checkpoint_path={path}"
    with pytest.raises(UserError) as caught:
        support.train(scenes, tmp_path / "on", start, "train.model_ema=true", "train.seed=-1")
    assert isinstance(caught.value, DataError)
    assert str(path) in caught.value.message
    written = tmp_path / "on" / "train"
    assert not list(written.glob("*.pth"))
    assert not (written / STATUS).exists() or "Starting epoch" not in (written / STATUS).read_text()


def test_as_it_was_it_resumes(run, scenes, tmp_path):
    start = f"train.resume_training_checkpoint_path={run.resolve()}"
    assert support.train(scenes, tmp_path, start, "train.model_ema=true")["epochs"] == 2


def test_of_another_optimiser_under_the_same_name(scenes, tmp_path):
    """SGD without momentum has no state: that of Adam is not taken for it."""
    support.train(scenes, tmp_path, "train.num_epochs=1", "train.optimizer.type=SGD")
    path = (tmp_path / "train" / LATEST).resolve()
    start = f"train.resume_training_checkpoint_path={path}"
    sgd = "train.optimizer.type=SGD"
    assert support.train(scenes, tmp_path / "on", start, sgd)["epochs"] == 2
    content = torch.load(path, weights_only=True)
    content[SPEC_KEY]["train"]["optimizer"]["type"] = "Adam"
    torch.save(content, path)
    with pytest.raises(DataError, match="other options than Adam"):
        support.train(scenes, tmp_path / "adam", start)

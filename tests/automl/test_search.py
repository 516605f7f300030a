"""The search itself, its trainer fake: what counts, what is cut short, what goes on."""

from __future__ import annotations

import json
import os
import signal
import threading
from pathlib import Path

import jsonschema
import optuna
import pytest
import sqlalchemy.exc

from automl import fake_train
from automl import searching as made
from ocdnet.automl import child
from ocdnet.automl import search as module
from ocdnet.automl.study import best, open_study
from ocdnet.automl.trial import TrialRun, Worker
from ocdnet.config import spec
from ocdnet.errors import DataError, EnvironmentFault, RunError, SpecError
from ocdnet.runs.history import Epoch
from ocdnet.runs.jobs import run_folders
from ocdnet_generator import records

STATUS = jsonschema.Draft202012Validator(records.status())
RESULTS = jsonschema.Draft202012Validator(records.results())


@pytest.fixture
def how(monkeypatch):
    """How the fake trainer behaves."""
    return lambda **given: monkeypatch.setenv("FAKE_TRAIN", json.dumps(given))


@pytest.fixture
def watched_closely(monkeypatch):
    """A trial is looked at at every epoch, however busy the machine is."""
    monkeypatch.setattr(child, "_POLL_SECONDS", 0.03)


def told(folder):
    lines = [json.loads(line) for line in (folder / "status.json").read_text().splitlines()]
    for line in lines:
        STATUS.validate(line)
    return lines


class TestAWholeSearch:
    @pytest.fixture(scope="class")
    def found(self, tmp_path_factory):
        out = tmp_path_factory.mktemp("whole")
        return made.ran(made.search(out, 6))

    def test_its_files_are_described(self, found):
        folder = Path(found["results_dir"])
        RESULTS.validate(found)
        lines = told(folder)
        assert [line["status"] for line in lines] == ["STARTED", *["RUNNING"] * 6, "SUCCESS"]
        assert [line["trial"] for line in lines[1:-1]] == list(range(6))

    def test_the_first_trial_is_the_spec_as_it_is(self, found):
        first = found["trials"][0]
        assert first["baseline"] is True
        assert first["settings"] == {made.LR: 0.001, made.DECAY: 0.0}
        assert [row["baseline"] for row in found["trials"][1:]] == [False] * 5

    def test_each_trial_trains_what_its_row_says(self, found):
        for row, run in zip(found["trials"], made.runs(Path(found["results_dir"])), strict=True):
            assert run["folder"] == f"trial_{row['trial']:03d}" == Path(row["folder"]).name
            for key, value in row["settings"].items():
                assert float(run["given"][key]) == value
            assert 1e-5 <= row["settings"][made.LR] <= 1e-2
            rate = row["settings"][made.LR]
            assert row["value"] == row["train_loss"] == fake_train.loss(rate, made.EPOCHS)

    def test_the_best_is_the_least_loss(self, found):
        best = min(found["trials"], key=lambda row: row["value"])
        assert found["best"]["trial"] == best["trial"]
        folder = Path(found["results_dir"])
        link = folder / "model_best.pth"
        assert link.is_symlink()
        assert link.resolve() == Path(best["folder"]).resolve() / "model_best.pth"

    def test_the_best_spec_is_valid_and_trains_the_best(self, found):
        path = Path(found["best_spec"])
        experiment = spec.load("train", path).experiment
        assert experiment.train.optimizer.args.lr == found["best"]["settings"][made.LR]
        assert experiment.train.results_dir == ""
        assert experiment.dataset.train_dataset.data_path == ["/words"]

    def test_it_says_which_parameter_mattered(self, found):
        shares = found["importance"]
        assert set(shares) == {made.LR, made.DECAY}
        assert shares[made.LR] > shares[made.DECAY]

    def test_a_finished_trial_is_never_repeated(self, found):
        folder = Path(found["results_dir"])
        before = made.runs(folder)
        again = made.ran(made.search(folder.parent, 6))
        assert made.runs(folder) == before
        assert again["trials"] == found["trials"]
        more = made.ran(made.search(folder.parent, 7))
        assert len(made.runs(folder)) == 7
        assert more["trials"][:6] == found["trials"]

    def test_another_search_does_not_join_it(self, found):
        out = Path(found["results_dir"]).parent
        with pytest.raises(SpecError) as raised:
            made.ran(made.search(out, 9, "train.num_epochs=3"))
        assert raised.value.code == "another-search"
        assert (raised.value.got, raised.value.expected) == (3, made.EPOCHS)
        assert "train.num_epochs" in raised.value.message
        with pytest.raises(SpecError, match="another metric"):
            made.ran(made.search(out, 9, metric="hmean"))


def test_hmean_is_maximized_and_is_that_of_the_best_epoch(tmp_path):
    found = made.ran(made.search(tmp_path, 5, metric="hmean"))
    best = max(found["trials"], key=lambda row: row["value"])
    assert (found["direction"], found["best"]["trial"]) == ("maximize", best["trial"])
    rate = best["settings"][made.LR]
    assert best["value"] == 1 / fake_train.loss(rate, made.EPOCHS)


def test_of_trials_with_the_same_hmean_the_one_of_the_lowest_loss_is_the_best(tmp_path):
    trials = [
        optuna.trial.create_trial(value=hmean, user_attrs={"kpis": {"train_loss": loss}})
        for hmean, loss in ((0.0, 3.0), (0.0, 2.0), (0.0, 4.0))
    ]
    assert best(trials, made.search(tmp_path, metric="hmean")) is trials[1]
    untold = optuna.trial.create_trial(value=0.0)
    assert best([untold, *trials], made.search(tmp_path, metric="hmean")) is trials[1]


def test_a_trial_that_fails_is_a_failed_trial(tmp_path, how):
    how(fail_above=0.0015)
    found = made.ran(made.search(tmp_path, 8))
    failed = [row for row in found["trials"] if row["state"] == "failed"]
    assert failed, "the seed draws none above"
    assert found["states"]["complete"] == 8 - len(failed)
    assert all(row["settings"][made.LR] >= 0.0015 for row in failed)
    assert failed[0]["error"] == "It says out-of-memory. Mend it."
    assert "value" not in failed[0]


def test_a_trainer_that_is_killed_is_a_failed_trial(tmp_path, how):
    how(die=int(signal.SIGKILL))
    with pytest.raises(RunError) as raised:
        made.ran(made.search(tmp_path, 5))
    assert raised.value.code == "every-trial-failed"
    assert "The first 3 trials failed" in raised.value.message
    assert "ended by signal 9" in raised.value.got
    assert made.results(tmp_path / "automl")["states"]["failed"] == 3
    assert told(tmp_path / "automl")[-1]["status"] == "FAILURE"


@pytest.mark.parametrize(("code", "kind"), [(3, "spec"), (4, "data"), (5, "machine")])
def test_what_no_parameter_mends_ends_the_search_at_once(tmp_path, how, code, kind):
    how(fail=f"bad-{kind}", exit=code)
    with pytest.raises(Exception, match=f"It says bad-{kind}") as raised:
        made.ran(made.search(tmp_path, 5))
    assert (raised.value.code, raised.value.exit_code) == (f"bad-{kind}", code)
    assert len(made.runs(tmp_path / "automl")) == 1
    # Mended, the same command goes on with the spec as it is.
    how()
    found = made.ran(made.search(tmp_path, 5))
    assert found["states"] == {"complete": 5, "pruned": 0, "failed": 0, "running": 0}
    assert found["trials"][0]["baseline"] is True


def test_a_spec_that_was_mended_after_the_first_trial_failed_starts_anew(tmp_path, how):
    how(fail="bad-data", exit=4)
    with pytest.raises(Exception, match="bad-data"):
        made.ran(made.search(tmp_path, 2))
    how()
    found = made.ran(made.search(tmp_path, 2, "train.num_epochs=2"))
    assert [row["trial"] for row in found["trials"]] == [0, 1]
    assert found["states"]["complete"] == 2


@pytest.mark.usefixtures("watched_closely")
class TestPruning:
    """One trial after the other: what is compared with what is then certain."""

    @pytest.mark.parametrize("pruner", ["asha", "hyperband"])
    def test_what_is_behind_is_ended_early(self, tmp_path, how, pruner):
        how(seconds=0.15)
        wanted = made.search(tmp_path, 7, "train.num_epochs=9", pruner=pruner)
        found = made.ran(wanted)
        pruned = [row for row in found["trials"] if row["state"] == "pruned"]
        assert pruned, found["states"]
        assert all(row["epochs"] < 9 and row["stopped"] == "pruned" for row in pruned)
        assert all("value" not in row for row in pruned)
        assert found["trials"][0]["state"] == "complete", "what is compared with is not ended"
        assert found["best"]["state"] == "complete"

    def test_not_before_warm_up_is_over(self, tmp_path, how):
        how(seconds=0.2)
        warm = ("train.num_epochs=6", "train.lr_scheduler.args.warmup_epoch=3")
        found = made.ran(made.search(tmp_path, 6, *warm, pruner="asha"))
        pruned = [row for row in found["trials"] if row["state"] == "pruned"]
        assert pruned
        assert all(row["epochs"] >= 4 for row in pruned)


@pytest.mark.usefixtures("watched_closely")
class TestBudgets:
    def test_epochs_of_all_trials(self, tmp_path, how):
        how(seconds=0.6)
        found = made.ran(made.search(tmp_path, None, epochs=2 * made.EPOCHS + 1))
        assert [row["state"] for row in found["trials"]] == ["complete", "complete", "pruned"]
        last = found["trials"][-1]
        assert (last["epochs"], last["stopped"]) == (1, "budget")

    def test_minutes(self, tmp_path, how):
        how(seconds=0.2)
        found = made.ran(made.search(tmp_path, None, minutes=0.1))
        assert found["states"]["complete"] >= 1
        assert found["states"]["running"] == 0

    def test_a_budget_that_no_trial_fits_into(self, tmp_path, how):
        how(seconds=5)
        with pytest.raises(RunError) as raised:
            made.ran(made.search(tmp_path, None, minutes=0.02))
        assert (raised.value.code, raised.value.got) == ("no-trial-finished", "1 pruned")
        assert raised.value.hint == "Run the same command again with a larger budget: it goes on."

    def test_a_small_space_is_not_tried_twice(self, tmp_path):
        wanted = made.search(
            tmp_path,
            9,
            metric="hmean",
            asked=["train.optimizer.type"],
            fixed=[made.LR, made.DECAY],
        )
        found = made.ran(wanted)
        tried = [row["settings"]["train.optimizer.type"] for row in found["trials"]]
        assert sorted(tried) == ["Adam", "AdamW"]


class TestWorkers:
    def test_trials_at_a_time_share_the_processors(self, tmp_path, how, monkeypatch):
        monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
        how(seconds=0.3)
        found = made.ran(made.search(tmp_path, 4, workers=2))
        assert found["states"]["complete"] == 4
        seen = {run["environment"]["OMP_NUM_THREADS"] for run in made.runs(tmp_path / "automl")}
        assert seen == {str(max(1, len(os.sched_getaffinity(0)) // 2))}

    def test_each_has_its_own_gpu(self, tmp_path, how):
        how(seconds=0.3)
        made.ran(made.search(tmp_path, 4, workers=2), gpus=["2", "5"])
        started = made.runs(tmp_path / "automl")
        assert {run["environment"]["CUDA_VISIBLE_DEVICES"] for run in started} == {"2", "5"}
        given = started[0]["given"]
        assert (given["train.num_gpus"], given["train.gpu_ids"]) == ("1", "[0]")

    def test_in_a_slurm_job_a_trial_is_no_task_of_it(self, tmp_path, how, monkeypatch):
        monkeypatch.setenv("SLURM_NTASKS", "2")
        how(seconds=0.1)
        made.ran(made.search(tmp_path, 1))
        (started,) = made.runs(tmp_path / "automl")
        assert started["environment"]["SLURM_NTASKS"] is None

    def test_two_processes_share_a_journal(self, tmp_path):
        processes = [made.command(tmp_path, "--trials", "9", seconds=0.1) for _ in range(2)]
        documents = [json.loads(process.communicate(timeout=120)[0]) for process in processes]
        assert [process.returncode for process in processes] == [0, 0], documents
        found = made.results(tmp_path / "automl")
        assert found["states"] == {"complete": 9, "pruned": 0, "failed": 0, "running": 0}
        # Each trial was trained once, and both processes had some.
        started = made.runs(tmp_path / "automl")
        assert [run["folder"] for run in started] == [
            Path(r["folder"]).name for r in found["trials"]
        ]
        lines = told(tmp_path / "automl")
        assert sum(line["message"] == "Starting OCDNet automl." for line in lines) == 2
        assert lines[-1]["status"] == "SUCCESS"
        assert {document["best"]["trial"] for document in documents} == {found["best"]["trial"]}


class TestKilled:
    def test_an_interrupt_lets_the_training_end_and_the_search_go_on(self, tmp_path):
        process = made.command(tmp_path, "--trials", "3", seconds=0.3)
        folder = tmp_path / "automl"
        made.wait_until(lambda: len(fake_epochs(folder / "trial_001")) >= 2, process)
        process.send_signal(signal.SIGINT)
        out, _ = process.communicate(timeout=60)
        assert process.returncode == 130
        assert json.loads(out)["error"]["code"] == "interrupted"
        assert told(folder)[-1]["message"] == "interrupted"
        assert last_state(folder / "trial_001") == "FAILURE"
        before = fake_epochs(folder / "trial_001")
        found = made.ran(made.search(tmp_path, 3))
        assert found["states"]["complete"] == 3
        # The training went on in its folder from where it was; nothing was trained twice.
        assert fake_epochs(folder / "trial_001") == list(range(made.EPOCHS))
        assert len(before) < made.EPOCHS
        assert [len(run) for run in starts_by_folder(folder).values()] == [1, 2, 1]

    def test_a_search_that_was_killed_takes_what_its_training_reached(self, tmp_path):
        process = made.command(tmp_path, "--trials", "3", seconds=0.4)
        folder = tmp_path / "automl"
        made.wait_until(lambda: len(fake_epochs(folder / "trial_001")) >= 1, process)
        process.kill()
        process.communicate()
        # Its training lives, and while it does, its trial is nobody else's.
        found = made.ran(made.search(tmp_path, 2))
        assert found["states"] == {"complete": 1, "pruned": 0, "failed": 0, "running": 1}
        assert told(folder)[-1]["status"] != "SUCCESS"
        made.wait_until(lambda: last_state(folder / "trial_001") == "SUCCESS")
        made.wait_until(lambda: not alive(starts_by_folder(folder)["trial_001"][0]["pid"]))
        found = made.ran(made.search(tmp_path, 3))
        assert found["states"] == {"complete": 3, "pruned": 0, "failed": 0, "running": 0}
        assert [len(run) for run in starts_by_folder(folder).values()] == [1, 1, 1]

    def test_a_search_and_a_training_that_were_killed_together_go_on(self, tmp_path):
        process = made.command(tmp_path, "--trials", "2", seconds=0.3)
        folder = tmp_path / "automl"
        made.wait_until(lambda: len(fake_epochs(folder / "trial_000")) >= 2, process)
        process.kill()
        process.communicate()
        os.kill(starts_by_folder(folder)["trial_000"][0]["pid"], signal.SIGKILL)
        made.wait_until(lambda: not alive(starts_by_folder(folder)["trial_000"][0]["pid"]))
        found = made.ran(made.search(tmp_path, 2))
        assert found["states"] == {"complete": 2, "pruned": 0, "failed": 0, "running": 0}
        assert found["trials"][0]["baseline"] is True
        assert fake_epochs(folder / "trial_000") == list(range(made.EPOCHS))


def test_the_first_error_of_a_worker_ends_the_others(tmp_path, how, monkeypatch):
    how(seconds=20)
    folder = tmp_path / "automl"

    def starts(_record, number, _settings):
        if number == 1:
            made.wait_until(lambda: made.runs(folder))
            raise DataError("broken", "The record is broken")

    monkeypatch.setattr(module.Recorder, "starts", starts)
    with pytest.raises(DataError, match="broken"):
        made.ran(made.search(tmp_path, 4, workers=2))
    assert not alive(made.runs(folder)[0]["pid"])


def test_a_database_that_goes_away(tmp_path, monkeypatch):
    def ask(*_):
        raise sqlalchemy.exc.OperationalError("select", {}, Exception("server closed"))

    wanted = made.search(tmp_path, 2, storage=f"sqlite:///{tmp_path}/study.db", study="words")
    monkeypatch.setattr(optuna.study.Study, "ask", ask)
    with pytest.raises(EnvironmentFault) as raised:
        made.ran(wanted)
    assert (raised.value.code, "server closed" in raised.value.hint) == ("no-storage", True)
    assert told(tmp_path / "automl")[-1]["status"] == "FAILURE"
    monkeypatch.undo()
    assert made.ran(wanted)["states"]["complete"] == 2


def test_a_folder_that_cannot_be_written(tmp_path):
    (tmp_path / "automl").write_text("a file")
    with pytest.raises(EnvironmentFault) as raised:
        made.ran(made.search(tmp_path, 2))
    assert raised.value.code == "cannot-write"


def test_a_trial_s_folder_that_cannot_be_made(tmp_path):
    (tmp_path / "automl").mkdir()
    (tmp_path / "automl" / "trial_000").write_text("a file")
    with pytest.raises(EnvironmentFault) as raised:
        made.ran(made.search(tmp_path, 2))
    assert raised.value.code == "cannot-write"
    assert "trial_000" in raised.value.message


def test_the_jobs_of_a_results_folder_know_it(tmp_path):
    made.ran(made.search(tmp_path, 3))
    for root in (tmp_path, tmp_path / "automl"):
        (job,) = run_folders(root)
        assert (job.action, job.progress.state) == ("automl", "SUCCESS")
        assert job.search.best.trial in range(3)
        assert job.files.best == tmp_path / "automl" / "model_best.pth"


def fake_epochs(folder):
    return fake_train.epochs_in(folder) if (folder / "status.json").is_file() else []


def last_state(folder):
    lines = (folder / "status.json").read_text().splitlines()
    return json.loads(lines[-1])["status"] if lines else None


def starts_by_folder(folder):
    found = {}
    for run in made.runs(folder):
        found.setdefault(run["folder"], []).append(run)
    return found


def alive(pid):
    """Whether a process lives; one that nobody has waited for does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def test_an_epoch_is_heard_of_when_its_loss_is_told(tmp_path):
    """The loss comes a line after the epoch: whoever looks in between must look again."""
    wanted = made.search(tmp_path, 1)
    study = open_study(wanted)
    worker = Worker(command=(), gpu=None, stop=threading.Event(), deadline=None)
    run = TrialRun(study.ask(), {}, wanted, study, worker)
    epoch = Epoch(1, {"hmean": 0.5})
    assert run._reason_to_stop([epoch]) == ""
    assert study.trials[0].intermediate_values == {}
    epoch.values["train_loss"] = 2.5
    run._reason_to_stop([epoch])
    run._reason_to_stop([epoch])
    assert study.trials[0].intermediate_values == {1: 2.5}

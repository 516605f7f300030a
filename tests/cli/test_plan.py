"""`ocdnet plan` as a process: JSON on stdout, exit codes, nothing heavy, nothing written."""

import json
import shlex
import subprocess
import sys
import time

import pytest

import processes
import support
from ocdnet.tree import yaml_io

PLAN = [sys.executable, "-m", "ocdnet.cli.main", "plan"]


@pytest.fixture
def work(tmp_path):
    """A folder to work in, with a split folder and a spec file of a wrong type."""
    for name in ("train/img/a.png", "train/gt/gt_a.txt", "bare/img/a.png"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / "wrong.yaml").write_text("train: {num_epochs: many}\n")
    return tmp_path


def run(work, *arguments, stdin=None):
    """Exit code and the JSON document; whatever happens there is one, and no traceback."""
    before = sorted(work.rglob("*"))
    done = subprocess.run(
        [*PLAN, *arguments],
        check=False,
        cwd=work,
        input=stdin,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert "Traceback" not in done.stderr
    if done.returncode:
        assert done.stderr.startswith("error: ")
        assert sorted(work.rglob("*")) == before
    return done.returncode, json.loads(done.stdout)


TRAIN = ("--action", "train", "--train-dataset", "train")


@pytest.mark.parametrize(
    ("arguments", "code", "slug"),
    [
        (["--action", "trian"], 2, "unknown-action"),
        ([*TRAIN, "--automl-policy", "perhaps"], 2, "bad-policy"),
        ([*TRAIN, "--platform", "moon"], 2, "bad-choice"),
        ([*TRAIN, "--trials", "0"], 2, "bad-choice"),
        ([*TRAIN, "--results-dir", "a", "--set", "results_dir=b"], 2, "contradiction"),
        (
            [*TRAIN, "--set", "dataset.train_dataset.data_path=[other]"],
            2,
            "contradiction",
        ),
        (["--action", "train", "--train-dataset", "nowhere"], 4, None),
        (["--action", "train", "--train-dataset", "bare"], 4, None),
        (["--action", "evaluate", "--parent", "nowhere"], 4, None),
        (["--action", "evaluate", "--parent", "train"], 4, "no-job"),
        ([*TRAIN, "--spec", "wrong.yaml"], 3, "wrong-type"),
        ([*TRAIN, "--spec", "absent.yaml"], 3, "bad-yaml"),
        ([*TRAIN, "--set", "train.num_epochs=many"], 3, "wrong-type"),
        (["--request", "Train OCDNet on my signs"], 2, "no-action"),
        (["--request", "テキスト検出モデルを訓練してください"], 2, "no-action"),
        (["--train-dataset", "train"], 2, "no-action"),
        ([*TRAIN, "--request", "train " * 20_000], 2, "request-too-long"),
        (["--what"], 2, "usage"),
    ],
    ids=lambda value: str(value)[:40] if isinstance(value, list) else None,
)
def test_bad_input_is_a_clear_error_and_writes_nothing(work, arguments, code, slug):
    returncode, document = run(work, *arguments, "--write", "run")
    assert returncode == code
    error = document["error"]
    assert error["message"]
    assert error["expected"] or error["hint"]
    if slug:
        assert error["code"] == slug


@pytest.mark.parametrize(
    ("stdin", "slug"),
    [
        ("", "no-request"),
        ("not json", "bad-json"),
        ('{"action": "train", "action": "export"}', "bad-json"),
        ('{"acton": "train"}', "unknown-key"),
        ('{"action": "train", "train_datasets": 3}', "wrong-type"),
        ('{"action": "train", "write": "a"}', "contradiction"),
        ('{"request": "train", "train_datasets": ["train"]}', "no-action"),
        (json.dumps({"action": "train", "request": "x" * 1_000_000}), "request-too-long"),
    ],
)
def test_a_bad_request_on_stdin(work, stdin, slug):
    code, document = run(work, "--write", "run", stdin=stdin)
    assert (code, document["error"]["code"]) == (2, slug)


def test_an_idle_pipe_is_not_awaited_for_ever(work):
    started = time.monotonic()
    with subprocess.Popen(
        PLAN, cwd=work, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    ) as process:
        assert json.loads(process.stdout.read())["error"]["code"] == "no-request"
        assert process.wait(timeout=60) == 2
    assert time.monotonic() - started < 60


def test_json_on_stdin_says_the_same_as_flags(work):
    request = {
        "action": "train",
        "request": "plain training",
        "train_datasets": ["train"],
        "set": {"train": {"num_epochs": 3}, "wandb.name": "a; b"},
    }
    by_json = run(work, stdin=json.dumps(request))
    by_flags = run(
        work,
        *(*TRAIN, "--request", "plain training"),
        *("--set", "train.num_epochs=3", "--set", "wandb.name=a; b"),
    )
    # The first command repeats what was given, each in its words.
    assert by_json[1].pop("commands")[1:] == by_flags[1].pop("commands")[1:]
    assert by_json == by_flags
    assert by_json[0] == 0


def test_an_error_is_one_line_on_stderr_and_all_of_it_on_stdout(work):
    done = subprocess.run(
        [*PLAN, "--request", "x"], cwd=work, capture_output=True, text=True, check=False
    )
    assert done.stderr == "error: The request gives no action\n"
    assert "export: Write a model as ONNX." in json.loads(done.stdout)["error"]["expected"]


def test_open_questions_exit_with_0(work):
    code, document = run(work, "--action", "train")
    assert code == 0
    assert [question["about"] for question in document["missing"]] == ["--train-dataset"]


def test_a_path_that_is_not_here_is_a_warning_for_another_machine(work):
    arguments = ("--action", "train", "--automl-policy", "off", "--train-dataset", "/shared/words")
    code, document = run(work, *arguments, "--platform", "slurm", "--write", "run")
    assert code == 0
    assert any("/shared/words" in warning for warning in document["warnings"])
    assert document["commands"]


ODD = ["a; touch hacked", "$(touch hacked)", 'it\'s "q" & `x`', "ü ñ*?"]


@pytest.mark.parametrize("name", ODD)
def test_shell_metacharacters_in_paths_are_quoted(work, name):
    (work / "train").rename(work / name)
    code, document = run(
        work,
        *("--action", "train", "--automl-policy", "off", "--train-dataset", name),
        *("--set", "train.num_epochs=1"),
    )
    assert code == 0
    program = f'ocdnet() {{ {shlex.join([sys.executable, "-m", "ocdnet.cli.main"])} "$@"; }}'
    first, second = document["commands"]
    subprocess.run(["bash", "-c", f"{program}; {first}"], cwd=work, check=True)
    assert second == "ocdnet train -e train-plan/train.yaml"
    tree = yaml_io.read(work / "train-plan/train.yaml")
    assert tree["dataset"]["train_dataset"]["data_path"] == [name]
    assert not (work / "hacked").exists()


def test_the_printed_commands_run_as_they_stand(tmp_path):
    """The plan that writes, and the training that it plans, line for line in a shell."""
    support.write_blocks(tmp_path / "words/train", 4, seed=0)
    support.write_blocks(tmp_path / "words/test", 2, seed=1)
    sets = [
        *("train.num_epochs=1", "dataset.train_dataset.loader.num_workers=0"),
        "model.preset=base",  # as the starter does not fit the small network
        "dataset.validate_dataset.loader.num_workers=0",
        "dataset.train_dataset.args.pre_processes.0.args.size=[128, 128]",
        "dataset.validate_dataset.args.pre_processes.0.args.short_size=[160, 160]",
    ]
    flags = [word for one in sets for word in ("--set", one)]
    given = ("--action", "train", "--request", "no HPO", "--train-dataset", "words", *flags)
    code, document = run(tmp_path, *given)
    assert (code, document["missing"]) == (0, [])
    assert not (tmp_path / "train-plan").exists()
    program = f'ocdnet() {{ {shlex.join(processes.PLAIN)} "$@"; }}'
    lines = "\n".join(["set -e", program, *document["commands"]])
    done = subprocess.run(
        ["bash", "-c", lines], cwd=tmp_path, env=processes.environment(), capture_output=True,
        text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    for name in ("model_best.pth", "results.json"):
        assert (tmp_path / document["outputs"]["folder"] / name).is_file()


def test_nothing_heavy_is_imported(work):
    code = (
        "import sys; from ocdnet.cli.main import cli; "
        "cli(['plan', '--action', 'train', '--train-dataset', 'train'], standalone_mode=False); "
        "print(sorted(sys.modules), file=sys.stderr)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=work, capture_output=True, text=True, check=True
    )
    modules = done.stderr
    for heavy in ("torch", "pydantic", "numpy", "cv2", "pytorch_lightning", "ocdnet.config"):
        assert f"'{heavy}'" not in modules
    assert "'jsonschema'" in modules  # the plan was really checked


def test_help_shows_examples(work):
    done = subprocess.run([*PLAN, "--help"], cwd=work, capture_output=True, text=True, check=True)
    examples = [line.strip() for line in done.stdout.splitlines() if "ocdnet plan --" in line]
    assert len(examples) >= 3
    assert all("--action" in example or '"action"' in example for example in examples)

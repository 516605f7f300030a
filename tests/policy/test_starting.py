"""What a plan sets of itself: for this machine, for few images, for the parts of a set."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

import support
from ocdnet import hardware
from ocdnet.config.model import ModelConfig
from ocdnet.devices import gpu_indices
from ocdnet.errors import EnvironmentFault, SpecError
from ocdnet.models.factory import BACKBONES, build_model
from ocdnet.policy import starting
from ocdnet.policy.artifacts import Skill, skill_dir
from ocdnet.policy.request import Request
from ocdnet.presets import PRESETS
from ocdnet.spec_keys import PRETRAINED
from ocdnet.tree import keys, yaml_io
from ocdnet.zoo.registry import STARTER
from plans import build

SKILL = Skill(skill_dir())
BATCH, PRECISION = "dataset.train_dataset.loader.batch_size", "train.precision"
STEPS, TRAIN = "dataset.train_dataset.args.pre_processes", "dataset.train_dataset.data_path"
VALIDATE = "dataset.validate_dataset.data_path"
RECIPE = dict(keys.leaves(yaml_io.read(SKILL.root / "references" / starting.RECIPE)))


@pytest.fixture(scope="module")
def words(tmp_path_factory):
    """A set's folder with train/ (3 images) and test/."""
    folder = tmp_path_factory.mktemp("words")
    for part, number in (("train", 3), ("test", 2)):
        support.write_blocks(folder / part, number, seed=0)
    return folder


@pytest.fixture
def few(monkeypatch):
    monkeypatch.setattr(starting, "FEW", 2000)
    monkeypatch.setattr(starting, "_FEWEST_STEPS", 200)


@pytest.fixture
def no_gpu(monkeypatch):
    monkeypatch.setattr(hardware, "gpus", lambda: 0)


def plan(action="train", **given):
    return build(Request(action=action, **given), SKILL, "ocdnet")


def direct(words, **given):
    return plan(automl_policy="off", train_datasets=(str(words / "train"),), **given)


def about(document, text):
    return [line for line in document["why"] if text in line]


@pytest.mark.usefixtures("no_gpu")
class TestThisMachine:
    @pytest.mark.parametrize(("able", "precision"), [(True, "bf16"), (False, None)])
    def test_a_cpu_gets_a_batch_and_a_precision_that_it_can_do(
        self, words, monkeypatch, able, precision
    ):
        monkeypatch.setattr(hardware, "has_bf16", lambda: able)
        document = direct(words)
        assert document["spec_overrides"][BATCH] == 4
        assert document["spec_overrides"].get(PRECISION) == precision  # fp32 is the template's
        assert about(document, BATCH)
        assert about(document, PRECISION)

    def test_what_is_given_stays(self, words):
        document = direct(words, overrides=(f"{BATCH}=16", f"{PRECISION}=fp32"))
        assert not {BATCH, PRECISION} & document["spec_overrides"].keys()
        assert not about(document, "no GPU")

    @pytest.mark.parametrize("platform", ["docker", "slurm", "kubernetes"])
    def test_elsewhere_nothing_is_known_of_gpus(self, words, platform):
        document = direct(words, platform=platform)
        assert not {BATCH, PRECISION} & document["spec_overrides"].keys()

    @pytest.mark.parametrize(
        ("action", "given"),
        [
            ("train", "train.num_gpus=2"),
            ("train", "train.gpu_ids=[1]"),
            ("train", "train.distributed_strategy=fsdp"),
            ("evaluate", "evaluate.gpu_ids=[3]"),
            ("prune", "prune.gpu_id=1"),
            ("quantize", "quantize.device=cuda:2"),
        ],
    )
    def test_gpus_that_are_not_here_are_a_warning(self, words, action, given):
        own = {"automl_policy": "off", "train_datasets": (str(words / "train"),)}
        more = own if action == "train" else {"eval_datasets": (str(words / "test"),)}
        models = {"evaluate": "checkpoint", "prune": "checkpoint", "quantize": "model_path"}
        sets = (given, *(f"{action}.{models[name]}=a.pth" for name in models if name == action))
        (warning,) = [
            w for w in plan(action, overrides=sets, **more)["warnings"] if "exit code 5" in w
        ]
        assert "slurm or kubernetes" in warning
        there = plan(action, overrides=sets, platform="slurm", **more)
        assert not any("exit code 5" in w for w in there["warnings"])

    @pytest.mark.parametrize(
        "given",
        [
            *("train.num_gpus=two", "train.num_nodes=x", "train.accumulate_grad_batches=[1]"),
            *("train.num_epochs=many", f"{BATCH}=a", f"{PRECISION}=3"),
        ],
    )
    def test_a_value_of_a_wrong_type_is_refused_before_anything_is_computed(self, words, given):
        with pytest.raises(SpecError) as raised:
            direct(words, overrides=(given,))
        assert raised.value.key == given.partition("=")[0]

    def test_a_number_of_gpus_without_bound_is_only_a_number(self, words):
        document = direct(words, overrides=("train.num_gpus=1000000000",))
        assert any("exit code 5" in warning for warning in document["warnings"])

    def test_a_crop_whose_size_is_none_has_no_time(self, words):
        size = f"{STEPS}=[{{type: WordCrop, args: {{size: [a, b]}}}}]"
        document = plan(train_datasets=(str(words / "train"),), overrides=(size,))
        assert document["commands"]

    @pytest.mark.parametrize("count", [1, -1, 2])
    def test_the_warning_is_that_of_the_run(self, words, count, monkeypatch):
        monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
        document = direct(words, overrides=(f"train.num_gpus={count}",))
        warned = any("exit code 5" in warning for warning in document["warnings"])
        try:
            gpu_indices(count, [0] if count == 1 else [])
        except EnvironmentFault as fault:
            assert (warned, fault.exit_code) == (True, 5)
        else:
            assert not warned

    def test_an_earlier_runs_own_settings_are_kept(self, words, tmp_path):
        folder = tmp_path / "run" / "prune"
        folder.mkdir(parents=True)
        (folder / "pruned_0.3.pth").write_bytes(b"a model")
        tree = yaml_io.read(SKILL.template_path("train"))
        keys.set(tree, BATCH, 9)
        (folder / "experiment.yaml").write_text(yaml_io.dump(tree))
        data = (str(words / "train"),)
        document = plan("retrain", parent=str(folder), train_datasets=data)
        assert document["spec_overrides"][BATCH] == 9


class TestGpus:
    @pytest.fixture(autouse=True)
    def _fresh(self, monkeypatch):
        monkeypatch.undo()  # the conftest's machine
        monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
        hardware._present.cache_clear()
        yield
        hardware._present.cache_clear()

    def test_the_driver_is_asked(self, monkeypatch, tmp_path):
        (tmp_path / "0000:01:00.0").mkdir()
        (tmp_path / "0000:02:00.0").mkdir()
        monkeypatch.setattr(hardware, "_PROC", tmp_path)
        assert hardware.gpus() == 2
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "1")
        assert hardware.gpus() == 1
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
        assert hardware.gpus() == 0

    @pytest.mark.parametrize(
        ("script", "number"),
        [("printf 'GPU 0: H100 (UUID: x)\\nGPU 1: H100 (UUID: y)\\n'", 2), ("exit 9", 0)],
    )
    def test_or_nvidia_smi(self, monkeypatch, tmp_path, script, number):
        program = tmp_path / "nvidia-smi"
        program.write_text(f"#!/bin/sh\n{script}\n")
        program.chmod(0o755)
        monkeypatch.setattr(hardware, "_PROC", tmp_path / "none")
        monkeypatch.setattr(shutil, "which", lambda _: str(program))
        assert hardware.gpus() == number

    def test_a_machine_that_does_not_answer_has_none(self, monkeypatch, tmp_path):
        def hang(*_, **__):
            raise subprocess.TimeoutExpired("nvidia-smi", 5)

        monkeypatch.setattr(hardware, "_PROC", tmp_path / "none")
        monkeypatch.setattr(shutil, "which", lambda _: "/bin/false")
        monkeypatch.setattr(subprocess, "run", hang)
        assert hardware.gpus() == 0


@pytest.mark.usefixtures("few")
class TestFewImages:
    def test_the_recipe_is_taken_key_by_key(self, words):
        changes = direct(words, overrides=("model.preset=base",))["spec_overrides"]
        template = SKILL.schema("train")["default"]
        for key, value in RECIPE.items():
            assert changes.get(key, keys.get(template, key)) == value
        given = direct(words, overrides=("train.num_epochs=7", f"{BATCH}=2"))["spec_overrides"]
        assert (given["train.num_epochs"], given[BATCH]) == (7, 2)
        assert given[STEPS] == RECIPE[STEPS]

    def test_a_search_that_runs_here_starts_from_it_too(self, words):
        document = plan(train_datasets=(str(words / "train"),))
        assert document["route"]["runner"] == "ocdnet automl"
        assert document["spec_overrides"][STEPS] == RECIPE[STEPS]

    def test_other_weights_keep_their_rate(self, words):
        sets = ("model.pretrained_model_path=resnet18.pth",)
        assert "train.optimizer.args.lr" not in direct(words, overrides=sets)["spec_overrides"]

    def test_many_images_keep_taos_settings(self, words, monkeypatch):
        monkeypatch.setattr(starting, "FEW", 3)
        assert STEPS not in direct(words)["spec_overrides"]

    @pytest.mark.parametrize("policy", ["on", "off"])
    def test_nvidias_image_gets_what_it_knows(self, words, policy):
        given = {"train_datasets": (str(words / "train"),), "platform": "tao-docker"}
        document = plan(automl_policy=policy, **given)
        changes = document["spec_overrides"]
        assert "WordCrop" not in str(changes)
        (crop,) = [step for step in changes[STEPS] if step["type"] == "EastRandomCropData"]
        assert crop["args"]["min_crop_side_ratio"] == 0.6
        assert changes["train.optimizer.args.lr"] == 0.0003
        assert not {PRECISION, "train.optimizer.type"} & changes.keys()

    def test_steps_are_said_and_few_of_them_are_a_warning_with_the_remedy(self, words):
        document = direct(words, overrides=("train.num_epochs=20", f"{BATCH}=2"))
        assert about(document, "Steps an epoch: 2, of 2 images; 40 in all.")
        (warning,) = [w for w in document["warnings"] if "are few" in w]
        assert "train.num_epochs=500 makes 1,000" in warning
        sets = ("train.num_epochs=500", f"{BATCH}=2")
        assert not any("are few" in w for w in direct(words, overrides=sets)["warnings"])

    def test_the_steps_of_a_datalist_are_said_too(self, words, tmp_path):
        listed = tmp_path / "list.txt"
        names = sorted((words / "train/img").iterdir())
        lines = [f"{name} {words}/train/gt/gt_{name.stem}.txt\n" for name in names]
        listed.write_text("\n".join(lines))
        document = plan(automl_policy="off", train_datasets=(str(listed),))
        assert about(document, "Steps an epoch")


NAME = "model.pretrained_model_path=dbnet-r18-icdar2015"


def internet(document):
    return [w for w in document["warnings"] if "needs the internet" in w]


@pytest.mark.usefixtures("few")
class TestPublicWeights:
    def test_few_images_start_from_what_the_package_brings(self, words):
        document = direct(words)
        changes = document["spec_overrides"]
        assert changes[PRETRAINED] == STARTER.name
        network = {key for key in changes if key.startswith("model.")} - {PRETRAINED}
        assert {key: changes[key] for key in network}.items() <= PRESETS["small"].items()
        assert STARTER.name in document["why"][0]
        assert "--set model.preset=base" in document["why"][0]
        assert not internet(document)
        kept = direct(words, overrides=("model.preset=base",))["spec_overrides"]
        assert PRETRAINED not in kept
        assert "model.inner_channels" not in kept

    @pytest.mark.parametrize("key", ["model.backbone=resnet18", "model.inner_channels=64"])
    def test_who_names_a_part_of_the_network_gets_no_weights(self, words, key):
        assert PRETRAINED not in direct(words, overrides=(key,))["spec_overrides"]

    def test_our_own_image_starts_so_too(self, words):
        document = direct(words, platform="docker", image="registry/ocdnet:1")
        assert document["spec_overrides"][PRETRAINED] == STARTER.name

    def test_few_images_are_offered_a_better_start_that_is_not_taken_unasked(self, words):
        document = direct(words)
        offer = document["better_start"]
        assert offer["needs_internet"] is True
        taken = direct(words, overrides=tuple(offer["set"]))
        assert taken["spec_overrides"]["model.backbone"] == "resnet18"
        assert "better_start" not in taken
        (warning,) = internet(taken)
        assert "ocdnet weights fetch dbnet-r18-icdar2015" in warning

    def test_a_search_gets_the_offer_too(self, words):
        assert "better_start" in plan(train_datasets=(str(words / "train"),))

    @pytest.mark.parametrize(
        "given",
        [
            {"overrides": ("model.backbone=resnet50",)},
            {"overrides": ("model.pretrained_model_path=mine.pth",)},
            {"platform": "tao-docker"},
        ],
    )
    def test_who_has_chosen_or_trains_in_nvidias_image_gets_none(self, words, given):
        document = direct(words, **given)
        assert "better_start" not in document
        assert document["spec_overrides"].get(PRETRAINED) != STARTER.name

    def test_nor_who_has_many_images(self, words, monkeypatch):
        monkeypatch.setattr(starting, "FEW", 3)
        assert "better_start" not in direct(words)

    def test_nvidias_image_is_said_not_to_know_the_name(self, words):
        document = direct(words, platform="tao-docker", overrides=(NAME,))
        assert any("does not know the name" in w for w in document["warnings"])

    def test_a_mistyped_name_is_refused(self, words):
        with pytest.raises(SpecError) as raised:
            direct(words, overrides=("model.pretrained_model_path=dbnet-r18-icdar",))
        assert raised.value.did_you_mean == "dbnet-r18-icdar2015"

    @pytest.mark.parametrize("platform", ["docker", "slurm", "kubernetes"])
    def test_a_name_is_no_folder_to_mount(self, words, platform, tmp_path, monkeypatch):
        monkeypatch.chdir(tmp_path)
        given = {"platform": platform, "write": "job", "results_dir": str(tmp_path / "out")}
        document = direct(words, overrides=(NAME,), image="registry/ocdnet:1", **given)
        files = [path.read_text() for path in (tmp_path / "job").iterdir()]
        assert any("dbnet-r18-icdar2015" in text for text in files)
        for text in (*files, *document["commands"]):
            assert f"{tmp_path}/dbnet" not in text


class TestTime:
    def test_a_search_of_hours_names_the_direct_route(self, words, monkeypatch, no_gpu):
        given = {"train_datasets": (str(words / "train"),)}
        short = plan(**given)
        assert not any("--automl-policy off" in w for w in short["warnings"])
        long = plan(**given, overrides=("train.num_epochs=20000",))
        (warning,) = [w for w in long["warnings"] if "--automl-policy off" in w]
        assert "10 trainings" in warning
        monkeypatch.setattr(hardware, "gpus", lambda: 1)  # of a GPU nothing is known
        there = plan(**given, overrides=("train.num_epochs=20000",))
        assert not any("--automl-policy off" in w for w in there["warnings"])

    def test_what_was_measured_goes_before_what_is_guessed(self, words):
        request = Request(action="train", train_datasets=(str(words / "train"),))
        slow, fast = (build(request, SKILL, "ocdnet", seconds) for seconds in (7200.0, 1.0))
        assert any("about 20.0 h here" in warning for warning in slow["warnings"])
        assert not any("--automl-policy off" in warning for warning in fast["warnings"])

    @pytest.mark.parametrize(
        ("backbone", "width"),
        [("deformable_resnet18", 256), ("mobilenet_v3_large", 128), ("mobilenet_v3_large", 64)],
    )
    def test_the_stored_work_of_a_step_is_what_torch_counts(self, backbone, width):
        model = build_model(ModelConfig(backbone=backbone, inner_channels=width)).train()
        with FlopCounterMode(display=False) as counter:
            model(torch.zeros(2, 3, 128, 128)).sum().backward()
        counted = counter.get_total_flops() / 1e9 / (2 * 128 * 128 / 1e6)
        assert starting.gigaflop(backbone, width) == pytest.approx(counted, rel=0.02)

    def test_every_backbone_has_one(self):
        assert starting.GIGAFLOP.keys() == BACKBONES.keys()


class TestParts:
    def test_a_set_is_trained_on_one_part_and_validated_on_the_other(self, words):
        document = plan(automl_policy="off", train_datasets=(str(words),))
        changes = document["spec_overrides"]
        assert changes[TRAIN] == [str(words / "train")]
        assert changes[VALIDATE] == [str(words / "test")]
        assert about(document, str(words / "train"))
        assert about(document, str(words / "test"))
        assert document["missing"] == []

    @pytest.mark.parametrize("name", ["val", "validation", "Test", "VALID"])
    def test_by_any_of_the_usual_names(self, words, tmp_path, name):
        shutil.copytree(words / "train", tmp_path / "Train")
        shutil.copytree(words / "test", tmp_path / name)
        document = plan(automl_policy="off", train_datasets=(str(tmp_path),))
        assert document["spec_overrides"][TRAIN] == [str(tmp_path / "Train")]
        assert document["spec_overrides"][VALIDATE] == [str(tmp_path / name)]

    def test_a_training_is_not_validated_on_the_test_where_there_is_more(self, words, tmp_path):
        for name in ("train", "val", "test"):
            shutil.copytree(words / "test", tmp_path / name)
        given = {"automl_policy": "off", "train_datasets": (str(tmp_path),)}
        assert plan(**given)["spec_overrides"][VALIDATE] == [str(tmp_path / "val")]
        sets = ("evaluate.checkpoint=a.pth",)
        scored = plan("evaluate", eval_datasets=(str(tmp_path),), overrides=sets)
        assert scored["spec_overrides"][VALIDATE] == [str(tmp_path / "test")]

    def test_other_validation_data_go_before_the_sets_own(self, words, tmp_path):
        own = Path(shutil.copytree(words / "test", tmp_path / "mine"))
        given = {"train_datasets": (str(words),), "eval_datasets": (str(own),)}
        document = plan(automl_policy="off", **given)
        assert document["spec_overrides"][VALIDATE] == [str(own)]
        assert not about(document, str(words / "test"))

    def test_it_holds_for_keys_of_the_spec(self, words):
        document = plan(automl_policy="off", overrides=(f"{TRAIN}=[{words}]",))
        assert document["spec_overrides"][TRAIN] == [str(words / "train")]
        assert document["spec_overrides"][VALIDATE] == [str(words / "test")]

    def test_labels_that_can_t_be_read_are_told_with_file_and_line(self, words, tmp_path):
        shutil.copytree(words, tmp_path / "bad")
        label = tmp_path / "bad/train/gt/gt_img_2.txt"
        label.write_text(label.read_text() + "1,2,3,word\n")
        (tmp_path / "bad/test/gt/gt_img_1.txt").unlink()
        warnings = plan(automl_policy="off", train_datasets=(str(tmp_path / "bad"),))["warnings"]
        assert any(f"{label}:3" in warning for warning in warnings)
        assert any("img_1.png" in warning for warning in warnings)


@pytest.mark.parametrize(
    ("action", "given", "chosen"),
    [
        ("inference", {}, "auto"),
        ("inference", {"overrides": ("inference.resize=tile",)}, "tile"),
        ("inference", {"platform": "tao-docker"}, None),
        ("evaluate", {}, None),
    ],
)
def test_inference_that_runs_here_keeps_the_aspect(words, action, given, chosen):
    """NVIDIA's image has no such key, and scores must stay comparable."""
    data = {
        "inference_dataset": str(words / "test" / "img"),
        "eval_datasets": (str(words / "test"),),
    }
    document = plan(action, **data, **given)
    assert document["spec_overrides"].get("inference.resize") == chosen
    assert bool(about(document, "inference.resize is auto")) == (chosen == "auto")
    assert "mode" not in str(document["spec_overrides"])

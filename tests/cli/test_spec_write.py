"""`ocdnet spec list`, `explain` and `render`."""

import json
import subprocess
import sys

import pytest
from click.testing import CliRunner

from ocdnet.catalogue import ACTIONS
from ocdnet.cli.spec import spec as command
from ocdnet.config import schema, spec
from ocdnet.errors import SpecError

TRAIN_DATA = "dataset.train_dataset.data_path=[/data/train]"


def run(*arguments):
    result = CliRunner().invoke(command, [str(a) for a in arguments], catch_exceptions=True)
    if result.exception and not isinstance(result.exception, SystemExit):
        raise result.exception
    return json.loads(result.stdout)


def names(*arguments):
    return [line.partition(" = ")[0] for line in run("list", *arguments)["keys"]]


class TestList:
    def test_the_default_is_required_and_popular_keys(self):
        listed = names("train")
        assert listed[0] == "dataset.train_dataset.data_path"
        assert {"results_dir", "train.num_epochs", "train.optimizer.args.lr"} < set(listed)
        assert "train.seed" not in listed
        assert listed == names("train", "--popular")

    @pytest.mark.parametrize(
        ("action", "wanted"),
        [
            ("gen_trt_engine", {"gen_trt_engine.tensorrt.data_type", "gen_trt_engine.backend"}),
            (
                "inference",
                {
                    "inference.checkpoint",
                    "inference.input_folder",
                    "inference.polygon",
                    "inference.post_processing.args.thresh",
                    "inference.post_processing.args.box_thresh",
                },
            ),
            (
                "evaluate",
                {
                    "evaluate.checkpoint",
                    "dataset.validate_dataset.data_path",
                    "evaluate.metric.args.is_output_polygon",
                    "evaluate.post_processing.args.thresh",
                    "evaluate.post_processing.args.box_thresh",
                },
            ),
            ("quantize", {"quantize.backend", "quantize.mode"}),
            ("prune", {"prune.ch_sparsity"}),
        ],
    )
    def test_each_action_lists_what_its_user_wants(self, action, wanted):
        assert wanted <= set(names(action))

    @pytest.mark.parametrize("action", ACTIONS)
    def test_data_that_an_action_does_not_read_is_not_listed(self, action):
        read = {item.key.rpartition(".")[0] for item in ACTIONS[action].data if not item.tao}
        listed = {key.rpartition(".")[0] for key in names(action)}
        listed = {key.removesuffix(".loader") for key in listed if key.startswith("dataset.")}
        assert listed == {key for key in read if key.startswith("dataset.")}

    @pytest.mark.parametrize("action", ACTIONS)
    def test_all_keys_are_those_of_the_action(self, action):
        sections = ACTIONS[action].reads
        expected = {k for k, _ in schema.leaves() if k.partition(".")[0] in sections}
        assert set(names(action, "--all")) == expected

    def test_grep_reads_names_and_descriptions(self):
        assert "train.optimizer.args.lr" in names("train", "--grep", "LEARNING")
        assert names("export", "--grep", "opset") == ["export.opset_version"]
        assert names("export", "--grep", "no such thing") == []

    def test_a_line_says_default_and_purpose(self):
        (line,) = run("list", "train", "--grep", "num_epochs")["keys"][:1]
        assert line == "train.num_epochs = 10: Epochs to train."
        assert "model.load_pruned_graph = true" in run("list", "retrain", "--all")["keys"]


class TestExplain:
    def test_a_searched_key(self):
        (facts,) = run("explain", "train.optimizer.args.lr")["keys"]
        assert facts == {
            "key": "train.optimizer.args.lr",
            "does": "Peak learning rate, reached after warm-up.",
            "takes": "a number from 0 to 1",
            "default": 0.001,
            "read_by": ["train", "retrain"],
            "searched": "by default: 1e-05 to 0.01, log",
        }

    def test_what_only_hmean_may_judge(self):
        (facts,) = run("explain", "train.loss.alpha")["keys"]
        assert facts["searched"] == "on request with metric hmean: 1 to 10, linear"

    def test_rules_requirements_and_other_defaults(self):
        flag, path, engine = run(
            "explain",
            "model.load_pruned_graph",
            "model.pruned_graph_path",
            "evaluate.trt_engine",
        )["keys"]
        assert flag["defaults"] == {"retrain": True}
        assert flag["rules"] == path["rules"]
        assert path["required_by"] == ["retrain"]
        assert engine["required_by"] == ["deploy_evaluate"]
        assert engine["rules"] == ["evaluate.checkpoint is required by evaluate (or a trt_engine)."]

    def test_a_section_lists_its_keys(self):
        (facts,) = run("explain", "train.trainer")["keys"]
        assert facts["keys"] == ["train.trainer.clip_grad_norm"]

    def test_extras_and_what_has_no_effect_are_told(self):
        ours, compat = run("explain", "train.max_minutes", "inference.show")["keys"]
        assert ours["not_in_tao"] is True
        assert "no windows" in compat["no_effect"]

    @pytest.mark.parametrize("key", ["train.num_epoch", "train.gpu_ids.0", "", "x"])
    def test_no_such_key(self, key):
        with pytest.raises(SpecError) as caught:
            run("explain", key)
        assert caught.value.code == "unknown-key"

    def test_every_key_can_be_explained(self):
        keys = run("explain", *schema.known_keys())["keys"]
        assert [facts["key"] for facts in keys] == list(schema.known_keys())


class TestRender:
    def test_writes_a_complete_valid_spec_and_says_what_differs(self, tmp_path):
        out = tmp_path / "spec.yaml"
        told = run("render", "train", "--set", TRAIN_DATA, "--set", "train.seed=7", "--out", out)
        assert told == {
            "file": str(out),
            "set": {"dataset.train_dataset.data_path": ["/data/train"], "train.seed": 7},
            "missing": [],
            "notices": [],
        }
        assert spec.load("train", out).experiment.train.seed == 7
        written = {key for key, _ in schema.leaves() if key in flat(spec.read(out))}
        extras = {key for key, node in schema.leaves() if "x_extra" in node}
        assert written == set(names("train", "--all")) - extras
        assert "train.max_minutes" in extras

    def test_what_is_missing_stays_unset_and_is_listed(self, tmp_path):
        out = tmp_path / "spec.yaml"
        told = run("render", "evaluate", "--out", out)
        assert told["missing"] == ["dataset.validate_dataset.data_path", "evaluate.checkpoint"]
        assert spec.read(out)["evaluate"]["checkpoint"] == "???"

    @pytest.mark.parametrize("override", ["train.num_epochs=0", "train.nope=1", "model.quant=true"])
    def test_an_invalid_one_is_not_written(self, override, tmp_path):
        out = tmp_path / "spec.yaml"
        with pytest.raises(SpecError):
            run("render", "train", "--set", TRAIN_DATA, "--set", override, "--out", out)
        assert not out.exists()

    def test_no_file_is_written_over(self, tmp_path):
        out = tmp_path / "spec.yaml"
        out.write_text("mine: 1\n")
        with pytest.raises(SpecError) as caught:
            run("render", "train", "--set", TRAIN_DATA, "--out", out)
        assert caught.value.code == "file-exists"
        assert out.read_text() == "mine: 1\n"

    def test_starts_from_a_spec_and_prints_it_whole_with_secrets_masked(self, tmp_path):
        base = tmp_path / "base.yaml"
        base.write_text("encryption_key: key\nexport: {checkpoint: m.pth, width: 640}\n")
        told = run("render", "export", "--from", base, "--set", "export.height=640", "--full")
        assert told["spec"]["export"]["width"] == told["set"]["export.height"] == 640
        assert told["spec"]["encryption_key"] == told["set"]["encryption_key"] == "***"

    def test_for_tao(self, tmp_path):
        out = tmp_path / "spec.yaml"
        given = [TRAIN_DATA, "train.num_epochs=1", "train.max_minutes=5"]
        sets = [part for pair in given for part in ("--set", pair)]
        told = run("render", "train", *sets, "--target", "tao", "--out", out)
        tree = spec.read(out)
        assert "max_minutes" not in tree["train"]
        assert tree["train"]["lr_scheduler"]["args"]["warmup_epoch"] == 0
        assert tree["dataset"]["train_dataset"]["loader"]["num_workers"] == 4
        assert len(told["notices"]) == 4
        spec.load("train", out)

    def test_references_are_resolved_and_for_tao_kept(self, tmp_path):
        base, out = tmp_path / "base.yaml", tmp_path / "out.yaml"
        base.write_text(
            "train: {num_epochs: 7}\nexport:\n"
            "  checkpoint: ${results_dir}/${train.num_epochs}.pth\n"
            "  results_dir: ${results_dir}/e\n"
        )
        given = ("--from", base, "--set", "results_dir=/r")
        told = run("render", "export", *given)["set"]
        assert told["export.checkpoint"] == "/r/7.pth"
        assert told["export.results_dir"] == "/r/e"
        run("render", "export", *given, "--target", "tao", "--out", out)
        section = spec.read(out)["export"]
        assert section["results_dir"] == "${results_dir}/e"
        assert section["checkpoint"] == "/r/7.pth"  # this spec has no section train
        assert spec.load("export", out).experiment.export.results_dir == "/r/e"
        assert run("render", "export", "--from", base)["missing"] == ["results_dir"]

    @pytest.mark.parametrize(
        ("action", "override"),
        [
            ("train", "dataset.train_dataset.args.pre_processes.0.type=wordcrop"),
            ("train", "model.backbone=mobilenet_v2"),
            ("train", "dataset.train_dataset.args.pre_processes.0.type=WordCrop"),
            ("train", "train.precision=bf16"),
            ("train", "train.optimizer.type=AdamW"),
            ("train", "train.checkpoint_interval=11"),
            ("train", "dataset.train_dataset.args.img_mode=GRAY"),
            ("train", "train.metric.args.is_output_polygon=true"),
            ("inference", "inference.polygon=true"),
            ("inference", "inference.checkpoint=m.onnx"),
        ],
    )
    def test_what_nvidias_image_cannot_run_is_named(self, action, override, tmp_path):
        given = {"train": [TRAIN_DATA], "inference": ["inference.checkpoint=m.pth"]}[action]
        sets = [part for pair in [*given, override] for part in ("--set", pair)]
        with pytest.raises(SpecError) as caught:
            run("render", action, *sets, "--target", "tao", "--out", tmp_path / "spec.yaml")
        assert caught.value.code == "target-cannot-run"
        assert caught.value.got[0].startswith(override.partition("=")[0].partition(".0.")[0])
        assert not (tmp_path / "spec.yaml").exists()
        run("render", action, *sets)


def flat(tree, prefix=""):
    found = set()
    for name, value in tree.items():
        found |= flat(value, f"{prefix}{name}.") if isinstance(value, dict) else {f"{prefix}{name}"}
    return found


@pytest.mark.parametrize("name", ["list", "explain", "render"])
def test_the_commands_are_light(name):
    code = (
        "import sys; from ocdnet.cli.spec import spec\n"
        f"try: spec([{name!r}, 'train'])\n"
        "except SystemExit: pass\n"
        "heavy = {'torch', 'numpy', 'cv2', 'jsonschema', 'ocdnet_generator'} & set(sys.modules)\n"
        "assert not heavy, heavy"
    )
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)

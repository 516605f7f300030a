"""What a public detector's file becomes: scored, exported, pruned, quantized, trained."""

from __future__ import annotations

import collections
import hashlib
import json
import re
import shutil
import sys
import types

import numpy as np
import onnx
import pytest
import torch
from click.testing import CliRunner

import support
from ocdnet import Detector
from ocdnet.actions import prune, quantize
from ocdnet.backends.open import check_fit, open_predictor
from ocdnet.backends.sidecar import Engine, Feeding, beside, write_engine
from ocdnet.cli.main import cli
from ocdnet.config import spec
from ocdnet.config.model import ModelConfig
from ocdnet.data.preprocess import Preprocess
from ocdnet.errors import DataError, Exit
from ocdnet.weights import read_checkpoint
from ocdnet.zoo import registry
from ocdnet.zoo.fetching import MIRROR
from zoo import mmocr

pytestmark = pytest.mark.usefixtures("small_network")
SIZE = (support.SIDE, support.SIDE)
RGB = "dataset.validate_dataset.args.img_mode=RGB"
_NAMES = (
    (r"^neck\.in(\d)\.", lambda m: f"neck.lateral_convs.{int(m[1]) - 2}.conv."),
    (r"^neck\.out(\d)(\.0)?\.", lambda m: f"neck.smooth_convs.{int(m[1]) - 2}.conv."),
    (r"^head\.thresh\.", "det_head.threshold."),
    (r"^head\.", "det_head."),
)


def as_theirs(checkpoint, path):
    """A file of mmocr with the small network's weights."""
    state = {}
    for key, value in read_checkpoint(checkpoint).weights.items():
        name = key
        for pattern, new in _NAMES:
            name = re.sub(pattern, new, name)
        first = name in ("det_head.binarize.0.weight", "det_head.threshold.0.weight")
        state[name] = torch.cat(value.chunk(4, 1)[::-1], 1) if first else value
    torch.save({"meta": {"epoch": 1200}, "state_dict": state}, path)
    return path


@pytest.fixture(scope="module")
def theirs(detector, tmp_path_factory):
    return as_theirs(detector, tmp_path_factory.mktemp("theirs") / "found_somewhere.pth")


def maps(path, mode="RGB"):
    """Maps of two fixed pictures in that order of channels, as evaluate computes them."""
    predictor = open_predictor(path, ModelConfig())
    preprocess = check_fit(predictor, Preprocess(SIZE, mode), path)
    shape = (2, support.SIDE, support.SIDE, 3)
    pictures = np.random.default_rng(5).integers(0, 256, shape, dtype=np.uint8)
    return predictor(preprocess.to_tensor(list(pictures))), preprocess.normalisation


def info(path):
    done = CliRunner().invoke(cli, ["weights", "info", str(path)])
    return json.loads(done.stdout)


def test_the_spec_must_say_their_order_of_channels_and_the_hint_leads_out(theirs, scenes, tmp_path):
    with pytest.raises(DataError) as caught:
        support.evaluate(scenes / "test", theirs, tmp_path / "bgr")
    assert caught.value.code == "img-mode-mismatch"
    key = next(one for one in re.findall(r"[\w.]+img_mode", caught.value.hint) if "dataset" in one)
    assert caught.value.expected == "RGB"
    found = support.evaluate(scenes / "test", theirs, tmp_path / "rgb", f"{key}=RGB")
    assert found["images"] == 4


@pytest.fixture(scope="module")
def pruned(theirs, tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        support.shrink_network(patch)
        out = tmp_path_factory.mktemp("pruned")
        given = ["prune.round_to=4", "prune.ch_sparsity=0.3", f"prune.checkpoint={theirs}"]
        prune.run(spec.load("prune", None, [f"results_dir={out}", *given]))
        return out / "prune" / "pruned_0.3.pth"


def test_their_normalisation_goes_on_into_every_file(theirs, pruned, tmp_path):
    given = [f"results_dir={tmp_path}", f"quantize.model_path={pruned}"]
    quantize.run(spec.load("quantize", None, given))
    small = tmp_path / "quantize" / "quantized_model_torchao.pth"
    support.export(pruned, tmp_path / "a.onnx")
    expected, how = maps(pruned)
    assert (how.mean, how.divisor) == (mmocr.MEAN, mmocr.STD)
    assert not np.allclose(expected, maps(theirs)[0], atol=1e-3)
    for path, tolerance in ((small, 0.1), (tmp_path / "a.onnx", 1e-4)):
        found, carried = maps(path)
        assert carried == how
        np.testing.assert_allclose(found, expected, atol=tolerance)
    metadata = {one.key: one.value for one in onnx.load(tmp_path / "a.onnx").metadata_props}
    assert metadata["ocdnet.preprocess.img_mode"] == "RGB"
    told = info(tmp_path / "a.onnx")
    assert told["input"]["mean"] == list(mmocr.MEAN)
    assert told["input"]["divisor"] == list(mmocr.STD)
    assert told["made_from"]["sha256"] == info(pruned)["sha256"]
    assert info(pruned)["pruned"] is True
    assert info(small)["int8_layers"] > 0


@pytest.fixture
def by_name(theirs, tmp_path, monkeypatch):
    """A name for the file, which lies in the folder of OCDNET_WEIGHTS."""
    digest = hashlib.sha256(theirs.read_bytes()).hexdigest()
    name = f"dbnet-{digest[:8]}.pth"
    made = registry.Weights(
        name="dbnet-tiny",
        kind="detector",
        backbone="deformable_resnet18",
        trained_on=("blocks",),
        licence="MIT",
        source="https://example.org",
        url=f"https://nowhere.invalid/{name}",
        suggested=registry.Suggested(size=SIZE, box_thresh=0.4),
    )
    monkeypatch.setitem(registry._BY_NAME, made.name, made)
    monkeypatch.setattr(registry, "WEIGHTS", (made,))
    monkeypatch.setenv(MIRROR, str(tmp_path / "files"))
    (tmp_path / "files").mkdir()
    shutil.copyfile(theirs, tmp_path / "files" / name)
    return made.name, digest


def test_a_training_from_a_name_says_so_in_all_that_it_leaves(by_name, scenes, tmp_path):
    name, digest = by_name
    sets = (f"model.pretrained_model_path={name}", "train.num_epochs=1")
    start = {"weights": name, "sha256": digest}
    result = support.train(scenes, tmp_path, *sets)
    assert result["start"] == start
    assert json.loads((tmp_path / "train" / "results.json").read_text())["start"] == start
    told = info(result["best_checkpoint"])
    assert told["start"] == start
    assert told["spec"]["train.num_epochs"] == 1
    assert told["input"]["divisor"] == [255, 255, 255]  # it was trained at TAO's
    on = f"train.resume_training_checkpoint_path={tmp_path}/train/{result['checkpoints'][-1]}"
    again = support.train(scenes, tmp_path, *sets[:1], on, "train.num_epochs=2")
    assert again["start"] == start


def test_a_detector_by_name_runs_as_its_trainers_ran_it(by_name, theirs, scenes):
    name, _ = by_name
    picture = next((scenes / "test" / "img").iterdir())
    for model in (name, theirs):
        detector = Detector(model)
        post = detector.postprocess
        assert detector.size == SIZE
        assert (post.thresh, post.box_thresh, post.unclip_ratio) == (0.3, 0.4, 1.5)
        assert len(detector(picture)) > 0
    assert Detector(name, box_thresh=0.7).postprocess.box_thresh == 0.7


def test_a_file_is_recognised_by_its_content(by_name, theirs):
    told = info(theirs)
    assert (told["name"], told["source"]) == ("dbnet-tiny", "a DBNet of mmocr")
    assert told["input"] == {"img_mode": "RGB", "mean": [*mmocr.MEAN], "divisor": [*mmocr.STD]}
    assert (told["resumable"], told["pruned"], told["int8_layers"]) == (False, False, 0)
    assert told["sha256"] == by_name[1]


def test_an_engine_is_told_by_the_file_beside_it(tmp_path):
    engine = tmp_path / "a.engine"
    engine.write_bytes(b"none that runs here")
    digest = hashlib.sha256(engine.read_bytes()).hexdigest()
    made = Engine(
        kind="tensorrt",
        precision="FP16",
        input="input",
        width=1280,
        height=736,
        batch={"min": 1, "opt": 2, "max": 4},
        preprocess=Feeding(img_mode="RGB", mean=mmocr.MEAN, divisor=mmocr.STD, output="pred"),
        source={"file": "a.onnx", "sha256": "0" * 64},
        engine_sha256=digest,
    )
    write_engine(beside(engine), made)
    told = info(engine)
    assert (told["kind"], told["precision"], told["batch"]) == ("engine", "FP16", [1, 2, 4])
    assert told["input"]["size"] == [1280, 736]
    assert told["made_from"]["file"] == "a.onnx"


def test_what_is_no_model_is_said(tmp_path):
    (tmp_path / "a.txt").write_text("text")
    done = CliRunner().invoke(cli, ["weights", "info", str(tmp_path / "a.txt")])
    assert isinstance(done.exception, DataError)
    assert done.exception.code == "unknown-model-file"


@pytest.fixture
def mmengine(monkeypatch):
    """The classes that mmengine's files may name; only who saves them has the package."""
    module = types.ModuleType("mmengine.logging.history_buffer")
    for name in ("HistoryBuffer", "Unheard"):
        made = type(name, (), {"__module__": module.__name__})
        setattr(module, name, made)
    packages = ("mmengine", "mmengine.logging")
    for package in packages:
        monkeypatch.setitem(sys.modules, package, types.ModuleType(package))
    monkeypatch.setitem(sys.modules, module.__name__, module)
    return module


def saved_with(theirs, path, content, monkeypatch):
    state = torch.load(theirs, weights_only=True)["state_dict"]
    torch.save({"meta": {}, "message_hub": content, "state_dict": state}, path)
    for name in [name for name in sys.modules if name.startswith("mmengine")]:
        monkeypatch.delitem(sys.modules, name)
    return path


def test_their_training_log_beside_the_weights_is_harmless(theirs, tmp_path, mmengine, monkeypatch):
    log = mmengine.HistoryBuffer()
    log._log_history = np.array([0.5, 0.25])
    content = {"log_scalars": collections.OrderedDict({"train/loss": log})}
    path = saved_with(theirs, tmp_path / "a.pth", content, monkeypatch)
    assert read_checkpoint(path).source == "a DBNet of mmocr"


def test_another_type_is_named(theirs, tmp_path, mmengine, monkeypatch):
    path = saved_with(theirs, tmp_path / "a.pth", {"x": mmengine.Unheard()}, monkeypatch)
    with pytest.raises(DataError) as caught:
        read_checkpoint(path)
    assert (caught.value.code, caught.value.exit_code) == ("unsafe-checkpoint", Exit.DATA)
    assert caught.value.got == "mmengine.logging.history_buffer.Unheard"

"""Named networks: what they fill, and that every step after training keeps to the checkpoint's."""

import pytest
import torch

from ocdnet.backends.torch import TorchPredictor
from ocdnet.checkpoint import PRUNED_KEY, SPEC_KEY
from ocdnet.config import spec
from ocdnet.config.model import ModelConfig
from ocdnet.errors import SpecError
from ocdnet.launch.tao_image import cannot_run
from ocdnet.models.factory import build_model
from ocdnet.models.pruning import prune_channels
from ocdnet.presets import PRESETS
from ocdnet.tree import keys

CPU = torch.device("cpu")
DATA = ("dataset.train_dataset.data_path=[/d]", "dataset.validate_dataset.data_path=[/d]")


def trained(*overrides):
    return spec.load("train", None, ["results_dir=/r", *DATA, *overrides])


SEPARABLE = ("model.preset=tiny", "model.neck_block=separable")


def network():
    torch.manual_seed(3)
    config = trained(*SEPARABLE).experiment.model
    return config, build_model(config).eval()


@pytest.mark.parametrize("name", PRESETS)
def test_a_spec_holds_the_presets_keys_and_no_preset(name):
    model = spec.dump(trained(f"model.preset={name.upper()}"))["model"]
    assert "preset" not in model
    filled = {key.partition(".")[2]: value for key, value in PRESETS[name].items()}
    assert {"neck_block": "conv"} | model | filled == {"neck_block": "conv"} | model


def test_base_is_taos_network():
    assert spec.dump(trained("model.preset=base")) == spec.dump(trained())


def test_written_keys_stay_and_are_said():
    loaded = trained("model.preset=tiny", "model.backbone=resnet18")
    assert loaded.experiment.model.backbone == "resnet18"
    assert loaded.experiment.model.inner_channels == 64
    assert ["model.backbone" in notice for notice in loaded.notices].count(True) == 1


@pytest.mark.parametrize("override", ["model.preset=huge", "model.inner_channels=40"])
def test_what_is_refused(override):
    with pytest.raises(SpecError) as caught:
        trained(override)
    assert caught.value.code in ("bad-choice", "out-of-range")


def test_no_preset_but_base_runs_in_nvidias_image():
    for name in PRESETS:
        tree = spec.completed("train", {"model": {"preset": name}})
        said = [line for line in cannot_run(tree) if line.startswith("model.")]
        narrow = keys.get(tree, "model.inner_channels") < 256
        assert narrow == any("inner_channels" in line for line in said) == (name != "base")


@pytest.mark.parametrize("knows", ["spec", "shapes"])
def test_a_checkpoints_network_goes_before_the_specs(tmp_path, caplog, knows):
    config, model = network()
    content = {"state_dict": model.state_dict()}
    if knows == "spec":
        content[SPEC_KEY] = spec.dump(trained(*SEPARABLE))
    torch.save(content, tmp_path / "tiny.pth")
    images = torch.rand(1, 3, 64, 64)
    other = ModelConfig(backbone=config.backbone, inner_channels=128)
    found = TorchPredictor(tmp_path / "tiny.pth", other, CPU)(images.numpy())
    expected = model(images)[:, 0].detach().numpy()
    assert abs(found - expected).max() < 1e-5
    assert "model.inner_channels is 64, as the checkpoint has it, not 128" in caplog.text
    assert "model.neck_block is separable" in caplog.text
    unasked = TorchPredictor(tmp_path / "tiny.pth", None, CPU)(images.numpy())
    assert (unasked == found).all()


def test_a_pruned_separable_network_is_read_again(tmp_path):
    config, model = network()
    cuts = prune_channels(model, 0.5, 8, 2)
    assert any("neck" in cut.layer for cut in cuts)
    content = {"state_dict": model.state_dict(), PRUNED_KEY: {}}
    content[SPEC_KEY] = spec.dump(trained(*SEPARABLE))
    torch.save(content, tmp_path / "pruned.pth")
    images = torch.rand(1, 3, 64, 64)
    found = TorchPredictor(tmp_path / "pruned.pth", config, CPU)(images.numpy())
    assert abs(found - model(images)[:, 0].detach().numpy()).max() < 1e-5


def test_statistics_follow_a_short_training():
    """By torchvision's momentum a MobileNetV3 would find nothing after hundreds of steps."""
    _, model = network()
    norm, inputs = model.backbone.features[-1][1], []
    norm.register_forward_pre_hook(lambda _, given: inputs.append(given[0]))
    with torch.no_grad():
        for _ in range(30):
            model.train()(torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(0)))
    seen = inputs[-1].var((0, 2, 3))
    assert (norm.running_var - seen).norm() < 0.1 * (1 - seen).norm()  # 1: before the training

"""Training on the GPU: it learns what the CPU learns, and goes on where it stopped."""

from __future__ import annotations

import math

import pytest
import torch

import processes
import support
from gpu.device import (
    DEVICE,
    LAST,
    SGD,
    distance,
    flat,
    needs_cuda,
    on_cpu,
    train,
    train_without_gpu,
    without_gpu,
)
from ocdnet.training import ema

pytestmark = [pytest.mark.gpu, pytest.mark.usefixtures("small_network")]

EACH_STEP = ("train.checkpoint_interval=1", "train.checkpoint_interval_unit=step")
FIRST_EPOCH, MID_EPOCH = "model_epoch_000_step_00004.pth", "model_epoch_001_step_00006.pth"


@pytest.mark.usefixtures("steady")
@pytest.mark.parametrize(("precision", "close"), [("fp32", 1e-4), ("bf16", 0.02), ("fp16", 0.06)])
def test_it_learns_what_the_cpu_learns(scenes, tmp_path, precision, close):
    """Fp16 leaves steps out until its scale fits, so that it may lag behind."""
    run = train(scenes, tmp_path / "run", *SGD, f"train.precision={precision}")
    cpu = train_without_gpu(scenes, tmp_path / "cpu", *SGD)
    assert len(cpu.losses) == 8
    assert run.losses == pytest.approx(cpu.losses, rel=close)
    found, expected = (flat(one.last()["state_dict"]) for one in (run, cpu))
    assert distance(found, expected) < close


@pytest.mark.parametrize("precision", ["fp32", "bf16", "fp16"])
def test_so_it_does_where_batches_norm_themselves(scenes, tmp_path, precision):
    run = train(scenes, tmp_path / "run", *SGD, f"train.precision={precision}")
    cpu = train_without_gpu(scenes, tmp_path / "cpu", *SGD)
    assert run.losses[0] == pytest.approx(cpu.losses[0], rel=1e-3 if precision == "fp32" else 0.05)
    assert all(map(math.isfinite, run.losses))
    assert sum(run.losses) == pytest.approx(sum(cpu.losses), rel=0.2)
    assert torch.isfinite(flat(run.last()["state_dict"])).all()


@pytest.mark.usefixtures("steady")
@pytest.mark.parametrize("kind", ["Adam", "AdamW"])
def test_the_fused_optimiser_takes_the_cpus_first_step(scenes, tmp_path, kind):
    more = (f"train.optimizer.type={kind}", "train.num_epochs=1", *EACH_STEP)
    train(scenes, tmp_path / "run", *more)
    train_without_gpu(scenes, tmp_path / "cpu", *more)
    first = "train/model_epoch_000_step_00001.pth"
    run, cpu = (on_cpu(tmp_path / name / first) for name in ("run", "cpu"))
    assert bool(run["optimizer_states"][0]["param_groups"][0]["fused"]) is (DEVICE == "cuda")
    # A step of Adam is of the rate's size in every weight, even where its gradient is noise.
    found, expected = flat(run["state_dict"]), flat(cpu["state_dict"])
    assert (found - expected).abs().median() < 1e-5


@pytest.mark.usefixtures("steady")
@pytest.mark.parametrize("start", [FIRST_EPOCH, MID_EPOCH])
@pytest.mark.parametrize("precision", ["fp32", "bf16", "fp16"])
def test_a_resumed_run_is_the_uninterrupted_one(scenes, tmp_path, precision, start):
    more = (*SGD, f"train.precision={precision}", "train.model_ema=true")
    whole = train(scenes, tmp_path / "whole", *more, "train.checkpoint_interval=2", EACH_STEP[1])
    resume = f"train.resume_training_checkpoint_path={whole.folder / start}"
    resumed = train(scenes, tmp_path / "on", *more, resume)
    left = len(resumed.losses)
    assert left == (4 if start == FIRST_EPOCH else 2)
    # The deformable convolution's gradients are summed in any order.
    close = 1e-4 if precision == "fp32" else 0.01
    assert resumed.losses == pytest.approx(whole.losses[-left:], rel=close)
    states = [run.last() for run in (whole, resumed)]
    for part in (lambda s: s["state_dict"], lambda s: s[ema.EMA_KEY]["trained"]):
        assert distance(*(flat(part(state)) for state in reversed(states))) < close
    assert states[0][ema.EMA_KEY]["updates"] == states[1][ema.EMA_KEY]["updates"]
    assert states[0].get("MixedPrecision") == states[1].get("MixedPrecision")  # the scale


@pytest.mark.usefixtures("steady")
@pytest.mark.parametrize("kind", ["SGD", "Adam"])
def test_a_checkpoint_of_the_gpu_goes_on_without_one(scenes, tmp_path, kind):
    more = SGD if kind == "SGD" else ()
    whole = train(scenes, tmp_path / "whole", *more)
    resume = f"train.resume_training_checkpoint_path={whole.folder / FIRST_EPOCH}"
    resumed = train_without_gpu(scenes, tmp_path / "on", *more, resume)
    assert resumed.losses == pytest.approx(whole.losses[4:], rel=0.02 if more else 0.2)
    with without_gpu():
        scored = support.evaluate(scenes / "test", whole.folder / LAST, tmp_path / "scored")
    assert scored["images"] == 4


@pytest.mark.usefixtures("steady")
@pytest.mark.parametrize("kind", ["SGD", "Adam"])
def test_a_checkpoint_of_the_cpu_goes_on_with_a_gpu(scenes, tmp_path, kind):
    more = SGD if kind == "SGD" else ()
    whole = train_without_gpu(scenes, tmp_path / "whole", *more)
    resume = f"train.resume_training_checkpoint_path={whole.folder / FIRST_EPOCH}"
    resumed = train(scenes, tmp_path / "on", *more, resume)
    assert resumed.losses == pytest.approx(whole.losses[4:], rel=0.02 if more else 0.2)


@pytest.mark.parametrize("before", ["fp32", "fp16"])
def test_a_run_may_change_its_precision(scenes, tmp_path, before):
    after = "fp16" if before == "fp32" else "fp32"
    whole = train(scenes, tmp_path / "whole", f"train.precision={before}", "train.num_epochs=1")
    resume = f"train.resume_training_checkpoint_path={whole.folder / FIRST_EPOCH}"
    resumed = train(scenes, tmp_path / "on", f"train.precision={after}", resume)
    assert len(resumed.losses) == 4
    assert torch.isfinite(flat(resumed.last()["state_dict"])).all()


def test_the_average_follows_each_step(scenes, tmp_path):
    folder = train(scenes, tmp_path, *SGD, "train.model_ema=true", *EACH_STEP).folder
    paths = sorted(folder.glob("model_epoch_*.pth"), key=lambda path: path.name[-9:])
    assert len(paths) == 8
    before = on_cpu(paths[0])["state_dict"]
    for number, path in enumerate(paths[1:], 2):
        now = on_cpu(path)
        average, trained = now["state_dict"], now[ema.EMA_KEY]["trained"]
        decay = 0.9999 * (1 - math.exp(-number / 2000))
        for key, tensor in average.items():
            if not tensor.is_floating_point():
                assert tensor == trained[key] == number
                continue
            expected = decay * before[key].double() + (1 - decay) * trained[key].double()
            torch.testing.assert_close(tensor.double(), expected, rtol=1e-5, atol=1e-6, msg=key)
        before = average
    best = on_cpu(folder / "model_best.pth")
    found, trained = flat(best["state_dict"]), flat(best[ema.EMA_KEY]["trained"])
    assert torch.isfinite(found).all()
    assert distance(found, trained) > 0


@pytest.mark.usefixtures("steady")
def test_accumulated_steps_and_workers(scenes, tmp_path):
    more = (*SGD, "train.accumulate_grad_batches=2")
    loader = (
        "dataset.train_dataset.loader.num_workers=2",
        "dataset.train_dataset.loader.pin_memory=true",
    )
    run = train(scenes, tmp_path / "run", *more, *loader)
    cpu = train_without_gpu(scenes, tmp_path / "cpu", *more)
    assert run.losses == pytest.approx(cpu.losses, rel=0.01)
    assert run.last()["global_step"] == 4


def test_cudnn_may_choose_by_time(scenes, tmp_path):
    more = ("train.cudnn.benchmark=true", "train.cudnn.deterministic=false")
    run = train(scenes, tmp_path, *SGD, *more)
    assert torch.backends.cudnn.benchmark
    assert not torch.backends.cudnn.deterministic
    assert all(map(math.isfinite, run.losses))


@pytest.mark.usefixtures("steady")
def test_a_compiled_network_learns_as_an_eager_one(scenes, tmp_path):
    """The one long test: the compiler takes half a minute."""
    more = (*SGD, "train.num_epochs=1", "dataset.validate_dataset.data_path=[]")
    eager = train(scenes, tmp_path / "eager", *more)
    compiled = train(scenes, tmp_path / "compiled", *more, "train.compile=true")
    assert compiled.losses == pytest.approx(eager.losses, rel=0.01)
    found, expected = (run.last()["state_dict"] for run in (compiled, eager))
    assert found.keys() == expected.keys()
    assert distance(flat(found), flat(expected)) < 0.01


@needs_cuda
def test_memory_that_runs_out_is_named(scenes, tmp_path):
    large = "dataset.train_dataset.args.pre_processes.0.args.size=[1024,1024]"
    batch = "dataset.train_dataset.loader.batch_size=8"
    code, text, errors = processes.trained(
        processes.PLAIN, scenes, tmp_path, large, batch, before="little_gpu_memory"
    )
    check_out_of_memory(code, text, errors)
    last = support.status_lines(tmp_path / "train")[-1]
    assert (last["status"], "GPU ran out of memory" in last["message"]) == ("FAILURE", True)


def check_out_of_memory(code, text, errors):
    assert code == 6, errors
    assert '"out-of-memory"' in text
    assert "The GPU ran out of memory" in text
    assert "batch_size" in text
    assert "train.precision=bf16" in text

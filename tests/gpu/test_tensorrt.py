"""The real TensorRT, where it and a GPU are: the fake's promises, kept."""

from __future__ import annotations

import pytest
import torch

import support

pytestmark = [pytest.mark.gpu, pytest.mark.usefixtures("small_network")]

TENSORRT = "gen_trt_engine.backend=tensorrt"
PROFILE = (
    "gen_trt_engine.tensorrt.min_batch_size=1",
    "gen_trt_engine.tensorrt.opt_batch_size=2",
    "gen_trt_engine.tensorrt.max_batch_size=3",
)


@pytest.fixture(autouse=True)
def _tensorrt():
    pytest.importorskip("tensorrt")
    if not torch.cuda.is_available():
        pytest.skip("there is no GPU")


@pytest.mark.parametrize("precision", ["FP32", "FP16", "INT8"])
def test_an_engine_scores_as_its_checkpoint(scenes, detector, detector_onnx, tmp_path, precision):
    path, calibration = tmp_path / "a.engine", "gen_trt_engine.tensorrt.calibration"
    built = support.build_engine(
        detector_onnx,
        path,
        TENSORRT,
        *PROFILE,
        f"gen_trt_engine.tensorrt.data_type={precision}",
        f"gen_trt_engine.timing_cache={tmp_path}/timing.cache",
        f"{calibration}.cal_image_dir=[{scenes}/train/img]",
        f"{calibration}.cal_cache_file={tmp_path}/cal.cache",
        f"{calibration}.cal_batches=8",
    )
    assert built["backend"] == "tensorrt"
    assert (tmp_path / "timing.cache").stat().st_size > 0
    want = support.evaluate(scenes / "train", detector, tmp_path / "want")["hmean"]
    for batch in (1, 3):
        given = f"evaluate.batch_size={batch}"
        got = support.evaluate_engine(scenes / "train", path, tmp_path / "got", given)
        assert abs(got["hmean"] - want) <= (0.002 if precision == "FP32" else 0.05)

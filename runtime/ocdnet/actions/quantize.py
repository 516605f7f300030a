"""Quantize: a smaller model, and what it costs in accuracy."""

from __future__ import annotations

import logging

from ocdnet.actions.quantize_backends import BACKENDS, Quantized, target_name
from ocdnet.actions.scoring import kpi, side_by_side
from ocdnet.actions.session import session, store_spec
from ocdnet.config.experiment import Experiment
from ocdnet.config.quantize import FP8_ELSEWHERE, QuantizeConfig, fp8_layers
from ocdnet.config.spec import Loaded
from ocdnet.errors import EnvironmentFault
from ocdnet.runs.files import RESULTS
from ocdnet.runs.records import Measured, QuantizedLayers, QuantizeResult, write_results

LOG = logging.getLogger("ocdnet")


def run(loaded: Loaded) -> QuantizeResult:
    """Quantize a checkpoint (torchao, modelopt.pytorch) or an ONNX file (modelopt.onnx).

    Args:
        loaded: a spec checked for `quantize`.

    Returns:
        The file, the layers quantized and left, and size, CPU latency and (with validation data)
        hmean before and after; the same as results.json.

    Raises:
        UserError: a file of another kind, bad calibration or validation data, or a missing
            package; no model is written then.
    """
    experiment = loaded.experiment
    config = experiment.quantize
    with session(loaded, writes=(target_name(config), RESULTS)) as here:
        _refuse_fp8(config)
        made = BACKENDS[config.backend](config, experiment, here.folder)
        store_spec(loaded)
        try:
            before, after = _measured(made, experiment)
        except BaseException:
            made.path.unlink(missing_ok=True)
            raise
        LOG.info("%s", made.note)
        here.status.write("RUNNING", f"Quantized into {made.path}.", kpi(after))
        result = QuantizeResult(
            warnings=here.warnings,
            backend=config.backend,
            mode=made.mode,
            algorithm=config.algorithm,
            model_path=config.model_path,
            quantized_model=str(made.path),
            layers=QuantizedLayers(quantized=len(made.quantized), left=tuple(made.left)),
            before=before,
            after=after,
            note=made.note,
            results=str(here.folder / RESULTS),
        )
        write_results(here.folder, result)
        return result


def _refuse_fp8(config: QuantizeConfig) -> None:
    names = fp8_layers(config.layers)
    if names:
        raise EnvironmentFault(
            "no-fp8",
            "fp8 is not made by this runtime, whose engines compute int8",
            got=f"quantize.layers: {', '.join(names)}",
            expected="int8, or native (left as it is)",
            hint=f"Set the dtype to int8 here; {FP8_ELSEWHERE}.",
        )


def _measured(made: Quantized, experiment: Experiment) -> list[Measured]:
    data = experiment.dataset.validate_dataset
    models = [made.before, made.after]
    return side_by_side(models, made.megabytes, made.preprocess, data, "quantization")

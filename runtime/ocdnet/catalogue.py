"""Every fact of an action, once. Plain data: `--help` and `plan` load neither pydantic nor torch.

The command line, the plan, the runs' readers, the doctor and the generated files (skill_info.yaml,
schemas, references) all read these entries; what an action does stands in `ocdnet.actions`.
"""

from __future__ import annotations

from dataclasses import replace

from ocdnet.catalogue_entry import Action, Either, Input, Output, Source, Value, Variant
from ocdnet.spec_keys import (
    BATCH,
    CALIBRATION_DATA,
    ENGINE_BACKEND,
    ENGINE_CACHE,
    ENGINE_FILE,
    ENGINE_IMAGES,
    ENGINE_ONNX,
    ENGINE_PRECISION,
    EVALUATE_CHECKPOINT,
    EVALUATE_ENGINE,
    EXPORT_CHECKPOINT,
    EXPORT_ONNX,
    INFERENCE_CHECKPOINT,
    INFERENCE_DATA,
    INFERENCE_ENGINE,
    INFERENCE_RESIZE,
    LOAD_PRUNED,
    NUM_EPOCHS,
    PRETRAINED,
    PRUNE_CHECKPOINT,
    PRUNED_GRAPH,
    QUANTIZE_BACKEND,
    QUANTIZE_MODE,
    QUANTIZE_MODEL,
    RESUME,
    TRAIN_DATA,
    TRAIN_PRECISION,
    VALIDATE_DATA,
)

SEARCH = "automl"
"""The command that searches train's parameters, and its folder: no action, it has no spec."""

TRAIN_DATASETS = Source(
    name="train_datasets", request="train_datasets", flag="--train-dataset", labelled=True
)
EVAL_DATASET = Source(
    name="eval_dataset", request="eval_datasets", flag="--eval-dataset", labelled=True
)
INFERENCE_DATASET = Source(
    name="inference_dataset", request="inference_dataset", flag="--inference-dataset"
)
CALIBRATION_DATASET = Source(
    name="calibration_dataset", request="calibration_datasets", flag="--calibration-dataset"
)
SOURCES = (TRAIN_DATASETS, EVAL_DATASET, INFERENCE_DATASET, CALIBRATION_DATASET)


_TRAIN_DATA = Input(key=TRAIN_DATA, kind="folder", sources=(TRAIN_DATASETS,), many=True)
_EVAL_DATA = Input(key=VALIDATE_DATA, kind="folder", sources=(EVAL_DATASET,), many=True)
_OPTIONAL_EVAL_DATA = replace(_EVAL_DATA, optional=True)
_INPUT_FOLDER = Input(
    key=INFERENCE_DATA,
    kind="folder",
    sources=(INFERENCE_DATASET, EVAL_DATASET),
    images=True,
)
_RESUME = Input(key=RESUME, kind="file", fill="resume_model", optional=True)


def _model(key: str) -> Input:
    return Input(key=key, kind="file", fill="parent_model")


_TRAINED_FILES = (
    "model_best.pth",
    "model_epoch_<EEE>_step_<SSSSS>.pth (epochs count from 0)",
    "ocd_model_latest.pth",
    "results.json (best_epoch)",
)
_SCORES = (
    "results.json (hmean, precision, recall, kinds of mistakes)",
    "explained.jsonl (labels, regions and mistakes of each image)",
)
_PREDICTIONS = ("<stem>.txt", "<stem>_result.jpg", "<stem>_pred.jpg")
_STEPS = "dataset.validate_dataset.args.pre_processes"

_BY_ONNX = Value(QUANTIZE_BACKEND, "modelopt.onnx")

_TRAIN = Action(
    name="train",
    summary="Train a detector, or resume training.",
    does="Train {model.backbone} for {train.num_epochs} on {dataset.train_dataset.data_path}",
    sections=("dataset", "model", "train", "wandb"),
    required=(_TRAIN_DATA.key,),
    keys=(TRAIN_DATA, VALIDATE_DATA, NUM_EPOCHS, BATCH, "results_dir"),
    run="ocdnet.actions.train:run",
    inputs=(
        _TRAIN_DATA,
        _OPTIONAL_EVAL_DATA,
        Input(
            key=PRETRAINED,
            kind="file",
            fill="ptm_if_no_resume_model",
            optional=True,
        ),
        _RESUME,
    ),
    files=_TRAINED_FILES,
    makes="checkpoint",
    followed_by=("evaluate", "inference", "export", "prune", "quantize"),
    automl="default",
    precision=TRAIN_PRECISION,
    less_memory="dataset.train_dataset.loader.batch_size, or the size of EastRandomCropData in "
    "dataset.train_dataset.args.pre_processes",
    extras=(("train",),),
    trains=True,
    page=True,
)
_EVALUATE = Action(
    name="evaluate",
    summary="Score a model on labelled images.",
    does="Score {evaluate.checkpoint} on {dataset.validate_dataset.data_path}",
    sections=("dataset", "model", "evaluate"),
    required=(_EVAL_DATA.key,),
    keys=(
        EVALUATE_CHECKPOINT,
        VALIDATE_DATA,
        "evaluate.batch_size",
        "evaluate.post_processing.args.box_thresh",
        "results_dir",
    ),
    run="ocdnet.actions.evaluate:run",
    ray="ocdnet.scale.evaluation:run",
    inputs=(_EVAL_DATA, _model(EVALUATE_CHECKPOINT)),
    files=_SCORES,
    takes=("checkpoint", "onnx"),
    size="data",
    less_memory=f"evaluate.batch_size, or Resize2D's short_size in {_STEPS}",
    network_input=f"evaluate.batch_size, or Resize2D's short_size in {_STEPS}",
    extras=(("train",), ("deploy",)),
    page=True,
)
_INFERENCE = Action(
    name="inference",
    summary="Find text in a folder of images.",
    does="Find text with {inference.checkpoint} in {inference.input_folder}",
    sections=("dataset", "model", "inference"),
    required=(_INPUT_FOLDER.key,),
    keys=(
        INFERENCE_CHECKPOINT,
        INFERENCE_DATA,
        INFERENCE_RESIZE,
        "inference.post_processing.args.box_thresh",
        "results_dir",
    ),
    run="ocdnet.actions.inference:run",
    ray="ocdnet.scale.detect:run_inference",
    parts=True,
    inputs=(_INPUT_FOLDER, _model(INFERENCE_CHECKPOINT)),
    files=_PREDICTIONS,
    takes=("checkpoint", "onnx"),
    size="own",
    less_memory="inference.batch_size, or inference.width and inference.height",
    network_input="inference.batch_size, or inference.width and inference.height",
    extras=(("train",), ("deploy",)),
)

_ALL = (
    _TRAIN,
    _EVALUATE,
    _INFERENCE,
    Action(
        name="export",
        summary="Write a model as ONNX.",
        does="Write as ONNX {export.checkpoint}",
        sections=("dataset", "model", "export"),
        required=(EXPORT_CHECKPOINT,),
        keys=(
            EXPORT_CHECKPOINT,
            EXPORT_ONNX,
            "export.width",
            "export.height",
            "export.dynamic_size",
        ),
        run="ocdnet.actions.export:run",
        inputs=(_model(EXPORT_CHECKPOINT),),
        outputs=(Output(EXPORT_ONNX, "file", "create_onnx_file", "onnx", EXPORT_CHECKPOINT),),
        files=("{export.onnx_file}",),
        takes=("checkpoint",),
        makes="onnx",
        followed_by=("evaluate", "inference", "gen_trt_engine"),
        size="own",
        less_memory="export.width and export.height",
        extras=(("train", "export"),),
    ),
    Action(
        name="prune",
        summary="Remove channels from a model.",
        does="Prune {prune.checkpoint}",
        sections=("dataset", "model", "prune"),
        required=(PRUNE_CHECKPOINT,),
        keys=(
            PRUNE_CHECKPOINT,
            VALIDATE_DATA,
            "prune.ch_sparsity",
            "prune.round_to",
            "results_dir",
        ),
        run="ocdnet.actions.prune:run",
        inputs=(_EVAL_DATA, _model(PRUNE_CHECKPOINT)),
        files=("pruned_{prune.ch_sparsity}.pth",),
        takes=("checkpoint",),
        makes="pruned",
        followed_by=("retrain",),
        less_memory=f"Resize2D's short_size in {_STEPS}",
        extras=(("train", "prune"),),
    ),
    Action(
        name="quantize",
        summary="Quantize a model after training.",
        does="Quantize {quantize.model_path}",
        sections=("dataset", "model", "quantize"),
        required=(QUANTIZE_MODEL,),
        keys=(QUANTIZE_MODEL, QUANTIZE_BACKEND, QUANTIZE_MODE, CALIBRATION_DATA, "results_dir"),
        run="ocdnet.actions.quantize:run",
        defaults={QUANTIZE_MODEL: "???"},
        inputs=(
            replace(_TRAIN_DATA, tao=True),
            _EVAL_DATA,
            Input(
                key=CALIBRATION_DATA,
                kind="folder",
                sources=(TRAIN_DATASETS, CALIBRATION_DATASET),
                images=True,
                when=Either((_BY_ONNX, Value(QUANTIZE_MODE, "static_ptq"))),
            ),
            _model(QUANTIZE_MODEL),
        ),
        files=("quantized_model_torchao.pth",),
        takes=("full checkpoint",),
        makes="quantized",
        followed_by=("evaluate", "inference", "export"),
        variants=(
            Variant(
                _BY_ONNX,
                takes=("onnx",),
                files=("a Q/DQ ONNX file",),
            ),
        ),
        extras=(("train", "quantize"),),
    ),
    replace(
        _TRAIN,
        name="retrain",
        summary="Train a pruned model.",
        does="Train the pruned model {model.backbone} for {train.num_epochs} on "
        "{dataset.train_dataset.data_path}",
        required=(PRUNED_GRAPH, _TRAIN_DATA.key),
        command="train",
        defaults={LOAD_PRUNED: True, PRUNED_GRAPH: "???"},
        inputs=(_TRAIN_DATA, _OPTIONAL_EVAL_DATA, _model(PRUNED_GRAPH), _RESUME),
        takes=("pruned",),
        automl="on request",
        planned_anew=True,
    ),
    replace(
        _EVALUATE,
        name="deploy_evaluate",
        summary="Score an engine on labelled images.",
        does="Score the engine {evaluate.trt_engine} on {dataset.validate_dataset.data_path}",
        required=(EVALUATE_ENGINE, _EVAL_DATA.key),
        command="evaluate",
        defaults={EVALUATE_CHECKPOINT: "", EVALUATE_ENGINE: "???"},
        inputs=(_EVAL_DATA, _model(EVALUATE_ENGINE)),
        takes=("engine",),
        extras=(("deploy",),),
        deploys=True,
    ),
    replace(
        _INFERENCE,
        name="deploy_inference",
        summary="Find text in a folder of images with an engine.",
        does="Find text with the engine {inference.trt_engine} in {inference.input_folder}",
        required=(INFERENCE_ENGINE, _INPUT_FOLDER.key),
        command="inference",
        defaults={INFERENCE_CHECKPOINT: "", INFERENCE_ENGINE: "???"},
        inputs=(_INPUT_FOLDER, _model(INFERENCE_ENGINE)),
        takes=("engine",),
        extras=(("deploy",),),
        deploys=True,
    ),
    Action(
        name="gen_trt_engine",
        summary="Build an engine from ONNX for TensorRT, ONNX Runtime or OpenVINO.",
        does="Build an engine from {gen_trt_engine.onnx_file}",
        sections=("dataset", "model", "gen_trt_engine"),
        required=(ENGINE_ONNX, ENGINE_FILE),
        keys=(
            ENGINE_ONNX,
            ENGINE_FILE,
            ENGINE_BACKEND,
            ENGINE_PRECISION,
            "gen_trt_engine.tensorrt.max_batch_size",
        ),
        run="ocdnet.actions.gen_trt_engine:run",
        inputs=(
            _model(ENGINE_ONNX),
            Input(
                key=ENGINE_IMAGES,
                kind="folder",
                sources=(CALIBRATION_DATASET,),
                images=True,
                many=True,
                when=Value(ENGINE_PRECISION, "INT8"),
            ),
        ),
        outputs=(
            Output(ENGINE_FILE, "file", "create_engine_file", "engine"),
            Output(ENGINE_CACHE, "file", "create_cal_cache"),
        ),
        files=("{gen_trt_engine.trt_engine}", "{gen_trt_engine.trt_engine}.json"),
        takes=("onnx",),
        makes="engine",
        followed_by=("deploy_evaluate", "deploy_inference"),
        size="own",
        precision=ENGINE_PRECISION,
        network_input="gen_trt_engine.batch_size and tensorrt.max_batch_size, or "
        "gen_trt_engine.width and gen_trt_engine.height",
        less_memory="gen_trt_engine.tensorrt.max_batch_size, workspace_size, or "
        "calibration.cal_batch_size",
        extras=(("deploy",),),
        deploys=True,
    ),
)

ACTIONS: dict[str, Action] = {action.name: action for action in _ALL}
"""Every action that has a schema and a template, by name."""

RESUME_ACTION = replace(
    _TRAIN,
    name="resume",
    summary="Go on with a training that was stopped, or train longer.",
    does=_TRAIN.does.replace("Train ", "Go on training ", 1),
    like="train",
    command="train",
    takes=("full checkpoint",),
    automl="on request",
    resumes=True,
)

DEFAULT_SPECS = Action(
    name="default_specs",
    summary="Write every key of every action with its default.",
    does="Write every key of every action with its default",
    sections=(),
    run="ocdnet.actions.default_specs:run",
    files=("experiment.yaml",),
)

PLANNED: dict[str, Action] = ACTIONS | {
    entry.name: entry for entry in (RESUME_ACTION, DEFAULT_SPECS)
}
"""Everything that can be planned, by name."""

AUTOML = replace(
    _TRAIN,
    name=SEARCH,
    summary="Search for better hyperparameters: each trial is a training.",
    like="train",
    files=(
        "model_best.pth",
        "best_spec.yaml",
        "results.json",
    ),
    extras=(("train", "automl"),),
)
"""The search: a training run by another command, into a folder of its own."""

RUNS: dict[str, Action] = {SEARCH: AUTOML} | ACTIONS
"""Everything that leaves a folder, by the name that its status.json gives."""

"""Every fact of an action, once. Plain data: `--help` and `plan` load neither pydantic nor torch.

The command line, the plan, the runs' readers, the doctor and the generated files (skill_info.yaml,
schemas, references) all read these entries; what an action does stands in `ocdnet.actions`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from ocdnet.spec_keys import (
    CALIBRATION_DATA,
    ENGINE_CACHE,
    ENGINE_FILE,
    ENGINE_IMAGES,
    ENGINE_ONNX,
    EVALUATE_CHECKPOINT,
    EVALUATE_ENGINE,
    EXPORT_CHECKPOINT,
    EXPORT_ONNX,
    INFERENCE_CHECKPOINT,
    INFERENCE_DATA,
    INFERENCE_ENGINE,
    LOAD_PRUNED,
    PRETRAINED,
    PRUNE_CHECKPOINT,
    PRUNED_GRAPH,
    QUANTIZE_MODEL,
    RESUME,
    TRAIN_DATA,
    VALIDATE_DATA,
)
from ocdnet.tree import keys

ROOT_KEYS = ("results_dir", "encryption_key", "model_name")
"""Keys outside every section, which all actions read."""

SEARCH = "automl"
"""The command that searches train's parameters, and its folder: no action, it has no spec."""

Model = Literal["checkpoint", "full checkpoint", "pruned", "quantized", "engine", "onnx"]
"""Kinds of model files; a full checkpoint holds the state that training goes on from."""


@dataclass(frozen=True, kw_only=True)
class Source:
    """A dataset that the user names.

    Attributes:
        name: in skill_info.yaml.
        request: field of a request that names it.
        flag: of `ocdnet plan`.
        labelled: whether it has labels; else it is a folder of images.
    """

    name: str
    request: str
    flag: str
    labelled: bool = False


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


@dataclass(frozen=True)
class Value:
    """The condition that a spec's key holds a value."""

    key: str
    value: Any

    def holds(self, tree: Mapping[str, Any]) -> bool:
        """Whether it does in a spec."""
        return bool(keys.get(tree, self.key) == self.value)


@dataclass(frozen=True, kw_only=True)
class Input:
    """A spec key that names what an action reads.

    Attributes:
        key: dotted.
        kind: `file` or `folder`.
        fill: function of `policy.parents` that finds its value in an earlier job's results.
        sources: the datasets that it may be, TAO's first choice first; none where it is no data.
        images: whether it is images alone, without labels.
        many: whether it is a list of paths.
        when: only under this condition is it read.
        optional: whether the action goes without it; else the plan asks for it.
    """

    key: str
    kind: Literal["file", "folder"]
    fill: str = ""
    sources: tuple[Source, ...] = ()
    images: bool = False
    many: bool = False
    when: Value | None = None
    optional: bool = False

    @property
    def source(self) -> Source:
        """The dataset that is for this key first of all: of images alone, one without labels."""
        return min(self.sources, key=lambda source: source.labelled)


@dataclass(frozen=True)
class Output:
    """A spec key that names what an action writes.

    Attributes:
        key: dotted.
        kind: `file` or `folder`.
        fill: function of `policy.parents` that names it.
        model: the kind of model that the file is; None: it is no model.
        beside: key of the file whose name it takes, with `.onnx` for a suffix, where its own key
            has no value.
    """

    key: str
    kind: Literal["file", "folder"]
    fill: str = ""
    model: Model | None = None
    beside: str = ""


@dataclass(frozen=True)
class Variant:
    """How an action differs where its spec says so.

    Attributes:
        when: the condition.
        takes: in place of the action's.
        files: in place of the action's.
    """

    when: Value
    takes: tuple[Model, ...]
    files: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Action:
    """One action of the skill.

    Attributes:
        name: what users ask for; also the name of its schema and template. `deploy_<action>` is
            an action whose model is an engine.
        summary: one line for `--help`.
        does: the plan's sentence, with the values of dotted keys in braces.
        sections: sections of the experiment file that it reads; none: it has no spec.
        run: function that does it, as `module:function`.
        required: dotted keys that must have a value.
        command: subcommand of `ocdnet` that runs it, where that is not its name.
        like: action whose schema and template it follows, where they are not its own.
        defaults: dotted keys whose default differs from the section's.
        inputs: what it reads.
        outputs: what it writes, beside its results folder.
        files: names of what it leaves in its folder or elsewhere; values of keys in braces.
        takes: kinds of model that it takes from an earlier job, the preferred first.
        makes: kind of model that it leaves.
        followed_by: actions that take what it leaves.
        variants: what differs by a value of its spec.
        automl: whether a search over its parameters is the default, on request, or never.
        size: where the size of its images stands: in keys of its own section, in the validation
            data's steps, or nowhere.
        less_memory: what to lower where memory runs out.
        extras: packages that it needs: any one of several sets of the project's extras.
        trains: whether it trains: several GPUs and machines, epochs, checkpoints.
        resumes: whether it goes on with an earlier run, in that run's folder.
        deploys: whether it belongs to the deploy container.
        planned_anew: whether its spec can't be made of the one of the job that it follows.
        page: whether its folder gets a report.
    """

    name: str
    summary: str
    does: str
    sections: tuple[str, ...]
    run: str
    required: tuple[str, ...] = ()
    command: str = ""
    like: str = ""
    defaults: Mapping[str, Any] = field(default_factory=dict)
    inputs: tuple[Input, ...] = ()
    outputs: tuple[Output, ...] = ()
    files: tuple[str, ...] = ()
    takes: tuple[Model, ...] = ()
    makes: Model | None = None
    followed_by: tuple[str, ...] = ()
    variants: tuple[Variant, ...] = ()
    automl: Literal["default", "on request", "never"] = "never"
    size: Literal["own", "data", ""] = ""
    less_memory: str = "the batch size or the image size"
    extras: tuple[tuple[str, ...], ...] = ()
    trains: bool = False
    resumes: bool = False
    deploys: bool = False
    planned_anew: bool = False
    page: bool = False

    @property
    def section(self) -> str:
        """The action's own section, which also names its folder of results."""
        return self.command or self.name

    @property
    def spec(self) -> str:
        """The action whose schema and template it follows."""
        return self.like or self.name

    @property
    def fills(self) -> dict[str, str]:
        """Dotted key -> function that finds or names its value; results_dir comes last."""
        read = {item.key: item.fill for item in self.inputs if item.fill}
        written = {item.key: item.fill for item in self.outputs if item.fill}
        return {**read, **written, "results_dir": "output_dir"}

    @property
    def model(self) -> str | None:
        """The key of the model that it takes from an earlier job."""
        function = "resume_model" if self.resumes else "parent_model"
        return next((key for key, fill in self.fills.items() if fill == function), None)

    @property
    def data(self) -> tuple[Input, ...]:
        """Its inputs that are data."""
        return tuple(entry for entry in self.inputs if entry.sources)

    @property
    def one_size(self) -> bool:
        """Whether the model that it leaves takes images of one size alone."""
        return self.makes in ("onnx", "engine")

    def of(self, tree: Mapping[str, Any]) -> Action:
        """The action as it is under a spec."""
        for variant in self.variants:
            if variant.when.holds(tree):
                return replace(self, takes=variant.takes, files=variant.files)
        return self


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
_SCORES = ("results.json (hmean, precision, recall)",)
_PREDICTIONS = ("<stem>.txt", "<stem>_result.jpg", "<stem>_pred.jpg")
_STEPS = "dataset.validate_dataset.args.pre_processes"

_TRAIN = Action(
    name="train",
    summary="Train a detector, or resume training.",
    does="Train {model.backbone} for {train.num_epochs} on {dataset.train_dataset.data_path}",
    sections=("dataset", "model", "train", "wandb"),
    required=(_TRAIN_DATA.key,),
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
    run="ocdnet.actions.evaluate:run",
    inputs=(_EVAL_DATA, _model(EVALUATE_CHECKPOINT)),
    files=_SCORES,
    takes=("checkpoint", "onnx"),
    size="data",
    less_memory=f"evaluate.batch_size, or Resize2D's short_size in {_STEPS}",
    extras=(("train",), ("deploy",)),
    page=True,
)
_INFERENCE = Action(
    name="inference",
    summary="Find text in a folder of images.",
    does="Find text with {inference.checkpoint} in {inference.input_folder}",
    sections=("dataset", "model", "inference"),
    required=(_INPUT_FOLDER.key,),
    run="ocdnet.actions.inference:run",
    inputs=(_INPUT_FOLDER, _model(INFERENCE_CHECKPOINT)),
    files=_PREDICTIONS,
    takes=("checkpoint", "onnx"),
    size="own",
    less_memory="inference.batch_size, or inference.width and inference.height",
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
        run="ocdnet.actions.quantize:run",
        defaults={QUANTIZE_MODEL: "???"},
        inputs=(
            _TRAIN_DATA,
            _EVAL_DATA,
            Input(
                key=CALIBRATION_DATA,
                kind="folder",
                sources=(TRAIN_DATASETS, CALIBRATION_DATASET),
                images=True,
            ),
            _model(QUANTIZE_MODEL),
        ),
        files=("quantized_model_torchao.pth",),
        takes=("full checkpoint",),
        makes="quantized",
        followed_by=("evaluate", "inference", "export"),
        variants=(
            Variant(
                Value("quantize.backend", "modelopt.onnx"),
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
        deploys=True,
    ),
    Action(
        name="gen_trt_engine",
        summary="Build an engine from ONNX for TensorRT, ONNX Runtime or OpenVINO.",
        does="Build an engine from {gen_trt_engine.onnx_file}",
        sections=("dataset", "model", "gen_trt_engine"),
        required=(ENGINE_ONNX, ENGINE_FILE),
        run="ocdnet.actions.gen_trt_engine:run",
        inputs=(
            _model(ENGINE_ONNX),
            Input(
                key=ENGINE_IMAGES,
                kind="folder",
                sources=(CALIBRATION_DATASET,),
                images=True,
                many=True,
                when=Value("gen_trt_engine.tensorrt.data_type", "INT8"),
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
        "model_best.pth (the best trial's)",
        "best_spec.yaml",
        "trial_<NNN>/ (a training each)",
        "results.json",
    ),
    extras=(("train", "automl"),),
)
"""The search: a training run by another command, into a folder of its own."""

RUNS: dict[str, Action] = {SEARCH: AUTOML} | ACTIONS
"""Everything that leaves a folder, by the name that its status.json gives."""

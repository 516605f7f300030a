"""What a catalogue entry says of an action: plain data, and a few short answers from it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from ocdnet.tree import keys

ROOT_KEYS = ("results_dir", "encryption_key", "model_name", "max_megapixels")
"""Keys outside every section, which all actions read."""

Model = Literal["checkpoint", "full checkpoint", "pruned", "quantized", "engine", "onnx"]
"""Kinds of model files; a full checkpoint holds the state that training goes on from."""


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
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


@dataclass(frozen=True, eq=False, repr=False)
class Value:
    """The condition that a spec's key holds a value."""

    key: str
    value: Any

    def holds(self, tree: Mapping[str, Any]) -> bool:
        """Whether it does in a spec."""
        return bool(keys.get(tree, self.key) == self.value)

    @property
    def words(self) -> str:
        """For people."""
        return f"{self.key}={self.value}"


@dataclass(frozen=True, eq=False, repr=False)
class Either:
    """The condition that at least one of several holds."""

    conditions: tuple[Value, ...]

    def holds(self, tree: Mapping[str, Any]) -> bool:
        """Whether one does in a spec."""
        return any(condition.holds(tree) for condition in self.conditions)

    @property
    def words(self) -> str:
        """For people."""
        return " or ".join(condition.words for condition in self.conditions)


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
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
        tao: whether TAO's image alone is given it: ours does not read it.
    """

    key: str
    kind: Literal["file", "folder"]
    fill: str = ""
    sources: tuple[Source, ...] = ()
    images: bool = False
    many: bool = False
    when: Value | Either | None = None
    optional: bool = False
    tao: bool = False

    @property
    def source(self) -> Source:
        """The dataset that is for this key first of all: of images alone, one without labels."""
        return min(self.sources, key=lambda source: source.labelled)


@dataclass(frozen=True, eq=False, repr=False)
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


@dataclass(frozen=True, eq=False, repr=False)
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


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
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
        keys: the five that are set most often, as `--help` lists them.
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
        precision: key of the number format that it computes in or makes, where it has a choice.
        less_memory: what to lower where memory runs out.
        network_input: what sets the batch and the size that a network is given.
        extras: packages that it needs: any one of several sets of the project's extras.
        trains: whether it trains: several GPUs and machines, epochs, checkpoints.
        resumes: whether it goes on with an earlier run, in that run's folder.
        deploys: whether it belongs to the deploy container.
        planned_anew: whether its spec can't be made of the one of the job that it follows.
        page: whether its folder gets a report.
        ray: what runs it on Ray, as `module:function`, with a spec, a runner, and by name what the
            command's options say; empty: Ray does not run it.
        parts: whether Ray writes rows of pictures, in parts.
    """

    name: str
    summary: str
    does: str
    sections: tuple[str, ...]
    run: str
    required: tuple[str, ...] = ()
    keys: tuple[str, ...] = ()
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
    precision: str = ""
    less_memory: str = "the batch size or the image size"
    network_input: str = "the batch size or the image size"
    extras: tuple[tuple[str, ...], ...] = ()
    trains: bool = False
    resumes: bool = False
    deploys: bool = False
    planned_anew: bool = False
    page: bool = False
    ray: str = ""
    parts: bool = False

    @property
    def section(self) -> str:
        """The action's own section, which also names its folder of results."""
        return self.command or self.name

    @property
    def reads(self) -> tuple[str, ...]:
        """The top of its spec: root keys and sections."""
        return (*ROOT_KEYS, *self.sections)

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

    def uses(self, key: str) -> bool:
        """Whether a key is of no dataset, or of one that the action reads."""
        datasets = {item.key.rpartition(".")[0] for item in self.data if not item.tao}
        return not key.startswith("dataset.") or any(key.startswith(f"{d}.") for d in datasets)

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

"""From a request to a plan: one JSON document, and with `write` the files to run. Launches nothing.

request -> action and route -> data, parent's model, settings -> checked spec -> commands.
"""

from __future__ import annotations

from dataclasses import asdict, replace
from pathlib import Path
from shlex import quote
from typing import Any

from ocdnet.catalogue import ACTIONS, SEARCH
from ocdnet.errors import UsageError, UserError
from ocdnet.files import write_text
from ocdnet.launch.job import PlannedJob
from ocdnet.launch.platforms import Launch, launch
from ocdnet.launch.tao_image import rendered
from ocdnet.notes import Notes
from ocdnet.policy import draft as drafting
from ocdnet.policy import parents, routing, settings, words
from ocdnet.policy.artifacts import Skill
from ocdnet.policy.datasets import (
    Datasets,
    calibration_settings,
    dataset_overrides,
)
from ocdnet.policy.draft import Draft
from ocdnet.policy.image_size import ARTIFACTS, size_changes, whole
from ocdnet.policy.request import Request
from ocdnet.policy.summary import free_results_dir, promised_files, section_of, summary
from ocdnet.runs import jobs as results
from ocdnet.runs.files import epoch_of
from ocdnet.runs.metric_names import DEFAULT_METRIC
from ocdnet.tree import nodes, yaml_io

_RESULTS = "results"
_SECRETS = ("encryption_key",)
_ENGINE = "gen_trt_engine.tensorrt"
_TRAIN = "dataset.train_dataset.data_path"
_RESUME = "train.resume_training_checkpoint_path"


def build(request: Request, skill: Skill, program: str) -> dict[str, Any]:
    """Plan a request.

    Args:
        request: what is asked for.
        skill: whose generated files decide.
        program: how the user calls `ocdnet`, quoted for a shell.

    Returns:
        A document valid against schemas/plan.schema.json.

    Raises:
        UserError: the request can't be planned; nothing is written then.
    """
    notes = Notes()
    heard = words.read(request.text)
    action = _action(request, heard, notes)
    if action == "default_specs":
        return _default_specs(request, heard, program, notes)
    kind = routing.choose(action, request.automl_policy, heard.automl_policy, skill, notes)
    by = routing.runner(action, request.platform, notes) if kind == "automl" else ""
    here = by == routing.HERE
    if kind == "automl" and not here and request.platform == "local":
        request = replace(request, platform="docker")  # trials run in containers: absolute paths
    draft, tree, extract = _spec(action, request, skill, program, notes, here)
    route: dict[str, Any] = {"kind": kind}
    if kind == "automl":
        route = routing.automl_route(
            action, tree, skill, by=by, trials=request.trials, metric=request.metric
        )
    elif request.trials or request.metric:
        notes.warn("--trials and --metric are of an AutoML search, which this is not.")
    trials = route["budget"]["automl_max_recommendations"] if kind == "automl" else None
    if by == routing.BY_SKILL:
        tree["results_dir"] = draft.defaults["results_dir"]
        notes.because(f"results_dir is left to {routing.AUTOML_SKILL}: a folder for each trial.")
    ready = not any(question.blocking for question in notes.missing)
    if request.platform == "tao-docker" and ready:
        tree, left_out = rendered(tree, draft.ours())
        for change in left_out:
            notes.warn(change)
    changes = _masked(drafting.differences(draft, tree))
    target = Path(request.write) / f"{action}.yaml" if request.write and ready else None
    flags = _search_flags(route, tree, notes) if here else ()
    job = _job(action, request, skill, changes, tree, target, flags)
    how = Launch(image=str(skill.info["container_image"]))
    if kind == "direct" or here:
        how = launch(job, program, notes) if ready else Launch()
    written = _write(target, tree, how.files) if target else []
    if request.write and not target:
        notes.warn("Nothing is written before the blocking questions are answered.")
    where = None if by == routing.BY_SKILL else request.platform
    return {
        "action": action,
        "summary": summary(action, trials, tree, where),
        "route": route,
        "why": notes.why,
        "spec_overrides": changes,
        "spec_file": str(target) if target else None,
        **({"spec": _masked(tree)} if request.full else {}),
        "extract": extract,
        "image": how.image,
        "commands": how.commands,
        "files": written,
        "outputs": promised_files(SEARCH if kind == "automl" else action, tree),
        "warnings": notes.warnings,
        "missing": [asdict(question) for question in notes.missing],
        "not_understood": list(heard.unused),
    }


def _search_flags(route: dict[str, Any], tree: dict[str, Any], notes: Notes) -> tuple[str, ...]:
    """What `ocdnet automl` is told beside the spec."""
    flags = ["--trials", str(route["budget"]["automl_max_recommendations"])]
    if route["metric"] != DEFAULT_METRIC:
        flags += ["--metric", route["metric"]]
    count = tree["train"]["num_gpus"]
    if isinstance(count, int) and count > 1:
        flags += ["--workers", str(count)]
        notes.because(f"train.num_gpus is {count}: as many trials at a time, a GPU each.")
    return tuple(flags)


def _action(request: Request, heard: words.Words, notes: Notes) -> str:
    """What to plan: the action that is given, else the first that the words ask for."""
    if heard.reads_text:
        notes.warn("OCDNet finds text and does not read it: OCRNet reads the words in its boxes.")
    if heard.conflict and request.automl_policy is None:
        notes.ask(
            "--automl-policy",
            "The words say both: AutoML, and not. Which is meant, on or off?",
            blocking=False,
        )
    action = request.action or heard.action
    if action is None:
        raise UsageError(
            "no-action",
            "The request does not say what to do"
            + (", but to read text, which OCDNet does not do" if heard.reads_text else ""),
            got=request.text[:80] or None,
            expected=f"--action, one of {', '.join([*ACTIONS, 'resume', 'default_specs'])}",
            hint="Words are understood in English; --action says it without words.",
        )
    asked = [a for a in (heard.action, *heard.others) if a and a != action]
    if request.action and heard.action and heard.action != action:
        notes.warn(f"The action is {action}, as given; the words ask for {heard.action}.")
    elif asked:
        notes.warn(
            f"The words also ask for {', '.join(asked)}: one plan each; "
            "after this one `next RESULTS_DIR` names the command."
        )
    notes.because(f"The action is {action}, {'as given' if request.action else 'by the words'}.")
    return action


def _spec(
    action: str, request: Request, skill: Skill, program: str, notes: Notes, here: bool
) -> tuple[Draft, dict[str, Any], list[dict[str, str]]]:
    """The checked spec of an action: its draft, every key, and the archives to unpack first.

    `here`: `ocdnet automl` searches with it.
    """
    name = "train" if action == "resume" else action
    file = Path(request.spec) if request.spec else None
    draft = drafting.draft(name, skill, file, request.overrides)
    changes = _results(SEARCH if here else action, request, draft, notes)
    model, found = _models(action, request, skill, draft, changes, notes)
    changes |= model
    if found is not None:
        draft = replace(draft, inherited=_inherited(found, name, skill, notes))
        if action == "resume":
            changes |= _same_folder(found, request, draft)
        if found.action in ARTIFACTS:
            pairs = whole(size_changes(section_of(action), found), draft.complete(changes))
            changes |= {key: value for key, value in pairs if not draft.value(key)}
    data = _data(action, request, skill, draft, program, notes)
    changes |= data.overrides
    changes |= _settings(action, draft, changes, data, here, notes)
    tree = draft.complete(changes)
    inferred = skill.info["spec_params"][name]
    models = {key for key, function in inferred.items() if function == "parent_model"}
    drafting.check(tree, draft.schema, models, notes)
    return draft, tree, data.extract


def _data(
    action: str, request: Request, skill: Skill, draft: Draft, program: str, notes: Notes
) -> Datasets:
    return dataset_overrides(
        action,
        skill.info["data_sources"],
        request,
        draft.known,
        notes,
        program=program,
        int8=draft.known(f"{_ENGINE}.data_type") == "INT8",
    )


def _results(action: str, request: Request, draft: Draft, notes: Notes) -> dict[str, Any]:
    """Where the job writes: what is given, else beside the parent's results; never over a run."""
    section = SEARCH if action == SEARCH else section_of(action)
    if action == "resume" and request.results_dir is None:
        return {}  # the run's own folder, once the checkpoint is known
    given = request.results_dir or draft.value("results_dir")
    if given is None and request.parent:
        given = str(_root(Path(request.parent)))
        notes.because("The results go beside the parent's: no results_dir is given.")
    if draft.value(f"{section}.results_dir"):
        return {"results_dir": given} if given else {}
    return {"results_dir": free_results_dir(given or _RESULTS, section, notes)}


def _root(parent: Path) -> Path:
    """The results folder that a parent is, or lies in."""
    named = results.named(parent)
    return named.parent if named.name in results.SECTIONS else named


def _models(
    action: str,
    request: Request,
    skill: Skill,
    draft: Draft,
    changes: dict[str, Any],
    notes: Notes,
) -> tuple[dict[str, Any], results.RunFolder | None]:
    """The keys that skill_info infers from the parent; and the job whose model is taken."""
    tree = draft.complete(changes)
    context = parents.Context(
        action=action,
        parent=Path(request.parent) if request.parent else None,
        results_dir=str(tree.get("results_dir") or _RESULTS),
        notes=notes,
        checkpoint=request.checkpoint,
        backend=str((tree.get("quantize") or {}).get("backend", "")),
        pretrained=str(draft.value("model.pretrained_model_path") or ""),
    )
    found: dict[str, Any] = {}
    taken = None
    for key, function in skill.info["spec_params"][draft.name].items():
        if key == "results_dir" or draft.value(key):
            continue
        value = parents.resolve(function, key, context)
        if value is None:
            continue
        found[key] = value
        if function.startswith(("parent_model", "resume_model", "ptm")) and request.parent:
            taken = _job_of(Path(value), Path(request.parent))
    return found, taken


def _job_of(model: Path, parent: Path) -> results.RunFolder | None:
    """The job in whose folder a model lies."""
    return next((job for job in results.run_folders(parent) if job.folder in model.parents), None)


def _inherited(job: results.RunFolder, name: str, skill: Skill, notes: Notes) -> dict[str, Any]:
    """What the job's resolved spec hands on: its data and network, and of a resumed run all."""
    try:
        handed = drafting.inheritance(job.experiment, name, skill)
    except UserError as error:
        notes.warn(f"{job.folder}/experiment.yaml is not used: {error}")
        return {}
    if handed:
        notes.because(
            f"{', '.join(handed)}: as in {job.folder}/experiment.yaml, where not given anew."
        )
    return handed


def _same_folder(job: results.RunFolder, request: Request, draft: Draft) -> dict[str, Any]:
    """A resumed run goes on in its own folder, unless another is given."""
    if request.results_dir or draft.value("results_dir") or draft.value("train.results_dir"):
        return {}
    if job.folder.name == "train":
        return {"results_dir": str(job.folder.parent)}
    return {"results_dir": str(job.folder.parent), "train.results_dir": str(job.folder)}


def _settings(
    action: str, draft: Draft, changes: dict[str, Any], data: Datasets, here: bool, notes: Notes
) -> dict[str, Any]:
    """The values that follow from others; none where the schema that bounds them is missing."""
    if draft.schema is None:
        return {}
    tree, section = draft.complete(changes), section_of(action)
    follow = settings.gpus(section, tree, draft.value, notes)
    if section == "train":
        follow |= settings.training(tree, draft.value, notes)
        tree_now = draft.complete(changes | follow)
        settings.batch(tree_now, data.images.get(_TRAIN), here, notes)
        if action == "resume":
            path = nodes.value_at(tree, _RESUME)
            settings.resumed(tree, epoch_of(Path(path)), draft.value, notes)
    if action == "prune":
        share = nodes.value_at(tree, "prune.ch_sparsity")
        notes.because(f"prune.ch_sparsity {share} removes {share:.0%} of the channels.")
    images = data.images.get(f"{_ENGINE}.calibration.cal_image_dir")
    if images:
        own = nodes.value_at(tree, f"{_ENGINE}.calibration")
        follow |= calibration_settings(images, own["cal_batch_size"], own["cal_batches"], notes)
    return follow


def _job(
    action: str,
    request: Request,
    skill: Skill,
    changes: dict[str, Any],
    tree: dict[str, Any],
    target: Path | None,
    search: tuple[str, ...],
) -> PlannedJob:
    name = "train" if action == "resume" else action
    entry, section = skill.info["actions"][name], tree.get(section_of(action)) or {}
    count = section.get("num_gpus", 1)
    tao_images = ("", "")
    if request.platform == "tao-docker":
        tao_images = (skill.info["container_image"], skill.deploy_info["container_image"])
    return PlannedJob(
        action=action,
        command=section_of(action),
        spec=tree,
        inputs={key: value["type"] for key, value in entry["inputs"].items()},
        outputs={key: value["type"] for key, value in entry["outputs"].items()},
        spec_file=target,
        overrides={key: value for key, value in changes.items() if key not in _SECRETS},
        template=skill.template_path(name),
        skill_dir=skill.root,
        results_dir=str(tree.get("results_dir") or _RESULTS),
        platform=request.platform,
        image=request.image,
        claims=request.claims,
        num_gpus=count,
        num_nodes=section.get("num_nodes", 1),
        search=search,
        gpus_asked=count > 1 or section.get("gpu_ids", [0]) != [0],
        tao_images=tao_images,
    )


def _write(target: Path, tree: dict[str, Any], files: dict[str, str]) -> list[str]:
    """Write the spec and what belongs to it; the paths written.

    Raises:
        UsageError: one of them is there already; none is written then.
    """
    head = f"# ocdnet {target.stem}: every key, by `ocdnet plan`.\n"
    texts = {target: head + yaml_io.dump(yaml_io.styled(tree))}
    texts |= {target.parent / name: text for name, text in files.items()}
    for path in texts:
        if path.exists():
            raise UsageError(
                "file-exists",
                f"{path} exists, and is not written over",
                expected="a folder without it",
                hint="Choose another folder with --write.",
            )
    for path, text in texts.items():
        write_text(path, text)
    return [str(path) for path in texts]


def _default_specs(
    request: Request, heard: words.Words, program: str, notes: Notes
) -> dict[str, Any]:
    """The plan of the one action that has no spec: it writes one."""
    folder = request.results_dir or "default_specs"
    if (Path(folder) / "experiment.yaml").exists():
        notes.ask("--results-dir", f"{folder}/experiment.yaml exists: which other folder?")
    if request.platform != "local":
        notes.warn(f"default_specs is run on this machine, not on {request.platform}.")
    notes.because("default_specs needs nothing but a writable results_dir.")
    return {
        "action": "default_specs",
        "summary": f"Write every key of every action with its default to {folder}.",
        "route": {"kind": "direct"},
        "why": notes.why,
        "spec_overrides": {"results_dir": folder},
        "spec_file": None,
        "extract": [],
        "image": None,
        "commands": [f"{program} default_specs {quote(f'results_dir={folder}')}"],
        "files": [],
        "outputs": {"folder": folder, "files": ["experiment.yaml"]},
        "warnings": notes.warnings,
        "missing": [asdict(question) for question in notes.missing],
        "not_understood": list(heard.unused),
    }


def _masked(tree: dict[str, Any]) -> dict[str, Any]:
    """The tree without its secrets: a plan is printed, and shown to others."""
    return {key: "***" if key in _SECRETS and value else value for key, value in tree.items()}

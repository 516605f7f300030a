"""What the planned job has from the one before it: its model, its settings, its folder."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ocdnet.errors import DataError, UserError
from ocdnet.launch.platforms import PLATFORMS
from ocdnet.policy.case import Case
from ocdnet.policy.draft import Draft, inheritance
from ocdnet.policy.found_nothing import found_nothing
from ocdnet.policy.image_size import in_whole_lists, size_changes
from ocdnet.policy.parents import Context, resolve, runs_of
from ocdnet.policy.placing import RESULTS_DIR, free_results_dir
from ocdnet.policy.rewriting import ask_before_rewriting
from ocdnet.policy.round_to import fitted
from ocdnet.runs.files import is_file
from ocdnet.runs.jobs import SECTIONS, TRAINING, RunFolder, job_in, named, same_folder
from ocdnet.spec_keys import RESUME
from ocdnet.tree.references import has_references


def placed(case: Case, draft: Draft) -> Draft:
    """The draft with where the job writes: what is given, else beside the parent's; never over it.

    A run that is resumed goes on in its own folder: `from_parent` says which.
    """
    given = case.request.results_dir or draft.value("results_dir")
    if case.entry.resumes and case.request.results_dir is None:
        return draft
    if given is None and case.parent is not None:
        folder = named(case.parent)
        given = str(folder.parent if folder.name in SECTIONS else folder)
        case.notes.because(
            "The results go beside the parent's: no results_dir is given.", "results_dir"
        )
    own = draft.value(f"{case.run.section}.results_dir")
    if own and not has_references(own):  # it may refer to results_dir
        return draft.with_changes({"results_dir": given} if given else {})
    free = free_results_dir(given or RESULTS_DIR, case.run.section, case.notes)
    return draft.with_changes({"results_dir": free})


def from_parent(case: Case, draft: Draft) -> Draft:
    """The draft with the keys that the parent's results fill, and what its spec hands on."""
    draft, job = _with_model(case, draft)
    given = [key for key in _model_keys(draft) if draft.value(key)]
    for key in given:
        _warn_of_absence(case, key, Path(str(draft.value(key))))
    if job is None and case.parent is not None and given:
        job = _settings_of(case, draft, given[0])
    if job is not None:
        draft = _following(case, draft, job)
    draft = draft.with_changes(fitted(draft, job, case.notes))
    _warn_of_nothing_found(case, draft, job)
    ask_before_rewriting(case, draft)
    return draft


def _with_model(case: Case, draft: Draft) -> tuple[Draft, RunFolder | None]:
    """The draft with what the parent's results fill, and the job whose model that is."""
    context = Context(
        entry=draft.entry.of(draft.tree),
        parent=case.parent,
        results_dir=str(draft.at("results_dir") or RESULTS_DIR),
        notes=case.notes,
        checkpoint=case.request.checkpoint,
    )
    chosen: dict[str, Any] = {}
    job = None
    for key, function in context.entry.fills.items():
        if key == "results_dir" or draft.value(key):
            continue
        choice = resolve(function, key, context)
        if choice is None:
            continue
        chosen[key], job = choice.value, choice.job or job
        if choice.why:
            case.notes.because(f"{key} is {choice.value}: {choice.why}", key)
    return draft.with_changes(chosen), job


def _model_keys(draft: Draft) -> list[str]:
    """Keys of the models that the action reads."""
    return [item.key for item in draft.entry.inputs if item.fill]


def _settings_of(case: Case, draft: Draft, key: str) -> RunFolder | None:
    """The parent's job whose settings are handed on beside a model that the user named."""
    model, runs = Path(str(draft.value(key))), _parents_jobs(case)
    holding = [job for job in runs if same_folder(job.folder, model.parent)]
    networks = [job for job in runs if job.experiment and not job.one_size]
    trained = [job for job in networks if job.action in TRAINING]
    job = next((few[0] for few in (holding, trained, networks) if len(few) == 1), None)
    if job is None:
        case.notes.warn(f"{key} is given: {case.parent} hands on no model and no settings.", key)
    elif job not in holding:
        case.notes.warn(
            f"{key} is given: {job.folder} hands on its data and network, not its model.", key
        )
    return job


def _parents_jobs(case: Case) -> list[RunFolder]:
    """The parent's jobs; none where it holds none, which a model that the user named allows."""
    try:
        return [] if case.parent is None else runs_of(case.parent)
    except DataError:
        return []


def _following(case: Case, draft: Draft, job: RunFolder) -> Draft:
    """The draft with what a job's spec and artifact hand on, where the user gave nothing else."""
    draft = draft.inheriting(_inherited(case, job))
    start = draft.at(RESUME)
    if case.entry.resumes and start and same_folder(Path(start).parent, job.folder):
        draft = draft.with_changes(_same_folder(case, draft, job))
    if not job.one_size:
        return draft
    pairs = in_whole_lists(size_changes(case.entry, job), draft.tree)
    return draft.with_changes({k: value for k, value in pairs.items() if not draft.value(k)})


def _warn_of_absence(case: Case, key: str, model: Path) -> None:
    """A model that is not there yet may be one that an earlier job will write."""
    if PLATFORMS[case.request.platform].cluster or is_file(model):
        return  # the machines of a cluster may see other files
    case.notes.warn(f"{model} is not there yet: run what writes it first.", key)


def _warn_of_nothing_found(case: Case, draft: Draft, job: RunFolder | None) -> None:
    """The model that is taken was scored, and found no text."""
    for key in _model_keys(draft):
        model = draft.at(key)
        if not isinstance(model, str) or model in ("", "???"):
            continue
        maker = job_in(Path(model).parent) if draft.value(key) else job
        doubt = found_nothing(maker, _parents_jobs(case)) if maker is not None else ""
        if doubt:
            case.notes.warn(doubt, key)


def _inherited(case: Case, job: RunFolder) -> dict[str, Any]:
    """What the job's resolved spec hands on: its data and network, and of a resumed run all."""
    try:
        handed = inheritance(job.experiment, case.entry, case.skill)
    except UserError as error:
        case.notes.warn(f"{job.folder}/experiment.yaml is not used: {error}", "--parent")
        return {}
    if handed:
        case.notes.because(
            f"{', '.join(handed)}: as in {job.folder}/experiment.yaml, where not given anew.",
            "--parent",
        )
    return handed


def _same_folder(case: Case, draft: Draft, job: RunFolder) -> dict[str, Any]:
    """A resumed run goes on in its own folder, unless another is given."""
    own = f"{case.entry.section}.results_dir"
    if case.request.results_dir or draft.value("results_dir") or draft.value(own):
        return {}
    root = {"results_dir": str(job.folder.parent)}
    return root if job.folder.name == case.entry.section else root | {own: str(job.folder)}

"""What the planned job has from the one before it: its model, its settings, its folder."""

from __future__ import annotations

from typing import Any

from ocdnet.errors import UserError
from ocdnet.policy.case import Case
from ocdnet.policy.draft import Draft, inheritance
from ocdnet.policy.image_size import in_whole_lists, size_changes
from ocdnet.policy.parents import Context, resolve
from ocdnet.policy.placing import RESULTS_DIR, free_results_dir
from ocdnet.runs.jobs import SECTIONS, RunFolder, named


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
    if draft.value(f"{case.run.section}.results_dir"):
        return draft.with_changes({"results_dir": given} if given else {})
    free = free_results_dir(given or RESULTS_DIR, case.run.section, case.notes)
    return draft.with_changes({"results_dir": free})


def from_parent(case: Case, draft: Draft) -> Draft:
    """The draft with the keys that the parent's results fill, and what its spec hands on."""
    entry = draft.entry.of(draft.tree)
    context = Context(
        entry=entry,
        parent=case.parent,
        results_dir=str(draft.at("results_dir") or RESULTS_DIR),
        notes=case.notes,
        checkpoint=case.request.checkpoint,
    )
    models = {item.key for item in entry.inputs if item.fill}
    chosen: dict[str, Any] = {}
    job, given = None, ""
    for key, function in entry.fills.items():
        if key == "results_dir":
            continue
        if draft.value(key):
            given = key if key in models else given
            continue
        choice = resolve(function, key, context)
        if choice is None:
            continue
        chosen[key], job = choice.value, choice.job or job
        if choice.why:
            case.notes.because(f"{key} is {choice.value}: {choice.why}", key)
    if case.parent is not None and job is None and given:
        case.notes.warn(
            f"{given} is given: {case.parent} hands on no model and no settings.", given
        )
    draft = draft.with_changes(chosen)
    return draft if job is None else _following(case, draft, job)


def _following(case: Case, draft: Draft, job: RunFolder) -> Draft:
    """The draft with what a job's spec and artifact hand on, where the user gave nothing else."""
    draft = draft.inheriting(_inherited(case, job))
    if case.entry.resumes:
        draft = draft.with_changes(_same_folder(case, draft, job))
    if not job.one_size:
        return draft
    pairs = in_whole_lists(size_changes(case.entry, job), draft.tree)
    return draft.with_changes({k: value for k, value in pairs.items() if not draft.value(k)})


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

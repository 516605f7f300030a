"""From a request to a plan: one JSON document, and with `write` the files to run. Launches nothing.

request -> route -> data, parent's model, settings -> checked spec -> commands.
"""

from __future__ import annotations

from dataclasses import asdict, replace
from pathlib import Path
from shlex import quote
from typing import Any

from ocdnet.catalogue import DEFAULT_SPECS, PLANNED
from ocdnet.errors import UsageError
from ocdnet.files import write_text
from ocdnet.launch.job import Launch, PlannedJob
from ocdnet.launch.launching import launch
from ocdnet.launch.platforms import LOCAL, PLATFORMS
from ocdnet.launch.tao_image import rendered, surprises
from ocdnet.notes import Notes
from ocdnet.policy import routing, words
from ocdnet.policy.artifacts import Skill
from ocdnet.policy.case import BY_SKILL, SEARCH_HERE, Case
from ocdnet.policy.datasets import find_datasets
from ocdnet.policy.draft import Draft, check, draft
from ocdnet.policy.inherit import from_parent, placed
from ocdnet.policy.placing import folder_of
from ocdnet.policy.plan_record import (
    AutomlRoute,
    DirectRoute,
    Extraction,
    Missing,
    Outputs,
    Plan,
)
from ocdnet.policy.precision import precision_override
from ocdnet.policy.request import Request, no_action
from ocdnet.policy.settings import settled
from ocdnet.policy.speed import tell_of_runtimes
from ocdnet.policy.summary import promised_files, summary
from ocdnet.runs.files import EXPERIMENT
from ocdnet.runs.names import DEFAULT_METRIC
from ocdnet.spec_keys import NUM_GPUS, SECRETS, masked
from ocdnet.tree import keys, yaml_io


def build(request: Request, skill: Skill, program: str) -> Plan:
    """Plan a request.

    Args:
        request: what is asked for.
        skill: whose generated files decide.
        program: how the user calls `ocdnet`, quoted for a shell.

    Raises:
        UserError: the request can't be planned; nothing is written then.
    """
    notes = Notes()
    stated = words.read(request.text)
    if request.action is None:
        raise no_action(request.text, reads_text=stated.reads_text)
    if stated.reads_text:
        notes.warn("OCDNet finds text and does not read it: OCRNet reads the words in its boxes.")
    case = Case(PLANNED[request.action], request, skill, notes, program)
    if case.entry == DEFAULT_SPECS:
        return _default_specs(case)
    case = replace(case, runner=routing.choose(case, stated))
    if case.runner == BY_SKILL and request.platform == LOCAL:
        # Its trials run in containers: absolute paths.
        case = replace(case, request=replace(request, platform="docker"))
    spec, extract = _drafted(case)
    return _plan(case, spec, extract)


def _drafted(case: Case) -> tuple[Draft, list[Extraction]]:
    """The checked spec, and the archives to unpack first."""
    spec = from_parent(case, placed(case, draft(case)))
    data = find_datasets(case, spec)
    spec = settled(case, spec.with_changes(data.overrides), data.images)
    check(spec, case.notes)
    tell_of_runtimes(case, spec)
    return spec, data.extract


def _plan(case: Case, spec: Draft, extract: list[Extraction]) -> Plan:
    """The plan of a checked spec; with `write` its files are written."""
    notes, target = case.notes, _target(case)
    route = _route(case, spec)
    tree = _tree(case, spec)
    changes = spec.differences(tree)
    job = PlannedJob(
        entry=case.entry,
        spec=tree,
        spec_file=target,
        overrides={key: value for key, value in changes.items() if key not in SECRETS},
        template=_template(case),
        skill_dir=case.skill.root,
        platform=case.request.platform,
        image=case.request.image,
        claims=case.request.claims,
        search=_search_flags(case, route, tree),
        tao_image=_tao_image(case),
    )
    how = _launched(case, job)
    written = _write(target, tree, how.files) if target else []
    if case.request.write and not target:
        notes.warn("Nothing is written before the blocking questions are answered.", "--write")
    return Plan(
        action=case.entry.name,
        summary=summary(case, tree, _trials(route)),
        route=route,
        spec_overrides=masked(changes),
        spec_file=str(target) if target else None,
        spec=masked(tree) if case.request.full else None,
        extract=tuple(extract),
        image=how.image,
        commands=tuple(how.commands),
        files=tuple(written),
        outputs=_outputs(case, tree),
        **_said(notes),
    )


def _route(case: Case, spec: Draft) -> DirectRoute | AutomlRoute:
    if case.runner:
        return routing.automl_route(case, case.runner, spec)
    if case.request.trials or case.request.metric:
        case.notes.warn("--trials and --metric are of an AutoML search, which this is not.")
    return DirectRoute()


def _trials(route: DirectRoute | AutomlRoute) -> int | None:
    return route.budget.automl_max_recommendations if isinstance(route, AutomlRoute) else None


def _tree(case: Case, spec: Draft) -> dict[str, Any]:
    """The complete spec as the one who runs it reads it."""
    tree, notes = spec.tree, case.notes
    if case.runner == BY_SKILL:
        tree = tree | {"results_dir": spec.defaults["results_dir"]}
        notes.because(
            f"results_dir is left to {routing.AUTOML_SKILL}: a folder for each trial.",
            "results_dir",
        )
    if PLATFORMS[case.request.platform].tao and not notes.blocked:
        tree, left_out = rendered(tree, spec.ours())
        for change in (*left_out, *surprises(tree, case.entry.of(tree))):
            notes.warn(change)
    return tree


def _template(case: Case) -> Path | None:
    """The action's template; None where it is missing: no command may name it."""
    skill, name = case.skill, case.entry.spec
    return skill.template_path(name) if skill.has_template(name) else None


def _search_flags(
    case: Case, route: DirectRoute | AutomlRoute, tree: dict[str, Any]
) -> tuple[str, ...]:
    """What `ocdnet automl` is given beside the spec; nothing where it does not run."""
    if case.runner != SEARCH_HERE or not isinstance(route, AutomlRoute):
        return ()
    flags = ["--trials", str(route.budget.automl_max_recommendations)]
    if route.metric != DEFAULT_METRIC:
        flags += ["--metric", route.metric]
    count = keys.get(tree, NUM_GPUS)
    if isinstance(count, int) and count > 1:
        flags += ["--workers", str(count)]
        reason = f"train.num_gpus is {count}: as many trials at a time, a GPU each."
        case.notes.because(reason, NUM_GPUS)
    return tuple(flags)


def _launched(case: Case, job: PlannedJob) -> Launch:
    """How the job is run: not by us where another skill searches, nor while questions block."""
    if case.runner == BY_SKILL:
        return Launch(image=job.tao_image)
    return Launch() if case.notes.blocked else launch(job, case.program, case.notes)


def _tao_image(case: Case) -> str:
    """NVIDIA's image for the action, where it is to run there; else none, and no file is read."""
    if not (PLATFORMS[case.request.platform].tao or case.runner == BY_SKILL):
        return ""
    info = case.skill.deploy_info if case.entry.deploys else case.skill.info
    return str(info["container_image"])


def _target(case: Case) -> Path | None:
    """The spec's file; None where none is asked for, or a question must be answered first."""
    write = case.request.write
    ready = write and not case.notes.blocked
    return Path(write) / f"{case.entry.name}.yaml" if write and ready else None


def _outputs(case: Case, tree: dict[str, Any]) -> Outputs:
    files = promised_files(case.run, tree)
    return Outputs(folder=str(folder_of(case.run, tree)), files=tuple(files))


def _said(notes: Notes) -> dict[str, Any]:
    """The plan's fields that the notes fill."""
    return {
        "why": tuple(note.text for note in notes.why),
        "warnings": tuple(note.text for note in notes.warnings),
        "missing": tuple(Missing(**asdict(question)) for question in notes.missing),
    }


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


def _default_specs(case: Case) -> Plan:
    """The plan of the one action that has no spec: it writes one."""
    request, notes = case.request, case.notes
    precision_override(case, None)
    folder = request.results_dir or case.entry.name
    if (Path(folder) / EXPERIMENT).exists():
        notes.ask("--results-dir", f"{folder}/{EXPERIMENT} exists: which other folder?")
    if request.platform != LOCAL:
        notes.warn(
            f"{case.entry.name} is run on this machine, not on {request.platform}.", "--platform"
        )
    notes.because(f"{case.entry.name} needs nothing but a writable results_dir.")
    return Plan(
        action=case.entry.name,
        summary=f"{case.entry.does} to {folder}.",
        route=DirectRoute(),
        spec_overrides={"results_dir": folder},
        spec_file=None,
        image=None,
        commands=(f"{case.program} {case.entry.name} {quote(f'results_dir={folder}')}",),
        files=(),
        outputs=Outputs(folder=folder, files=case.entry.files),
        **_said(notes),
    )

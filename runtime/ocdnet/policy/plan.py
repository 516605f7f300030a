"""From a request to a plan: one JSON document, and with `write` the files to run. Launches nothing.

request -> route -> data, parent's model, settings -> checked spec -> commands.
"""

from __future__ import annotations

import os
from dataclasses import asdict, replace
from itertools import chain, count
from pathlib import Path
from shlex import quote
from typing import Any

from ocdnet import shorthands
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
from ocdnet.policy.datasets import Datasets, find_datasets
from ocdnet.policy.draft import Draft, check, check_values, draft, key_of
from ocdnet.policy.inherit import from_parent, placed
from ocdnet.policy.placing import target_of
from ocdnet.policy.plan_record import (
    AutomlRoute,
    DirectRoute,
    Extraction,
    Missing,
    Outputs,
    Plan,
)
from ocdnet.policy.precision import precision_override
from ocdnet.policy.public_weights import better_start, check_name
from ocdnet.policy.request import Policy, Request, no_action
from ocdnet.policy.settings import on_ray, settled, shared
from ocdnet.policy.speed import tell_of_runtimes
from ocdnet.policy.starting import long_search, training_seconds
from ocdnet.policy.summary import promised_files, summary
from ocdnet.runs.files import EXPERIMENT, PREDICTIONS
from ocdnet.runs.names import DEFAULT_METRIC
from ocdnet.spec_keys import (
    INFERENCE_SHARD,
    INFERENCE_SHARDS,
    NUM_GPUS,
    SECRETS,
    SHARDS,
    TRAIN_DATA,
    masked,
)
from ocdnet.tree import keys, yaml_io
from ocdnet.tree.unread import unread

_REASONS = 8
"""Entries of `why` that are printed without --full."""


def build(request: Request, skill: Skill, program: str, seconds: float | None = None) -> Plan:
    """Plan a request.

    Args:
        request: what is asked for.
        skill: whose generated files decide.
        program: how the user calls `ocdnet`, quoted for a shell.
        seconds: that one training was measured to take here; None: it is guessed.

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
    case = _with_dotted_keys(case)
    case = replace(case, runner=routing.choose(case, stated))
    if case.runner == BY_SKILL and request.platform == LOCAL:
        # Its trials run in containers: absolute paths.
        case = replace(case, request=replace(request, platform="docker"))
    spec, data = _drafted(case)
    if case.runner == SEARCH_HERE:
        _warn_of_time(case, seconds or training_seconds(spec, data.images.get(TRAIN_DATA)))
    plan = _plan(case, spec, data.extract)
    return replace(plan, better_start=better_start(case, spec, data.images.get(TRAIN_DATA)))


def _with_dotted_keys(case: Case) -> Case:
    """The case with no short names of keys in its overrides."""
    name, skill = case.entry.spec, case.skill
    root = skill.schema(name) if skill.has_schema(name) else None
    overrides = shorthands.expanded(case.request.overrides, case.entry, root)
    return replace(case, request=replace(case.request, overrides=overrides))


def _drafted(case: Case) -> tuple[Draft, Datasets]:
    """The checked spec, and its data."""
    spec = from_parent(case, placed(case, draft(case)))
    data = find_datasets(case, spec)
    spec = spec.with_changes(data.overrides)
    check_values(spec)
    spec = settled(case, spec, data.images)
    check(spec, case.notes)
    check_name(case, spec)
    tell_of_runtimes(case, spec)
    if spec.root:
        given, reads = {**spec.elsewhere, **spec.given}, case.entry.reads
        for sentence in unread(given, case.run.section, reads, spec.root):
            case.notes.warn(f"{sentence}.")
    return spec, data


def _warn_of_time(case: Case, seconds: float | None) -> None:
    trials = case.request.trials or routing.RECOMMENDATIONS
    warning = long_search(trials, seconds) if seconds else None
    if warning:
        case.notes.warn(warning, "--automl-policy")


def _plan(case: Case, spec: Draft, extract: list[Extraction]) -> Plan:
    """The plan of a checked spec; with `write` its files are written."""
    notes, folder = case.notes, Path(case.request.write or _free_folder(case.entry.name))
    route = _route(case, spec)
    tree = _tree(case, spec)
    changes = spec.differences(tree)
    job = PlannedJob(
        entry=case.entry,
        spec=tree,
        spec_file=folder / f"{case.entry.name}.yaml",
        skill_dir=case.skill.root,
        platform=case.request.platform,
        image=case.request.image,
        claims=case.request.claims,
        shards=_shards(case, tree),
        search=_search_flags(case, route, tree),
        on_ray=on_ray(case, tree),
        tao_image=_tao_image(case),
    )
    how = _launched(case, job)
    commands = _commands(case, how, folder)
    writes = bool(case.request.write) and not notes.blocked
    written = _write(job.spec_file, tree, how.files) if writes else []
    if case.request.write and not writes:
        notes.warn("Nothing is written before the blocking questions are answered.", "--write")
    return Plan(
        action=case.entry.name,
        summary=summary(case, tree, _trials(route)),
        route=route,
        spec_overrides=masked(changes),
        spec_file=str(job.spec_file) if writes else None,
        spec=masked(tree) if case.request.full else None,
        extract=tuple(extract) or None,
        image=how.image,
        commands=commands,
        files=tuple(written) or None,
        outputs=_outputs(case, tree),
        **_said(case),
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


def _shards(case: Case, tree: dict[str, Any]) -> int:
    """Tasks that share the images.

    Raises:
        UsageError: the spec says another number.
    """
    shards, part = case.request.shards or 1, _part(case, tree)
    clusters = " or ".join(name for name, platform in PLATFORMS.items() if platform.cluster)
    if shared(case):
        if part and part[0] != shards:
            raise UsageError(
                "contradiction",
                f"--shards and {INFERENCE_SHARDS} say different things",
                got=f"{shards} and {part[0]}",
                expected="one of them",
            )
        return shards
    if part:
        case.notes.warn(
            f"{INFERENCE_SHARDS} is {part[0]}, and this finds part {part[1]} alone "
            f"({INFERENCE_SHARD}): --shards {part[0]} on {clusters} plans all, and their merge.",
            INFERENCE_SHARDS,
        )
    elif shards > 1:
        case.notes.warn(f"--shards is not used: it is for inference on {clusters}.", "--shards")
    return 1


def _part(case: Case, tree: dict[str, Any]) -> tuple[int, int] | None:
    """Number of parts, and the part, where the spec itself asks for one of several."""
    shards = keys.get(tree, INFERENCE_SHARDS, 1) if case.entry.section == "inference" else 1
    return (int(shards), int(keys.get(tree, INFERENCE_SHARD, 0))) if shards > 1 else None


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


def _free_folder(name: str) -> str:
    """A new folder for the plan's files, where the user names none."""
    folders = chain([f"{name}-plan"], (f"{name}-plan-{number}" for number in count(2)))
    return next(folder for folder in folders if not os.path.lexists(folder))


def _commands(case: Case, how: Launch, folder: Path) -> tuple[str, ...]:
    """What is to be run; first the same plan again, where its files are not written yet."""
    if case.request.write or not how.commands:
        return tuple(how.commands)
    request = case.request
    if request.text:  # the policy that its words state says the same
        policy: Policy = "on" if case.runner else "off"
        stated = None if case.entry.automl == "never" else policy
        request = replace(request, text="", automl_policy=stated)
    shown = tuple(one for one in request.overrides if key_of(one) not in SECRETS)
    if shown != request.overrides:
        case.notes.warn(
            f"{SECRETS[0]} is a secret and not printed: add --set {SECRETS[0]}=... to the first "
            "command.",
            SECRETS[0],
        )
    request = replace(request, overrides=shown, write=str(folder), full=False)
    return (f"{case.program} plan {' '.join(map(quote, request.flags()))}", *how.commands)


def _outputs(case: Case, tree: dict[str, Any]) -> Outputs:
    files, folder = promised_files(case.run, tree), target_of(case.run, tree)
    if shared(case):
        files = [PREDICTIONS]
    elif on_ray(case, tree):
        files = ["part-<number>.parquet"]
    elif part := _part(case, tree):
        folder += f"/{SHARDS}/{part[1]}"
    return Outputs(folder=folder, files=tuple(files))


def _said(case: Case) -> dict[str, Any]:
    """The plan's fields that the notes fill."""
    notes, most = case.notes, None if case.request.full else _REASONS
    return {
        "why": tuple(note.text for note in notes.why[:most]),
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
        commands=(f"{case.program} {case.entry.name} {quote(f'results_dir={folder}')}",),
        outputs=Outputs(folder=folder, files=case.entry.files),
        **_said(case),
    )

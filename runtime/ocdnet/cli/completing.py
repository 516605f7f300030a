"""What a shell completes: spec keys and their values, from the generated schemas alone."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

import click
from click.shell_completion import BashComplete, CompletionItem, add_completion_class

from ocdnet.catalogue import ACTIONS
from ocdnet.errors import UserError
from ocdnet.shorthands import short_names
from ocdnet.tree import nodes

Completer = Callable[[click.Context, click.Parameter, str], list[CompletionItem]]


def overrides_of(action: str | None = None) -> Completer:
    """Completes `KEY=VALUE` for an action; None: for the one that the command line names."""

    def complete(
        context: click.Context, parameter: click.Parameter, typed: str
    ) -> list[CompletionItem]:
        # Before an option that still lacks its value, click leaves arguments unread.
        named = context.params.get("action") or next(iter(context.args), None)
        leaves = _leaves(action or named)
        key, equals, value = typed.partition("=")
        if equals:
            return _values(leaves.get(key), value, f"{key}=")
        split = _key_before(context.params.get(parameter.name or "") or ())
        if split in leaves:
            return _values(leaves[split], typed, "")
        sign = typed[: len(typed) - len(typed.lstrip("+~"))]
        end = "" if sign.startswith("~") else "="
        return _matching(leaves.items(), typed.removeprefix(sign), sign, end)

    return complete


def _key_before(words: Sequence[str]) -> str:
    """The key whose value is typed, where the shell takes the = for a word, or for no word."""
    bare = words[:-1] if words[-1:] == ("=",) else words
    return bare[-1] if bare else ""


def keys_of(action: str) -> Completer:
    """Completes a dotted key of an action."""
    return lambda _context, _parameter, typed: _matching(_leaves(action).items(), typed)


def every_key(
    _context: click.Context, _parameter: click.Parameter, typed: str
) -> list[CompletionItem]:
    """Completes a dotted key of any action, or a section."""
    known: dict[str, nodes.Node] = {}
    for root in filter(None, map(_schema, ACTIONS)):
        known |= {key: nodes.find(root, key) or {} for key in nodes.known_keys(root)}
    return _matching(known.items(), typed)


def _schema(action: str) -> nodes.Node | None:
    from ocdnet.policy.artifacts import Skill, skill_dir

    try:
        return Skill(skill_dir()).schema(action)
    except UserError:  # nothing to complete from
        return None


def _leaves(action: str | None) -> dict[str, nodes.Node]:
    """Every key of an action and every short name; {} where it isn't one of ours."""
    schema = _schema(action) if action in ACTIONS else None
    if schema is None:
        return {}
    leaves = dict(nodes.leaves(schema))
    short = short_names(ACTIONS[action or ""])
    return leaves | {name: leaves[key] for name, key in short.items() if key in leaves}


def _matching(
    known: Iterable[tuple[str, nodes.Node]], typed: str, sign: str = "", end: str = ""
) -> list[CompletionItem]:
    return [
        CompletionItem(f"{sign}{key}{end}", help=node.get("description"))
        for key, node in known
        if key.startswith(typed)
    ]


def _values(node: nodes.Node | None, typed: str, start: str) -> list[CompletionItem]:
    """The choices of a key; of a text without choices, files."""
    core = nodes.core(node or {})
    choices = ("true", "false") if core.get("type") == "boolean" else core.get("enum", ())
    if not choices and core.get("type") == "string":
        return [CompletionItem(typed, type="file")]
    return [CompletionItem(f"{start}{c}") for c in map(str, choices) if c.startswith(typed)]


class _Bash(BashComplete):
    """Bash, without a space behind `key=`."""

    source_template = f"""{BashComplete.source_template}
%(complete_func)s_keys() {{
    %(complete_func)s "$@"
    [[ ${{#COMPREPLY[@]}} -eq 1 && ${{COMPREPLY[0]}} == *= ]] && compopt -o nospace
    return 0
}}
complete -o nosort -F %(complete_func)s_keys %(prog_name)s
"""


add_completion_class(_Bash)

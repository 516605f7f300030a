"""How `--help` looks: commands under headings in the order of work, an action's often set keys."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import click

from ocdnet.catalogue_entry import Action
from ocdnet.errors import UserError
from ocdnet.shorthands import short_names
from ocdnet.tree import nodes

HEADINGS = {
    "Find text, train and deploy": (
        "predict",
        "train",
        "evaluate",
        "tune",
        "export",
        "gen_trt_engine",
        "optimize",
        "prune",
        "quantize",
        "inference",
        "merge",
    ),
    "Plan and follow": ("plan", "automl", "status", "next", "report"),
    "Specs, data and weights": ("spec", "data", "view", "weights"),
    "Serve, set up and try": ("serve", "doctor", "demo", "default_specs"),
}
"""The commands, in the order in which people work."""
_OTHERS = "More"
_WHOLE = 10_000
"""Characters: no summary is that long, so none is cut."""


class Group(click.Group):
    """Commands with their whole summaries, those of `HEADINGS` under headings."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """The names of the commands, in the order of work; the others by name."""
        known = [name for names in HEADINGS.values() for name in names if name in self.commands]
        return [*known, *(name for name in super().list_commands(ctx) if name not in known)]

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the commands, those of each heading in a section of their own."""
        names = [name for name in self.list_commands(ctx) if not self.commands[name].hidden]
        wide = max(map(len, names))
        for heading, members in self._sections(names):
            with formatter.section(heading):
                formatter.write_dl([(name.ljust(wide), self._summary(name)) for name in members])

    def _sections(self, names: list[str]) -> Iterator[tuple[str, list[str]]]:
        known = {name for members in HEADINGS.values() for name in members}
        for heading, members in HEADINGS.items():
            if there := [name for name in names if name in members]:
                yield heading, there
        if others := [name for name in names if name not in known]:
            yield (_OTHERS if len(others) < len(names) else "Commands"), others

    def _summary(self, name: str) -> str:
        return self.commands[name].get_short_help_str(_WHOLE)


class ActionCommand(click.Command):
    """A command that runs an action: its help names the keys that are set most often."""

    def __init__(self, *arguments: Any, action: Action, **settings: Any) -> None:
        super().__init__(*arguments, **settings)
        self.action = action

    def often_set(self) -> list[tuple[str, str]]:
        """Rows of those keys: name and default, what it does and its short name.

        From the action's schema; without one (a damaged installation), none.
        """
        from ocdnet.policy.artifacts import Skill, skill_dir

        try:
            schema = Skill(skill_dir()).schema(self.action.name)
        except UserError:
            return []
        leaves = dict(nodes.leaves(schema))
        return [self._row(key, leaves[key]) for key in self.action.keys]

    def _row(self, key: str, node: nodes.Node) -> tuple[str, str]:
        default = node["default"]
        if key in self.action.required or default == nodes.MISSING:
            said = "required"
        else:
            said = f"default: {json.dumps(default) if default not in ('', []) else 'empty'}"
        if short := [name for name, meant in short_names(self.action).items() if meant == key]:
            said += f"; short: {min(short, key=len)}"
        return key, f"{node['description']}  [{said}]"

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the options, and after them the keys."""
        super().format_options(ctx, formatter)
        if rows := self.often_set():
            with formatter.section("Keys set most often"):
                formatter.write_dl(rows)

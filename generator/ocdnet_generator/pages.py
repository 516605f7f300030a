"""The reference pages: templates under pages/, filled from the config and the command tree."""

from __future__ import annotations

import inspect
import json
import re
from collections.abc import Iterator
from typing import Any

import click

from ocdnet.catalogue import ACTIONS
from ocdnet.catalogue_entry import ROOT_KEYS, Action
from ocdnet.cli.help import ActionCommand
from ocdnet.cli.main import cli
from ocdnet.config import compat, explain, schema
from ocdnet.errors import Exit
from ocdnet.tree import nodes
from ocdnet_generator.filling import code, filled


def config_reference() -> str:
    """Text of config-reference.md: one table a section."""
    actions = ACTIONS.values()
    return filled(
        "config-reference.md",
        actions=[
            {
                "name": action.name,
                "command": code([f"ocdnet {action.section}"]),
                "sections": action.sections,
                "required": action.required,
            }
            for action in actions
        ],
        sections=list(_sections()),
        rules=[rule.says for rule in explain.rules()],
        by_action=[
            {"action": action.name, "key": key, "default": code([json.dumps(value)])}
            for action in actions
            for key, value in action.defaults.items()
        ],
        compat=compat.COMPAT,
        extras=schema.extras(),
    )


_FILES = {
    False: "split folder with img/ and gt/, or a UTF-8 datalist file",
    True: "image folder",
}
"""What an input takes, by whether it is images alone."""
_MEANINGS = {
    "parent_model": "model file of the job named by --parent",
    "resume_model": "full epoch checkpoint of the run to go on with",
    "ptm_if_no_resume_model": "starting weights, where no run is resumed",
    "output_dir": "results folder of this job",
    "create_onnx_file": "ONNX file to write",
    "create_engine_file": "engine to write",
    "create_cal_cache": "calibration cache to write",
}
_PLACEHOLDERS = {
    "parent_model": "<model of the parent job>",
    "create_onnx_file": "<file to write>",
    "create_engine_file": "<file to write>",
}


def action_reference() -> str:
    """Text of action-reference.md: data, models and overrides of every action."""
    return filled(
        "action-reference.md",
        data=list(_data_rows()),
        params=[
            {"action": action, "key": key, "function": function, "meaning": _MEANINGS[function]}
            for action in ACTIONS
            for key, function in ACTIONS[action].fills.items()
        ],
        examples=[
            {"action": name, "json": json.dumps(_example(action), indent=2)}
            for name, action in ACTIONS.items()
        ],
    )


def _data_rows() -> Iterator[dict[str, str]]:
    for name, action in ACTIONS.items():
        for item in action.data:
            yield {
                "action": name,
                "key": item.key,
                "source": " or ".join(source.name for source in item.sources),
                "files": _FILES[item.images],
                "list": "Yes" if item.many else "No",
            }


def _example(action: Action) -> dict[str, Any]:
    """The overrides of an action's data and models, with placeholders for values."""
    values: dict[str, Any] = dict(action.defaults)
    for key, function in action.fills.items():
        if function in _PLACEHOLDERS:
            values[key] = _PLACEHOLDERS[function]
    for item in action.data:
        path = f"<{_FILES[item.images].split(',')[0]}>"
        values[item.key] = [path] if item.many else path
    return {key: value for key, value in values.items() if value != ""}


def cli_reference() -> str:
    """Text of cli-reference.md: every command that exists."""
    exits = [{"code": int(code), "meaning": code.meaning} for code in Exit]
    return filled("cli-reference.md", exits=exits, commands=list(_commands(cli, "ocdnet")))


def _sections() -> Iterator[dict[str, Any]]:
    tree = schema.experiment()["properties"]
    root = {key: tree[key] for key in ROOT_KEYS}
    yield {
        "title": "Outside every section",
        "about": "Read by every action.",
        "rows": [_row(key, node) for key, node in root.items()],
    }
    for name, node in tree.items():
        if name in root:
            continue
        readers = [action.name for action in ACTIONS.values() if name in action.sections]
        read_by = "every action" if len(readers) == len(ACTIONS) else ", ".join(readers)
        yield {
            "title": f"`{name}`",
            "about": f"{node['description']} Read by {read_by}.",
            "rows": [_row(key, leaf) for key, leaf in nodes.leaves(node, f"{name}.")],
        }


def _row(key: str, node: nodes.Node) -> dict[str, str]:
    takes = explain.takes_short(node)
    return {
        "key": key,
        "type": str(nodes.core(node).get("type", "")),
        "default": f"`{explain.abridged(node['default'])}`",
        "range": _cell(takes),
        "searched": _cell(explain.searched(node)),
        "does": _cell(node["description"]),
    }


def _cell(text: str) -> str:
    """Text for a cell of a Markdown table."""
    return text.replace("|", "\\|")


def _commands(command: click.Command, path: str) -> Iterator[dict[str, Any]]:
    context = click.Context(command, info_name=path)
    if isinstance(command, click.Group):
        for name in command.list_commands(context):
            yield from _commands(command.commands[name], f"{path} {name}")
        return
    yield {
        "path": path,
        "usage": " ".join([path, *command.collect_usage_pieces(context)]),
        "help": _prose(command.help),
        "epilog": _prose(command.epilog),
        "parameters": [
            _parameter(option) for option in command.params if isinstance(option, click.Option)
        ],
        "often_set": command.often_set() if isinstance(command, ActionCommand) else [],
    }


def _parameter(option: click.Option) -> dict[str, str]:
    value = "" if option.is_flag else option.metavar or option.type.name.upper()
    if isinstance(option.type, click.Choice) and not option.metavar and not option.is_flag:
        value = "|".join(option.type.choices)
    default = f"`{json.dumps(option.default)}`" if option.show_default else ""
    return {
        "name": _cell(f"{', '.join(option.opts)} {value}".strip()),
        "default": "required" if option.required else default,
        "help": _cell(option.help or ""),
    }


def _prose(text: str | None) -> str:
    """Help text as Markdown: click's marks for unwrapped paragraphs become code blocks."""
    clean = inspect.cleandoc(text or "").strip()
    return re.sub(r"\x08\n((?:.+\n?)+)", lambda match: f"```\n{match[1].rstrip()}\n```\n", clean)

"""The reference pages hold every key and every command."""

import click

from ocdnet.cli.main import cli
from ocdnet.config import schema
from ocdnet.tree import nodes
from ocdnet_generator import pages


def commands(command, path=()):
    if isinstance(command, click.Group):
        for name, child in command.commands.items():
            yield from commands(child, (*path, name))
    else:
        yield " ".join(path), command


def test_config_reference_has_a_row_for_every_key():
    rows = [line.split(" | ") for line in pages.config_reference().splitlines()]
    rows = {row[0]: row for row in rows if len(row) >= 6}
    for key, node in schema.leaves():
        row = rows[f"| `{key}`"]
        assert row[1] == nodes.core(node)["type"]
        assert row[-1].removesuffix(" |") == node["description"]


def test_tables_are_rectangular():
    for text in (pages.config_reference(), pages.cli_reference()):
        width = None
        for line in text.splitlines():
            if not line.startswith("|"):
                width = None
                continue
            columns = line.replace("\\|", "").count("|")
            assert width in (None, columns), line
            width = columns


def test_cli_reference_has_every_command_and_option_and_no_other():
    text = pages.cli_reference()
    found = dict(commands(cli))
    headings = [line[len("## ocdnet ") :] for line in text.splitlines() if line.startswith("## ")]
    assert sorted(headings) == sorted(found)
    for path, command in found.items():
        part = text.split(f"## ocdnet {path}\n")[1].split("\n## ")[0]
        for option in command.params:
            if isinstance(option, click.Option):
                assert f"`{', '.join(option.opts)}" in part

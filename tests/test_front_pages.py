"""README, getting-started and the rest of the pages: commands parse, specs load, links lead."""

import re
import shlex
from functools import cache
from pathlib import Path

import click
import pytest
from ruamel.yaml import YAML

import ocdnet
from ocdnet.catalogue import ACTIONS
from ocdnet.cli.main import cli
from ocdnet.config import schema, spec
from ocdnet.config.explain import keys_of
from ocdnet.version import VERSION

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
STARTED = (ROOT / "docs/getting-started.md").read_text(encoding="utf-8")
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("references/*.md")])


WITH_COMMANDS = [
    "README.md",
    "docs/getting-started.md",
    "docs/tutorial.md",
    "references/troubleshooting.md",
]
SPEC_KEY = re.compile(rf"(?!.*\.gz$)(?:{'|'.join(schema.defaults())})(?:\.\w+)+")


def blocks(page, language):
    return re.findall(rf"```{language}\n(.*?)```", page, re.DOTALL)


def commands(page):
    """What follows `ocdnet`, of the shell blocks and of the text, by words."""
    lines = "\n".join(blocks(page, "sh")).replace("\\\n", " ").splitlines()
    lines = [part.strip() for line in lines for part in line.split("&&")]
    lines += re.findall(r"`([^`\n]+)`", page)
    for line in lines:
        if line.startswith("ocdnet "):
            yield shlex.split(line, comments=True)[1:]


@cache
def anchors(path):
    """Names under which GitHub shows a page's headings."""
    headings = re.findall(r"^#+ (.*)$", path.read_text(encoding="utf-8"), re.MULTILINE)
    plain = [re.sub(r"[^\w\- ]", "", heading.lower()) for heading in headings]
    return {heading.replace(" ", "-") for heading in plain}


@pytest.mark.parametrize("name", WITH_COMMANDS)
def test_every_command_and_option_exists(name):
    found = list(commands((ROOT / name).read_text(encoding="utf-8")))
    assert len(found) >= 8
    for words in found:
        command, rest = cli, words
        while isinstance(command, click.Group) and rest and not rest[0].startswith("-"):
            assert rest[0] in command.commands, words
            command, rest = command.commands[rest[0]], rest[1:]
        known = {name for option in command.params for name in option.opts} | {"--help"}
        for word in rest:
            assert not word.startswith("-") or word in known | {"--version", "-"}, words


@pytest.mark.parametrize("name", ["tutorial", "how-it-works", "troubleshooting"])
def test_every_key_exists_and_takes_the_value(name):
    (path,) = (path for path in PAGES if path.stem == name)
    page = path.read_text(encoding="utf-8")
    words = " ".join([*re.findall(r"`([^`\n]+)`", page), *blocks(page, "sh")]).split()
    given = [word.strip("'").partition("=") for word in words]
    given = [(key, value) for key, _, value in given if SPEC_KEY.fullmatch(key)]
    assert len(given) >= 4
    for key, value in given:
        plain = re.sub(r"\.\d+\..*", "", key)  # A step's arguments are checked with the spec.
        node = schema.find(plain)
        assert node is not None, key
        if value.isalnum():
            action = next(one for one in ACTIONS.values() if plain in keys_of(one))
            tree = spec.read(None, [f"{key}={value}"], action.name)
            assert not [p for p in spec.problems(action.name, tree) if p.key == key], key


@pytest.mark.parametrize("action", ["train", "evaluate", "export", "inference"])
def test_the_spec_is_one_for_every_action(action, tmp_path):
    (text,) = blocks(STARTED, "yaml")
    (tmp_path / "spec.yaml").write_text(text)
    loaded = spec.load(action, tmp_path / "spec.yaml", [])
    assert loaded.experiment.results_dir == "results"


def test_the_python_names_exist():
    (code,) = blocks(README, "python")
    compile(code, "README.md", "exec")
    for name in re.search(r"^from ocdnet import (.*)$", code, re.MULTILINE)[1].split(", "):
        assert hasattr(ocdnet, name)


@pytest.mark.parametrize("page", PAGES, ids=lambda path: path.name)
def test_links_lead(page):
    for link in re.findall(r"\]\(([^)\s]+)\)", page.read_text(encoding="utf-8")):
        if link.startswith(("http:", "https:")):
            continue
        name, _, anchor = link.partition("#")
        target = (page.parent / name).resolve() if name else page
        assert target.exists(), link
        assert not anchor or anchor in anchors(target), link


def test_the_first_screen_shows_a_small_picture():
    (name,) = re.findall(r"!\[[^\]]+\]\(([^)]+)\)", README[:1000])
    assert (ROOT / name).stat().st_size <= 150_000


def test_one_version_everywhere():
    citation = YAML(typ="safe").load(ROOT / "CITATION.cff")
    (newest, date), *_ = re.findall(
        r"^## ([\d.]+) - ([\d-]+)$", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE
    )
    assert (citation["version"], citation["date-released"]) == (VERSION, date)
    assert newest == VERSION
    front = (ROOT / "SKILL.md").read_text(encoding="utf-8").split("---\n")[1]
    assert YAML(typ="safe").load(front)["metadata"]["version"] == VERSION

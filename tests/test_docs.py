"""README and docs: commands and options that exist, examples in docstrings that hold, pages that are in the site."""

import doctest
import re
import shlex
from importlib import import_module
from pathlib import Path

import click
import pytest
from kedro.framework.cli.cli import KedroCLI
from kedro.framework.project import pipelines
from kedro.framework.startup import bootstrap_project
from projects import ROOT
from shown import PAGES, commands

from robustmedclip.commands import command_line
from robustmedclip.commands import commands as of_projects

pytestmark = pytest.mark.slow

SHOWN = [line for line in commands() if line.startswith(("kedro ", "robustmedclip "))]


@pytest.fixture(scope="module")
def kedro() -> click.Group:
    bootstrap_project(ROOT)
    return KedroCLI(ROOT)


@pytest.mark.parametrize("line", SHOWN)
def test_a_shown_command_exists_with_its_options(kedro, line):
    program, *words = shlex.split(line)
    command: click.Command = kedro if program == "kedro" else command_line
    context = click.Context(command, info_name=program)
    while isinstance(command, click.Group) and words and not words[0].startswith("-"):
        found = command.get_command(context, words[0]) or of_projects.get_command(context, words[0])
        assert found is not None, f"there is no {words[0]}"
        command, words = found, words[1:]
    for word in words:
        if word.startswith("-") and word != "--help":
            known = [option for parameter in command.params for option in (*parameter.opts, *parameter.secondary_opts)]
            assert word.split("=")[0] in known, f"no option {word}"
    for option, value in zip(words, words[1:], strict=False):
        if option in ("--pipeline", "--pipelines") and not value.startswith("<"):
            assert set(value.split(",")) <= set(pipelines), value
        if option in ("--env", "-e"):
            assert (ROOT / "conf" / value).is_dir(), value


def examples() -> list[str]:
    files = [path for path in (ROOT / "src").rglob("*.py") if ">>> " in path.read_text(encoding="utf-8")]
    return [".".join(path.relative_to(ROOT / "src").with_suffix("").parts).removesuffix(".__init__") for path in files]


@pytest.mark.parametrize("module", examples())
def test_examples_of_docstrings_hold(module):
    assert doctest.testmod(import_module(module)).failed == 0


@pytest.mark.parametrize("page", [*PAGES, "CHANGELOG.md"])
def test_no_line_is_taken_for_a_heading_because_it_begins_with_the_number_of_an_issue(page):
    assert not re.findall(r"^#+[^#\s].*", (ROOT / page).read_text(encoding="utf-8"), re.MULTILINE)


def test_every_page_is_in_the_site():
    nav = (ROOT / "mkdocs.yml").read_text(encoding="utf-8")
    for page in (ROOT / "docs").rglob("*.md"):
        assert Path(page).relative_to(ROOT / "docs").as_posix() in nav, f"{page.name} is not in the nav of mkdocs.yml"

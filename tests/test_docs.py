"""README and docs: commands that exist, with options that exist; code that runs; examples in docstrings that hold."""

import doctest
import re
import shlex
from importlib import import_module
from pathlib import Path

import click
import numpy as np
import pytest
from kedro.framework.cli.cli import KedroCLI
from kedro.framework.project import pipelines
from kedro.framework.startup import bootstrap_project
from projects import ROOT

from robustmedclip.commands import command_line
from robustmedclip.commands import commands as of_projects

pytestmark = pytest.mark.slow

PAGES = sorted(path.relative_to(ROOT).as_posix() for path in (ROOT / "docs").rglob("*.md"))
PAGES += sorted(path.relative_to(ROOT).as_posix() for path in (ROOT / "src").rglob("README.md"))
PAGES += ["CONTRIBUTING.md", "README.md"]
BLOCK = re.compile(r"```(\w*)\n(.*?)```", re.DOTALL)
INLINE = re.compile(r"`((?:kedro|robustmedclip) [^`]+)`")


def commands(page: str) -> list[str]:
    """The commands of kedro and of this package that a page shows, a line each."""
    text = (ROOT / page).read_text(encoding="utf-8")
    blocks = [code.replace("\\\n", " ") for language, code in BLOCK.findall(text) if language == "bash"]
    lines = [part for code in blocks for line in code.splitlines() for part in line.split(" #")[0].split("&&")]
    shown = [*lines, *INLINE.findall(BLOCK.sub("", text))]
    return [line.strip() for line in shown if line.strip().startswith(("kedro ", "robustmedclip "))]


SHOWN = sorted({line for page in PAGES for line in commands(page)})


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


def test_the_pages_show_commands():
    assert len(SHOWN) > 15


def test_the_library_page_runs(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    labels = np.arange(20) % 2
    images = np.random.default_rng(0).integers(0, 90, (20, 32, 32, 1), np.uint8)
    images[labels == 1] += 99

    def brightness(batch: np.ndarray) -> np.ndarray:
        return np.stack([95 - batch.mean((1, 2, 3)), batch.mean((1, 2, 3)) - 95], axis=1)

    names = {"images": images, "labels": labels, "mine": brightness, "other": lambda batch: -brightness(batch)}
    code = BLOCK.findall((ROOT / "docs/library.md").read_text(encoding="utf-8"))[0][1]
    assert len([line for line in code.splitlines() if line]) <= 5
    exec(code, names)  # noqa: S102 - the page's own
    assert (tmp_path / "report/report.html").exists()


def examples() -> list[str]:
    files = [path for path in (ROOT / "src").rglob("*.py") if ">>> " in path.read_text(encoding="utf-8")]
    return [".".join(path.relative_to(ROOT / "src").with_suffix("").parts).removesuffix(".__init__") for path in files]


@pytest.mark.parametrize("module", examples())
def test_examples_of_docstrings_hold(module):
    assert doctest.testmod(import_module(module)).failed == 0


def test_every_page_is_in_the_site():
    nav = (ROOT / "mkdocs.yml").read_text(encoding="utf-8")
    for page in (ROOT / "docs").rglob("*.md"):
        assert Path(page).relative_to(ROOT / "docs").as_posix() in nav, f"{page.name} is not in the nav of mkdocs.yml"

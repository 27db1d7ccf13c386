"""What README and docs show: blocks of code, and commands."""

import re
from collections.abc import Iterable

from projects import ROOT

PAGES = sorted(path.relative_to(ROOT).as_posix() for path in (ROOT / "docs").rglob("*.md"))
PAGES += sorted(path.relative_to(ROOT).as_posix() for path in (ROOT / "src").rglob("README.md"))
PAGES += ["CONTRIBUTING.md", "README.md"]
PROGRAMS = (
    "kedro",
    "robustmedclip",
    "dask",
    "mkdocs",
    "mlflow",
    "mypy",
    "pip",
    "pre-commit",
    "pytest",
    "python",
    "ruff",
)
_BLOCK = re.compile(r"```(\w*)\n(.*?)```", re.DOTALL)
_INLINE = re.compile(rf"`((?:{'|'.join(PROGRAMS)}) [^`]+)`")


def blocks(page: str, language: str) -> list[str]:
    """The blocks of code of a page in a language."""
    text = (ROOT / page).read_text(encoding="utf-8")
    return [code for of, code in _BLOCK.findall(text) if of == language]


def commands(pages: Iterable[str] = PAGES) -> list[str]:
    """The commands that pages show, in blocks and within lines of text, each once, in the order of the pages."""
    shown = []
    for page in pages:
        lines = [line for code in blocks(page, "bash") for line in code.replace("\\\n", " ").splitlines()]
        shown += [part for line in lines for part in line.split(" #")[0].split("&&")]
        shown += _INLINE.findall(_BLOCK.sub("", (ROOT / page).read_text(encoding="utf-8")))
    return [*dict.fromkeys(" ".join(line.split()) for line in shown if line.strip())]

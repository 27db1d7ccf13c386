"""What the newest page says of the run that made it; the page of each version is the same on any machine and day."""

from collections.abc import Mapping, Sequence
from html import escape

_PLACE = "<!-- facts of the run -->"


def facts_of_run(run: str, how: str, evaluated: str | None) -> dict[str, str]:
    """What is said of the run that made a page, and of the one that last evaluated a model if that is another one.

    Parameters
    ----------
    run, evaluated : str
        What the two are called; None if that is not known.
    how : str
        How `run` was done: commit, hardware and duration.
    """
    page = f"{run}, {how}"
    return {"Run": page} if evaluated in (None, run) else {"Results of run": str(evaluated), "page of run": page}


def with_facts(page: str, facts: Mapping[str, str], tables: Sequence[str]) -> str:
    """The page with a line of facts under its headline, and links to tables.

    Parameters
    ----------
    page : str
        As of :func:`robustmedclip.reporting.page.page`.
    facts : mapping
        Title to text, as of :func:`facts_of_run`.
    tables : sequence of str
        Paths of CSV files, relative to the page.
    """
    said = "; ".join(f"{escape(title)} {escape(text)}" for title, text in facts.items())
    links = ", ".join(f'<a href="{escape(path)}">{escape(_title(path))}</a>' for path in tables)
    opened = f"<details><summary>Tables as CSV</summary>{links}</details>" if links else ""
    return page.replace(_PLACE, f'<div class="facts"><p>{said}.</p>{opened}</div>', 1)


def _title(path: str) -> str:
    return path.rpartition("/")[2].removesuffix(".csv").replace("_", " ")

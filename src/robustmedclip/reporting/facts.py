"""What the newest page says of the run that made it; the page of each version is the same on any machine and day."""

from collections.abc import Mapping, Sequence
from html import escape

_PLACE = "<!-- facts of the run -->"


def with_facts(page: str, facts: Mapping[str, str], tables: Sequence[str]) -> str:
    """The page with a line of facts under its headline, and links to tables.

    Parameters
    ----------
    page : str
        As of :func:`robustmedclip.reporting.page.page`.
    facts : mapping
        Such as ``run``, ``date`` and ``hardware``: title to text.
    tables : sequence of str
        Paths of CSV files, relative to the page.
    """
    said = "; ".join(f"{escape(title)} {escape(text)}" for title, text in facts.items())
    links = ", ".join(f'<a href="{escape(path)}">{escape(_title(path))}</a>' for path in tables)
    opened = f"<details><summary>Tables as CSV</summary>{links}</details>" if links else ""
    return page.replace(_PLACE, f'<div class="facts"><p>{said}.</p>{opened}</div>', 1)


def _title(path: str) -> str:
    return path.rpartition("/")[2].removesuffix(".csv").replace("_", " ")

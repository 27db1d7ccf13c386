"""The report as Markdown."""

from collections.abc import Iterator

from robustmedclip.reporting.content import Content, shown_tables
from robustmedclip.reporting.note import Note
from robustmedclip.reporting.table import Table


def to_markdown_text(content: Content) -> str:
    """What was run, the tables, what is undefined, and the data."""
    return "\n".join(_lines(content))


def _lines(content: Content) -> Iterator[str]:
    yield from ("# Robustness report", "")
    yield from (" ".join(content.headline), "") if content.headline else ()
    for note in content.notes:
        yield from (_paragraph(note), "")
    for table in shown_tables(content).values():
        yield from (f"## {table.caption}", "", table.markdown(), "")
    if content.published is not None:
        yield from (f"## {content.published.caption}", "", _paragraph(content.published_note), "")
        yield from (content.published.markdown(), "")
    if content.undefined:
        yield from ("## Undefined", "", _paragraph(content.undefined_note), "")
        yield from (*(f"- {gap}" for gap in content.undefined), "")
    yield from ("## Data", "", content.sizes.markdown(), "")
    yield from _captioned(content.leakage)
    if content.few_shots is not None:
        yield from _captioned(content.few_shots)
    if content.levels is not None:
        yield from (f"## {content.levels.caption}", "", content.levels.markdown(), "")
    if not content.adaptations.text.empty:
        yield from ("## Adaptations", "", content.adaptations.markdown(), "")
    yield from ("## Metrics", "", content.definitions.markdown(), "")


def _captioned(table: Table) -> Iterator[str]:
    if table.text.empty:
        yield from (f"{table.caption}.", "")
    else:
        yield from (f"{table.caption}:", "", table.markdown(), "")


def _paragraph(note: Note) -> str:
    return f"**{note.lead}** {note.text}" if note.lead else note.text

"""A table with its numbers and as people read it: rounded, each value with its interval."""

from collections.abc import Sequence
from typing import NamedTuple

import pandas as pd

from robustmedclip.metrics.table import PATIENTS
from robustmedclip.reporting.latex import latex, with_common_n


class Table(NamedTuple):
    """A table with its numbers, and as text: rounded, each value with its interval, n in the head of its column."""

    caption: str
    numbers: pd.DataFrame
    text: pd.DataFrame

    def with_common_n(self) -> "Table":
        """The table whose caption has the number of test images, if all heads that have one have the same."""
        caption, heads = with_common_n(self.caption, [str(head) for head in self.text.columns])
        return Table(caption, self.numbers, self.text.set_axis(heads, axis=1))

    def markdown(self) -> str:
        """The text in Markdown, without the caption."""
        return to_markdown(self.text)

    def files(self, name: str) -> dict[str, bytes]:
        """The content of ``<name>.csv``, ``<name>.md`` and ``<name>.tex``."""
        contents = {
            "csv": self.numbers.to_csv(index=False, float_format="%.6g"),
            "md": f"{self.caption}\n\n{self.markdown()}\n",
            "tex": latex(self.caption, self.text, name),
        }
        return {f"{name}.{ending}": content.encode() for ending, content in contents.items()}


def text_table(caption: str, text: pd.DataFrame) -> Table:
    """A table that has nothing but what is shown."""
    return Table(caption, text, text)


def model_table(caption: str, rows: pd.DataFrame, models: Sequence[str], keys: Sequence[str]) -> Table:
    """A row per model, a column for each ``title`` of `rows`.

    `rows` are of the table of metrics, with the ``title`` of their column and the ``decimals`` that are shown; `keys`
    tell the rows of a model apart.
    """
    numbers = rows.sort_values("model", key=lambda names: names.map(models.index), kind="stable")
    columns = {"model": list(models)}
    for title, column in rows.groupby("title", sort=False):
        cells = {row.model: with_interval(row.value, row.low, row.high, row.decimals) for row in column.itertuples()}
        columns[with_n(title, column)] = [cells.get(model, "") for model in models]
    counts = [name for name in ("n", PATIENTS) if name in numbers]
    return Table(caption, numbers[["model", *keys, "value", "low", "high", *counts]], pd.DataFrame(columns))


def to_markdown(table: pd.DataFrame) -> str:
    """A table in Markdown; bars in its cells and titles are escaped."""
    escaped = table.map(_escaped).rename(columns=_escaped)
    return str(escaped.to_markdown(index=False, disable_numparse=True))


def with_n(title: str, rows: pd.DataFrame) -> str:
    """The title with the number of test images, which is the same for all models, and of patients where it is known.

    `rows` have ``n``, and perhaps ``patients``.
    """
    n, patients = (rows[name].max() if name in rows else pd.NA for name in ("n", PATIENTS))
    if pd.isna(n):
        return title
    return f"{title} (n = {n:.0f}{'' if pd.isna(patients) else f' images of {patients:.0f} patients'})"


def with_interval(value: float, low: float, high: float, decimals: int) -> str:
    """A value with its interval, as people read it."""
    if pd.isna(value):
        return "undefined"
    bounds = "unbounded" if pd.isna(low) else f"{low:.{decimals}f}, {high:.{decimals}f}"
    return f"{value:.{decimals}f} [{bounds}]"


def _escaped(cell: object) -> str:
    return str(cell).replace("|", "\\|")

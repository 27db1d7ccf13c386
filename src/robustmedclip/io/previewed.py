"""Datasets of tables, texts and figures, with the previews that Kedro-Viz shows of results."""

import base64
from collections.abc import Sequence
from io import BytesIO
from pathlib import Path
from typing import Any

from kedro_datasets._typing import HTMLPreview, ImagePreview, TablePreview
from kedro_datasets.pandas import CSVDataset
from kedro_datasets.text import TextDataset

from robustmedclip.io.versioned import AtomicDataset

#: Kedro-Viz takes what is between two of these on a line for emphasis, and ends of lines for breaks, in HTML too.
_FOR_VIZ = str.maketrans({"_": "_\u2028", "*": "*\u2028", "\n": " "})


class TableDataset(CSVDataset):  # type: ignore[misc]
    """A table as CSV; the preview begins with the columns that matter most."""

    def preview(self, nrows: int = 5, first: Sequence[str] = ()) -> TablePreview:
        """Show some rows.

        Parameters
        ----------
        nrows : int
            How many rows.
        first : sequence of str
            Names of columns; those that the table has come before the others, in this order.
        """
        preview = super().preview(nrows)
        columns = preview["columns"]
        order = sorted(range(len(columns)), key=lambda place: _rank(columns[place], first))
        rows = [[row[place] for place in order] for row in preview["data"]]
        return TablePreview({**preview, "columns": [columns[place] for place in order], "data": rows})


class MarkdownDataset(TextDataset):  # type: ignore[misc]
    """A text in Markdown; the preview is as it reads."""

    def preview(self) -> HTMLPreview:
        """Show the text as HTML."""
        from markdown_it import MarkdownIt

        html: str = MarkdownIt("commonmark", {"html": False}).enable("table").render(self.load())
        return HTMLPreview(html.translate(_FOR_VIZ))


class FigureDataset(AtomicDataset[Any]):
    """A figure of Matplotlib as PNG, whose bytes are what is loaded; the preview is the picture.

    Kedro's ``MatplotlibDataset`` imports Matplotlib where a catalog is made: 28 MB in a process that draws nothing.
    """

    def preview(self) -> ImagePreview:
        """Show the picture, as base64."""
        return ImagePreview(base64.b64encode(self.load()).decode())

    def _write(self, path: Path, data: Any) -> None:
        data.savefig(picture := BytesIO(), format="png")
        path.write_bytes(picture.getvalue())

    def _read(self, path: Path) -> bytes:
        return path.read_bytes()


def _rank(column: str, first: Sequence[str]) -> int:
    return first.index(column) if column in first else len(first)

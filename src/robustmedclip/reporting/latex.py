"""Tables for papers, in LaTeX: split by columns where they are wider than a page, and by rows where they are longer."""

import re
from collections.abc import Collection, Iterator, Sequence
from textwrap import wrap

import pandas as pd
from tabulate import LATEX_ESCAPE_RULES

#: Points: the text of A4 with margins of 2.5 cm.
TEXT_WIDTH = 455.0
#: Tables of more rows break across pages.
_FLOAT_ROWS = 40
#: Points on either side of a column.
_COLUMN_SPACE = 4
#: Points of text, that is \footnotesize in a document of 10 points; its widths are those of _WIDTHS.
_SIZE = 8
#: How wide \scriptsize is beside it, and bold.
_SMALL, _BOLD = 0.94, 1.16
_FORMAT = f"\\footnotesize\\setlength{{\\tabcolsep}}{{{_COLUMN_SPACE}pt}}\\setlength{{\\belowcaptionskip}}{{4pt}}"
#: Widths of characters to their size, of Computer Modern Roman at 8 points (Knuth 1986, "Computer Modern Typefaces").
_WIDTHS = {
    letter: width
    for letters, width in {
        "!',.:;[]il": 0.295,
        "fj": 0.325,
        "- ": 0.354,
        "_": 0.383,
        "()": 0.413,
        "rst": 0.419,
        "cez": 0.472,
        '"$*/0123456789agop?': 0.531,
        "kvxy": 0.561,
        "bdhnpqu": 0.590,
        "ILZ": 0.664,
        "EFPS": 0.723,
        "BCTRw": 0.782,
        "ADGHKNOQUVXY&+\u2212<=>": 0.834,
        "%#m": 0.885,
    }.items()
    for letter in letters
}
_WIDEST = 1.091
_MINUS = re.compile(r"(?<![^ \[])-(?=\d)")
#: A bracket would be taken for an option of the line before.
_RULES = LATEX_ESCAPE_RULES | {"[": "{[}", "\u2212": "$-$"}


def latex(caption: str, text: pd.DataFrame, name: str, bold: Collection[tuple[int, str]] = ()) -> str:
    r"""A table for the packages booktabs and longtable, labelled ``tab:<name>``, with small intervals.

    Columns that don't fit beside the first ones follow in tables of their own, which repeat those that tell rows apart
    and are labelled ``tab:<name>-2`` and on. A table of many rows is a longtable, any other floats.

    Parameters
    ----------
    caption : str
        What is said above; the number of test images that all columns have in common is added.
    text : DataFrame
        What is shown: str, an interval as ``" [low, high]"`` at the end of a cell.
    name : str
        Of the label.
    bold : collection of (int, str)
        Row, from 0, and column of cells that are bold, but for their interval.
    """
    caption, heads = with_common_n(caption, [str(column) for column in text.columns])
    cells = text.map(lambda cell: _MINUS.sub("\u2212", str(cell))).set_axis(heads, axis=1)
    bold = {(row, heads[text.columns.get_loc(column)]) for row, column in bold}
    tables = []
    for number, columns in enumerate(columns_that_fit(cells, bold), start=1):
        rows = [
            [_cell(cell, (row, column) in bold) for column, cell in zip(columns, values, strict=True)]
            for row, values in enumerate(cells[columns].to_numpy())
        ]
        label, said = (name, caption) if number == 1 else (f"{name}-{number}", f"{caption} (continued)")
        build = _longtable if len(rows) > _FLOAT_ROWS else _float
        tables.append("\n".join(build(_escaped(said), f"tab:{label}", _heads(cells[columns]), rows)))
    return "\n".join(tables)


def columns_that_fit(cells: pd.DataFrame, bold: Collection[tuple[int, str]] = ()) -> list[list[str]]:
    """The columns of tables that are each at most :data:`TEXT_WIDTH` wide, in all of them those that tell rows apart.

    These are the first one, or as many of the first as are needed; a column that is too wide stands alone beside them.
    """
    columns = [*cells.columns]
    keys = next((n for n in range(1, len(columns)) if not cells[columns[:n]].duplicated().any()), 1)
    parts = [columns[:keys]]
    for column in columns[keys:]:
        wider = [*parts[-1], column]
        if len(parts[-1]) > keys and table_width(cells[wider], bold) > TEXT_WIDTH:
            wider = [*columns[:keys], column]
            parts.append(wider)
        parts[-1] = wider
    return parts


def table_width(cells: pd.DataFrame, bold: Collection[tuple[int, str]] = ()) -> float:
    """Width in points of a table, as :func:`latex` sets it, from the widths of its characters."""
    widths = []
    for column in cells:
        lines = [_text_width(line) for line in _lines(cells[column])]
        values = [_cell_width(cell, (row, column) in bold) for row, cell in enumerate(cells[column])]
        widths.append(max(lines + values) + 2 * _COLUMN_SPACE)
    return sum(widths)


def _cell_width(cell: str, bold: bool) -> float:
    value, bracket, interval = cell.partition(" [")
    return _text_width(value) * (_BOLD if bold else 1) + _text_width(bracket + interval) * _SMALL


def _text_width(text: str) -> float:
    return _SIZE * sum(_WIDTHS.get(letter, _WIDEST) for letter in text)


def with_common_n(caption: str, heads: Sequence[str]) -> tuple[str, list[str]]:
    """The number of images goes from the heads to the caption if it is the same in all heads that have one."""
    parts = [head.partition(" (n = ") for head in heads]
    counts = {count for *_, count in parts if count}
    shortened = [head for head, *_ in parts]
    if len(counts) != 1 or len(set(shortened)) < len(heads):
        return caption, list(heads)
    return f"{caption}; n = {counts.pop().removesuffix(')')}", shortened


def _lines(column: pd.Series) -> list[str]:
    """The head of a column, in lines that are as long as its cells."""
    return wrap(str(column.name), max([10, *(len(cell) for cell in column)]), break_long_words=False)


def _heads(cells: pd.DataFrame) -> list[str]:
    stacks = ["\\\\".join(_escaped(line) for line in _lines(cells[column])) for column in cells]
    return [f"\\shortstack[l]{{{stack}}}" if "\\\\" in stack else stack for stack in stacks]


def _cell(cell: str, bold: bool) -> str:
    value, bracket, interval = cell.partition(" [")
    shown = f"\\textbf{{{_escaped(value)}}}" if bold else _escaped(value)
    return f"{shown} {{\\scriptsize [{_escaped(interval)}}}" if bracket else shown


def _escaped(text: str) -> str:
    return "".join(_RULES.get(letter, letter) for letter in text)


def _float(caption: str, label: str, heads: Sequence[str], rows: Sequence[Sequence[str]]) -> Iterator[str]:
    yield from ("\\begin{table}", f"\\centering{_FORMAT}", f"\\caption{{{caption}}}", f"\\label{{{label}}}")
    yield from (f"\\begin{{tabular}}{{{'l' * len(heads)}}}", "\\toprule", _row(heads), "\\midrule")
    yield from map(_row, rows)
    yield from ("\\bottomrule", "\\end{tabular}", "\\end{table}", "")


def _longtable(caption: str, label: str, heads: Sequence[str], rows: Sequence[Sequence[str]]) -> Iterator[str]:
    yield from (f"{{{_FORMAT}", f"\\begin{{longtable}}{{{'l' * len(heads)}}}")
    yield from (f"\\caption{{{caption}}}\\label{{{label}}}\\tabularnewline",)
    for end in ("\\endfirsthead", "\\endhead"):
        yield from ("\\toprule", _row(heads), "\\midrule", end)
    yield from ("\\bottomrule", "\\endfoot")
    yield from map(_row, rows)
    yield from ("\\end{longtable}", "}", "")


def _row(cells: Sequence[str]) -> str:
    return f"{' & '.join(cells)} \\\\"

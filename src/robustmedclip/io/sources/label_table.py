"""The CSV file of a folder of images as a table."""

import csv
import io
from collections.abc import Iterator, Sequence

import pandas as pd

from robustmedclip.errors import first_ten
from robustmedclip.io.sources.spelling import appearance

COLUMNS = ("file", "label", "split")
LARGEST_TABLE = 2**30
_SEPARATORS = {";": "semicolons", "\t": "tabs", "|": "bars"}


def read_label_table(content: bytes, labels: Sequence[str] = ("label",)) -> pd.DataFrame:
    """The table of a CSV file: text in every cell, indexed by the numbers of its rows as a spreadsheet shows them.

    `labels` are the columns that tell the class, or the findings; cells of others than ``label`` may be empty.

    Raises
    ------
    ValueError
        If it is not UTF-8 text with commas, lacks a column, or has cells that are empty or missing; with the rows.
    """
    reader = csv.reader(io.StringIO(_text(content), newline=""), strict=True)
    try:
        rows = {number: row for number, row in enumerate(reader, 1) if row}
    except csv.Error as error:
        raise ValueError(f"line {reader.line_num}: {error}") from error
    if not rows:
        raise ValueError(f"it is empty; it needs the columns file, {', '.join(labels)}")
    first = min(rows)
    columns = rows.pop(first)
    while columns and not columns[-1]:
        columns.pop()
    _check_columns(columns, labels)
    if problems := first_ten(_row_problems(rows, columns), "; "):
        raise ValueError(problems)
    cells = zip(*(row[: len(columns)] for row in rows.values()), strict=True)
    table = dict(zip(columns, cells, strict=True)) if rows else {name: () for name in columns}
    return pd.DataFrame(table, index=list(rows), dtype=str)


def _text(content: bytes) -> str:
    if content.startswith(b"PK\x03\x04"):
        raise ValueError("it is an Excel workbook or another zip archive: save it as CSV (UTF-8)")
    if content.startswith((b"\xff\xfe", b"\xfe\xff")) or b"\0" in content[:1000]:
        raise ValueError("it is text in UTF-16, or no text: save it as CSV in UTF-8")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise ValueError(
            f"line {line} is not text in UTF-8 (byte {content[error.start]:#x}): save it as UTF-8"
        ) from error


def _check_columns(columns: list[str], labels: Sequence[str]) -> None:
    if len(columns) == 1 and (separator := next((mark for mark in _SEPARATORS if mark in columns[0]), None)):
        raise ValueError(f"its columns are separated by {_SEPARATORS[separator]}: save it with commas")
    meant = {column: appearance(column).lower() for column in columns if column not in COLUMNS}
    if renamed := [f"{column!r} to {name!r}" for column, name in meant.items() if name in COLUMNS]:
        raise ValueError(f"rename its column {first_ten(renamed)}")
    if twice := sorted({column for column in columns if columns.count(column) > 1}):
        raise ValueError(f"it has the column {first_ten(map(repr, twice))} more than once")
    if missing := {"file", *labels} - set(columns):
        raise ValueError(f"no column {', '.join(sorted(missing))}; found {first_ten(columns)}")


def _row_problems(rows: dict[int, list[str]], columns: list[str]) -> Iterator[str]:
    """What is wrong with rows: their number of cells, and empty cells of the columns that are read."""
    width, places = len(columns), [(columns.index(name), name) for name in COLUMNS if name in columns]
    for number, row in rows.items():
        if len(row) != width and (len(row) < width or any(row[width:])):
            yield f"row {number} has {len(row)} cells, and there are {width} columns"
            continue
        if empty := [name for place, name in places if not row[place] or row[place].isspace()]:
            yield f"row {number} is empty" if not "".join(row).strip() else f"row {number} has no {', '.join(empty)}"

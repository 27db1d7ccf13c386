"""Problems with a table of images."""

import posixpath
from collections.abc import Iterator, Sequence

import pandas as pd

from robustmedclip.errors import SHOWN, first_ten
from robustmedclip.images.findings import members
from robustmedclip.io.sources.class_folders import renamed_splits
from robustmedclip.io.sources.entries import Entries
from robustmedclip.io.sources.findings import finding_labels
from robustmedclip.io.sources.labels import PARTS, SPLITS, absence
from robustmedclip.io.sources.spelling import lookalikes, same_looking

_OTHERWISE_SPELLED = r"(?:^|/)\.(?:/|$)|//|/$"
_UNSAFE = r"^/|(?:^|/)\.\.(?:/|$)"


def table_problems(
    table: pd.DataFrame, entries: Entries, class_names: Sequence[str], where: str, findings: bool = False
) -> Iterator[str]:
    """Everything that is wrong with the files, labels and splits of a data set, a sentence each.

    Parameters
    ----------
    table : DataFrame
        Columns ``file``, ``label`` and ``split``, text.
    entries : Entries
        What lies in the folder.
    class_names : sequence of str
        The classes that the plan names.
    where : str
        The CSV file or the folder, for messages.
    findings : bool
        Whether they are findings, which the table has a column of each of.
    """
    if unsafe := table["file"][table["file"].str.contains(_UNSAFE)].tolist():
        yield f"{where} names files outside the folder: {first_ten(unsafe)}"
        return
    paths = normal_paths(table["file"])
    yield from _repeated(table, paths, entries, where)
    yield from _absent(table, paths, entries, where)
    yield from _lookalike_classes(class_names)
    if not findings:
        yield from _label_problems(table, class_names, where)
    if wrong := sorted(set(table["split"].unique()) - set(SPLITS)):
        advice = renamed_splits(wrong)
        remedy = f" (rename {advice})" if advice else ""
        yield f"{where} has splits other than train, val and test: {first_ten(wrong)}{remedy}"
    for part, splits in PARTS.items():
        of_part = table[table["split"].isin(splits)]
        if findings:
            of = members(finding_labels(of_part, class_names), class_names)
            present, names = [name for name, images in of.items() if images.any()], list(of)
        else:
            present, names = of_part["label"].unique().tolist(), list(class_names)
        if problem := absence(part, present, names):
            yield f"{where} {problem}"


def normal_paths(files: pd.Series) -> pd.Series:
    """Paths in their one shortest spelling: ``a/b.png`` for ``./a//b.png``."""
    odd = files.str.contains(_OTHERWISE_SPELLED)
    return files.where(~odd, files[odd].map(posixpath.normpath)) if odd.any() else files


def _repeated(table: pd.DataFrame, paths: pd.Series, entries: Entries, where: str) -> Iterator[str]:
    """Files that are listed twice; and two names of one file, by a link, with different labels or splits."""
    if twice := table["file"][paths.duplicated()].unique().tolist():
        yield f"{where} lists a file more than once: {first_ten(twice)}"
    if not entries.files:
        return
    facts = table.assign(path=paths, identity=[entries.files.get(path, {}).get("identity") for path in paths])
    facts = facts[facts["identity"].notna() & ~paths.duplicated()]
    linked = facts[facts.duplicated("identity", keep=False)]
    named = []
    for _, rows in linked.groupby("identity", sort=False):
        if len(rows.drop_duplicates(["label", "split"])) > 1:
            named.append(" and ".join(f"{row.file} ({row.label}, {row.split})" for row in rows.itertuples()))
    if named:
        yield f"{where} has a file under two names, with different labels or splits: {first_ten(named, '; ')}"


def _absent(table: pd.DataFrame, paths: pd.Series, entries: Entries, where: str) -> Iterator[str]:
    known = entries.files.keys() | entries.refused.keys()
    if absent := table["file"][~paths.isin(known)].tolist():
        hints = lookalikes(absent[:SHOWN], (*entries.files, *entries.skipped))
        hints |= {file: "is a folder" for file in absent[:SHOWN] if _is_folder(posixpath.normpath(file), entries)}
        named = [f"{file} (it {hints[file]})" if file in hints else file for file in absent]
        yield f"{where} names files that don't exist: {first_ten(named)}"


def _is_folder(path: str, entries: Entries) -> bool:
    """Whether it is one, full or empty."""
    inside = (*entries.files, *entries.refused, *entries.skipped)
    return path in entries.skipped or any(other.startswith(f"{path}/") for other in inside)


def _lookalike_classes(class_names: Sequence[str]) -> Iterator[str]:
    for name, other in same_looking(class_names):
        yield f"the classes {ascii(name)} and {ascii(other)} look the same: give each a name that can be told apart"


def _label_problems(table: pd.DataFrame, class_names: Sequence[str], where: str) -> Iterator[str]:
    outside = table[~table["label"].isin(class_names)]
    if len(outside):
        groups = [(label, files.tolist()) for label, files in outside.groupby("label")["file"]]
        others = [f" and {len(files) - 1} more" if len(files) > 1 else "" for _, files in groups]
        hints = lookalikes([label for label, _ in groups], class_names)
        named = [
            f"{label!r} ({files[0]}{more}{f', which {hints[label]}' if label in hints else ''})"
            for (label, files), more in zip(groups, others, strict=True)
        ]
        yield f"{where} has labels outside the classes {list(class_names)}: {first_ten(named)}"

"""Folders of classes as a table of labels."""

from collections.abc import Collection, Iterable

import pandas as pd

from robustmedclip.errors import first_ten
from robustmedclip.io.sources.labels import SPLITS

#: Name that the folders inside a class have as a column: often there is one for each patient.
SUBFOLDER = "folder inside the class"
_MEANT = {
    **{split: split for split in SPLITS},
    **dict.fromkeys(("training", "trn", "train_set", "trainset"), "train"),
    **dict.fromkeys(("validation", "valid", "dev", "development", "val_set"), "val"),
    **dict.fromkeys(("testing", "tst", "test_set", "testset", "holdout"), "test"),
}


def class_folder_table(files: Iterable[str]) -> pd.DataFrame:
    """Columns ``file``, ``label``, ``split`` (where folders name them) and, in folders of classes, :data:`SUBFOLDER`.

    Parameters
    ----------
    files : iterable of str
        Paths ``<split>/<class>/.../<file>`` or ``<class>/.../<file>``.

    Raises
    ------
    ValueError
        If there are none, some lie in no folder of a class, or the folders name splits in another way.
    """
    paths = [file.split("/") for file in sorted(files)]
    if not paths:
        raise ValueError("no images in folders of it")
    first = {parts[0] for parts in paths if len(parts) > 1}
    splits, classes = first & set(SPLITS), first - set(SPLITS)
    advice = renamed_splits(classes)
    if splits and classes:
        raise ValueError(
            f"{first_ten(sorted(splits))} beside {first_ten(sorted(classes))}: name the splits train, val and test"
            f"{f' (rename {advice})' if advice else ''}, and put the folders of classes into them; "
            "or have folders of classes alone"
        )
    if classes and len(first) > 1 and all(meant_split(name) for name in classes):
        raise ValueError(f"its folders look like splits: rename {advice}")
    depth = 3 if splits else 2
    if loose := ["/".join(parts) for parts in paths if len(parts) < depth]:
        raise ValueError(f"in no folder of a class: {first_ten(loose)}; move them, or leave them out with 'exclude'")
    table = pd.DataFrame({"file": map("/".join, paths), "label": [parts[depth - 2] for parts in paths]}, dtype=str)
    if splits:
        table["split"] = [parts[0] for parts in paths]
    if any(len(parts) > depth for parts in paths):
        table[SUBFOLDER] = [parts[depth - 1] if len(parts) > depth else "" for parts in paths]
    return table


def meant_split(name: str) -> str | None:
    """The split that a name stands for in other spellings: ``Training`` for ``train``."""
    return _MEANT.get(name.strip().lower())


def renamed_splits(names: Collection[str]) -> str:
    """``'Training' to 'train'`` for each name that stands for a split."""
    return first_ten(
        f"{name!r} to {split!r}" for name in sorted(names) if (split := meant_split(name)) and split != name
    )

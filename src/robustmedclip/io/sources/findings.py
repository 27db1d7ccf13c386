"""One finding of a table that has a column for each, as a label of two classes: absent and present.

Each finding is then a data set of its own, scored by its pair of prompts, as CheXzero does it (Tiu et al. 2022,
doi:10.1038/s41551-022-00936-9).
"""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from robustmedclip.errors import first_ten

#: What becomes of images of which a finding is uncertain, -1: CheXpert's U-Zeros, U-Ones and U-Ignore (Irvin et al.
#: 2019, arXiv:1901.07031, sec. 3.1).
UNCERTAIN = ("absent", "present", "left out")


def with_finding(table: pd.DataFrame, finding: str, uncertain: str, class_names: Sequence[str]) -> pd.DataFrame:
    """The table with a column ``label``, without the images that are left out.

    Parameters
    ----------
    table : DataFrame
        Text; the column of the finding has 1 (present), 0 (absent), -1 (uncertain), or nothing where it is not
        mentioned, which counts as absent.
    finding : str
        The column.
    uncertain : str
        One of :data:`UNCERTAIN`.
    class_names : sequence of str
        What the two classes are called, absent first.

    Raises
    ------
    ValueError
        If there are not two class names, or the column has other values; with the rows.
    """
    if len(class_names) != 2:
        raise ValueError(f"'finding: {finding}' has two 'classes', absent first, not {list(class_names)}")
    values = table[finding].str.strip().str.removesuffix(".0").replace("", "0")
    if len(other := values[~values.isin(["0", "1", "-1"])]):
        shown = first_ten(f"{value!r} in row {row}" for row, value in other.items())
        raise ValueError(f"the column {finding!r} has values other than 1, 0, -1 and nothing: {shown}")
    kept = values.index[values != "-1"] if uncertain == "left out" else values.index
    present = (values == "1") | ((values == "-1") & (uncertain == "present"))
    return table.loc[kept].assign(label=np.where(present[kept], class_names[1], class_names[0]))

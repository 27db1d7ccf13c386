"""Tables of analyses that a plan may ask for."""

from collections.abc import Sequence

import pandas as pd

from robustmedclip.reporting.site_shift import shift_table
from robustmedclip.reporting.subgroups import subgroup_tables
from robustmedclip.reporting.table import Table


def further_tables(
    models: Sequence[str], shifts: pd.DataFrame | None, subgroups: pd.DataFrame | None
) -> dict[str, Table]:
    """The tables of other sites and of subgroups, by name, of what was asked for; `models` is the order of rows."""
    return {
        **({} if shifts is None else {"shifts": shift_table(shifts)}),
        **({} if subgroups is None else subgroup_tables(subgroups, models)),
    }

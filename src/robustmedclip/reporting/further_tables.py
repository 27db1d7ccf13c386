"""Tables of analyses that a plan may ask for."""

from collections.abc import Sequence

import pandas as pd

from robustmedclip.reporting.findings import finding_tables
from robustmedclip.reporting.results import Setting
from robustmedclip.reporting.site_shift import shift_table
from robustmedclip.reporting.subgroups import subgroup_tables
from robustmedclip.reporting.table import Table


def further_tables(
    models: Sequence[str],
    setting: Setting,
    *,
    shifts: pd.DataFrame | None = None,
    subgroups: pd.DataFrame | None = None,
    findings: pd.DataFrame | None = None,
) -> dict[str, Table]:
    """The tables of findings, other sites and subgroups, by name, of what was asked for; rows are by `models`."""
    return {
        **({} if findings is None else finding_tables(findings, models, setting)),
        **({} if shifts is None else {"shifts": shift_table(shifts)}),
        **({} if subgroups is None else subgroup_tables(subgroups, models)),
    }

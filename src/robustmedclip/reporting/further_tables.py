"""Tables of analyses that a plan may ask for."""

from collections.abc import Sequence

import pandas as pd

from robustmedclip.reporting.findings import finding_tables
from robustmedclip.reporting.recalibration import recalibration_tables
from robustmedclip.reporting.results import Setting
from robustmedclip.reporting.site_shift import shift_table
from robustmedclip.reporting.subgroups import subgroup_tables
from robustmedclip.reporting.table import Table


def further_tables(
    models: Sequence[str],
    setting: Setting,
    missing_cells: pd.DataFrame,
    *,
    recalibration: pd.DataFrame | None = None,
    shifts: pd.DataFrame | None = None,
    subgroups: pd.DataFrame | None = None,
    findings: pd.DataFrame | None = None,
) -> dict[str, Table]:
    """The tables of temperatures, findings, other sites and subgroups that there are, by name; rows are by `models`.

    `missing_cells` are as of :class:`robustmedclip.reporting.results.Results`.
    """
    return {
        **({} if recalibration is None else recalibration_tables(recalibration, models)),
        **({} if findings is None else finding_tables(findings, models, setting)),
        **({} if shifts is None or shifts.empty else {"shifts": shift_table(shifts, missing_cells)}),
        **({} if subgroups is None else subgroup_tables(subgroups, models)),
    }

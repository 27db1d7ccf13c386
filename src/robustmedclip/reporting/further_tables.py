"""Tables of analyses that a plan may ask for."""

from collections.abc import Sequence

from robustmedclip.reporting.findings import finding_tables
from robustmedclip.reporting.precisions import precision_table
from robustmedclip.reporting.recalibration import recalibration_tables
from robustmedclip.reporting.results import Results, Setting
from robustmedclip.reporting.site_shift import shift_table
from robustmedclip.reporting.subgroups import subgroup_tables
from robustmedclip.reporting.table import Table


def further_tables(models: Sequence[str], results: Results, setting: Setting) -> dict[str, Table]:
    """The tables of temperatures, findings, other sites, subgroups and precisions that there are; rows by `models`."""
    temperatures, findings, shifts, subgroups, precisions = (
        results.recalibration,
        results.findings,
        results.shifts,
        results.subgroups,
        results.precisions,
    )
    return {
        **({} if temperatures is None else recalibration_tables(temperatures, models)),
        **({} if findings is None else finding_tables(findings, models, setting)),
        **({} if shifts is None or shifts.empty else {"shifts": shift_table(shifts, results.missing_cells, models)}),
        **({} if subgroups is None else subgroup_tables(subgroups, models)),
        **({} if precisions is None or precisions.empty else {"precisions": precision_table(precisions, models)}),
    }

"""What the report says of results that could not be made."""

import pandas as pd

from robustmedclip.errors import first_ten


def without(missing_cells: pd.DataFrame) -> str:
    """The end of a caption of a table that lacks cells."""
    if missing_cells.empty:
        return ""
    return f". Incomplete: there is no result of {first_ten(spoken_cells(missing_cells))}"


def spoken_cells(cells: pd.DataFrame) -> list[str]:
    """Models and data sets, as people say them."""
    return [f"{cell.model} on {cell.data_set}" for cell in cells.itertuples()]

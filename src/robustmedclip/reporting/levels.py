"""What the report says of levels: which are realistic, who says so, and which the images at hand contradict."""

import pandas as pd

from robustmedclip.reporting.note import Note
from robustmedclip.reporting.table import Table, text_table


def level_notes(levels: pd.DataFrame) -> list[Note]:
    """What a reader has to know first.

    Parameters
    ----------
    levels : DataFrame
        As of :func:`robustmedclip.calibration.levels.judged_levels`.
    """
    judged = levels[levels["band"].notna()]
    realistic, by_clinicians = judged["band"] == "realistic", judged["band_source"].str.startswith("clinicians")
    notes = [
        Note(
            "Realistic levels:",
            f"averages over severities are of the {realistic.sum()} of {len(judged)} levels that could come from a "
            f"scanner; the {(~realistic).sum()} extreme ones stand beside them. Clinicians say so of "
            f"{by_clinicians.sum()} levels, the suite of the others.",
        )
    ]
    outside = levels[levels["outside"].astype(bool)]
    if len(outside):
        places = [
            f"{data_set} ({', '.join(f'{row.corruption} {row.severity}: {row.ssim:.2f}' for row in rows.itertuples())})"
            for data_set, rows in outside.groupby("data_set")
        ]
        notes.append(
            Note(
                "Levels outside their band:",
                "on these images, the mean SSIM of some levels is on the other side of what is called realistic: "
                f"{'; '.join(places)}. A rating sheet asks clinicians: kedro run --pipeline calibration.",
                warning=True,
            )
        )
    return notes


def level_table(levels: pd.DataFrame) -> Table:
    """A row per data set and corruption: its realistic severities, who says so, and SSIM at each severity."""
    rows = []
    for (data_set, corruption), of in levels.groupby(["data_set", "corruption"], sort=False):
        realistic = of.loc[of["band"] == "realistic", "severity"]
        rows.append(
            {
                "data set": data_set,
                "corruption": corruption,
                "realistic": ", ".join(map(str, realistic)) or "none",
                "who says so": "; ".join(of["band_source"].dropna().unique()),
                "SSIM at severities 1 to 5": ", ".join(f"{value:.2f}" for value in of["ssim"]),
                "values": "; ".join(of["value"].astype(str)),
                "source of the values": of["source"].iloc[0],
            }
        )
    return text_table("Levels of the corruptions", pd.DataFrame(rows))

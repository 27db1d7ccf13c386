"""The picture of a calibration."""

import pandas as pd
from matplotlib.figure import Figure

from robustmedclip.corruptions import SEVERITIES

_DPI = 110


def likeness_by_severity(levels: pd.DataFrame) -> Figure:
    """SSIM, PSNR and shift of features against severity: a row per data set, a line per corruption.

    Levels that are extreme are hollow; those whose band SSIM contradicts are ringed in red.
    """
    data_sets = list(levels["data_set"].unique())
    figure = Figure(figsize=(12, 3 * len(data_sets) + 0.5), dpi=_DPI, layout="constrained")
    axes = figure.subplots(len(data_sets), 3, squeeze=False)
    measures = {"ssim": "SSIM", "psnr": "PSNR, dB", "shift": "shift of features"}
    for row, data_set in zip(axes, data_sets, strict=True):
        of_set = levels[levels["data_set"] == data_set]
        for axis, (measure, title) in zip(row, measures.items(), strict=True):
            for index, (name, line) in enumerate(of_set.groupby("corruption", sort=False)):
                colour = f"C{index % 10}"
                axis.plot(
                    line["severity"], line[measure], color=colour, lw=1, ls="-" if index < 10 else "--", label=name
                )
                filled = line[line["band"] != "extreme"]
                axis.plot(line["severity"], line[measure], "o", mfc="w", color=colour, ms=4)
                axis.plot(filled["severity"], filled[measure], "o", color=colour, ms=4)
                outside = line[line["outside"].astype(bool)]
                axis.plot(outside["severity"], outside[measure], "o", mfc="none", color="red", ms=9)
            axis.set_xticks(SEVERITIES)
            axis.set_xlabel("severity")
            axis.set_title(f"{data_set}: {title}", fontsize=10)
            axis.grid(alpha=0.3)
        row[-1].legend(fontsize=6, loc="center left", bbox_to_anchor=(1, 0.5), frameon=False)
    return figure

"""Figures for paper: drawn with Matplotlib, as PNG, SVG and PDF."""

from collections.abc import Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from io import BytesIO

import matplotlib
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure

from robustmedclip.images.conditions import CLEAN, Condition
from robustmedclip.images.corrupted import CorruptedSet
from robustmedclip.metrics import derived, overall
from robustmedclip.metrics.logits import Logits
from robustmedclip.metrics.runs import SEVERITIES
from robustmedclip.reporting.figure_data import (
    HEATS,
    Line,
    corruption_lines,
    few_shot_panels,
    heat_limits,
    mce_ranking,
    most_labels,
    reliability_lines,
    severity_panels,
    values_by,
)
from robustmedclip.reporting.fonts import font_families
from robustmedclip.reporting.palette import HEAT
from robustmedclip.reporting.table import with_n

_DPI = 110


def severity_curves(metrics: pd.DataFrame) -> Figure:
    """Error against severity, a panel per corruption, averaged over the data sets that have it, a line per model.

    Of the tuned models, those with the largest few-shot fraction of their adaptation are shown.
    """
    panels = severity_panels(metrics, most_labels(metrics))
    columns = min(4, max(1, len(panels)))
    rows = -(-len(panels) // columns)
    with _fonts_of(metrics["model"]):
        figure = Figure(figsize=(3.1 * columns, 2.6 * rows + 0.7), dpi=_DPI, layout="constrained")
        axes = figure.subplots(rows, columns, sharex=True, sharey=True, squeeze=False).ravel()
        for axis, (corruption, lines) in zip(axes, panels.items()):
            for line in lines:
                _draw(axis, line)
                if line.interval is not None:
                    axis.fill_between(line.x, *line.interval, color=line.colour, alpha=0.12, lw=0)
            axis.set_title(corruption.replace("_", " "), fontsize=10)
            axis.grid(alpha=0.3)
        for axis in axes[len(panels) :]:
            axis.set_axis_off()
        figure.supxlabel("severity (0: clean)")
        figure.supylabel("error, %")
        figure.legend(*axes[0].get_legend_handles_labels(), loc="outside upper center", ncols=columns, frameon=False)
    return figure


def corruption_heat_map(metrics: pd.DataFrame) -> Figure:
    """CE of every model (row, the lowest mCE first) under every corruption (column), and the mCE."""
    mce = mce_ranking(metrics)
    ce = values_by(metrics, derived.CE, "corruption", list(mce.index)).assign(mCE=mce)
    with _fonts_of(ce.index):
        figure = Figure(figsize=(2.8 + 0.85 * ce.shape[1], 1.8 + 0.36 * len(ce)), dpi=_DPI, layout="constrained")
        axis = figure.subplots()
        low, high = heat_limits(metrics, list(mce.index), HEATS[0])
        scale = LinearSegmentedColormap.from_list("heat", HEAT)
        image = axis.imshow(ce.to_numpy(float), cmap=scale, vmin=low, vmax=high, aspect="auto")
        for (row, column), value in np.ndenumerate(ce.to_numpy(float)):
            text = "n/a" if np.isnan(value) else f"{value:.0f}"
            axis.text(column, row, text, ha="center", va="center", fontsize=8)
        axis.set_xticks(range(ce.shape[1]), [c.replace("_", "\n") for c in ce.columns], fontsize=8)
        axis.set_yticks(range(len(ce)), ce.index, fontsize=8)
        axis.set_title("corruption error (baseline: 100; lower is better)", fontsize=10)
        figure.colorbar(image, ax=axis, shrink=0.8).ax.axhline(HEATS[0].middle, color="k", lw=1)
    return figure


def few_shot_curves(metrics: pd.DataFrame, leaderboard: pd.DataFrame) -> Figure:
    """Error, clean and averaged over all corruptions, against the labelled images; 0 is without labels."""
    panels = few_shot_panels(metrics, leaderboard)
    entries = max(map(len, panels.values()))
    with _fonts_of(metrics["model"]):
        figure = Figure(figsize=(7.5, 3.6 + 0.18 * -(-entries // 3)), dpi=_DPI, layout="constrained")
        axes = figure.subplots(1, 2, sharey=True)
        titles = {"clean": "clean", "corrupted": "mean over corruptions"}
        for axis, (panel, lines) in zip(axes, panels.items(), strict=True):
            for line in lines:
                _draw_with_bars(axis, line)
            axis.set_title(titles[panel], fontsize=10)
            axis.set_xlabel("labelled images, those to validate too")
            axis.grid(alpha=0.3)
        axes[0].set_ylabel("error, %")
        handles = axes[0].get_legend_handles_labels()
        figure.legend(*handles, loc="outside upper center", ncols=3, frameon=False, fontsize=8)
    return figure


def model_summary(rows: pd.DataFrame, logits: Sequence[Logits], patients: Mapping[str, np.ndarray | None]) -> Figure:
    """One model: error against severity, a line per corruption, and its reliability diagram.

    `rows` are its rows of the table of metrics (:func:`robustmedclip.metrics.model_rows`), `logits` those of all
    data sets, and `patients` as of :func:`robustmedclip.metrics.score_benchmark`.
    """
    model = rows["model"].iloc[0]
    with _fonts_of([model]):
        figure = Figure(figsize=(10, 4.4), dpi=_DPI)
        severities, calibration = figure.subplots(
            1, 2, gridspec_kw={"left": 0.06, "right": 0.99, "bottom": 0.12, "top": 0.86, "wspace": 0.16}
        )
        calibration.plot([0, 1], [0, 1], color="#888", lw=1)
        for axis, lines in ((severities, corruption_lines(rows)), (calibration, reliability_lines(logits, patients))):
            for line in lines:
                _draw(axis, line)
            axis.grid(alpha=0.3)
            axis.legend(fontsize=8)
        severities.set(
            xlabel="severity (0: clean)", ylabel="error, %", title=with_n("averages over data sets", overall(rows))
        )
        calibration.set(xlabel="mean confidence", ylabel="fraction that is right", title="calibration")
        calibration.set(xlim=(0, 1.02), ylim=(0, 1.02))
        figure.suptitle(model)
    return figure


def corruption_montage(corrupted: Sequence[CorruptedSet], thumbnail: int = 64) -> Figure:
    """The first test image of the data sets under every corruption (row) at every severity (column).

    The data sets take turns: row i shows data set i modulo their number.
    """
    names = list(dict.fromkeys(c.corruption for images in corrupted for c in images.conditions if c != CLEAN))
    with _fonts_of(images.clean.name for images in corrupted):
        figure = Figure(figsize=(7.2, 1.25 * max(1, len(names)) + 0.5), dpi=_DPI, layout="constrained")
        axes = figure.subplots(max(1, len(names)), 1 + len(SEVERITIES), squeeze=False)
        for row, name in enumerate(names):
            holders = [images for images in corrupted if Condition(name, 1) in images.conditions]
            shown = holders[row % len(holders)]
            conditions = [CLEAN, *(Condition(name, severity) for severity in SEVERITIES)]
            for axis, condition in zip(axes[row], conditions, strict=True):
                image = next(shown.read(condition, 1))[0]
                step = max(1, image.shape[0] // (2 * thumbnail))
                axis.imshow(image[::step, ::step].squeeze(), cmap="gray", vmin=0, vmax=255)
                axis.set(xticks=[], yticks=[])
                if row == 0:
                    axis.set_title("clean" if condition == CLEAN else f"severity {condition.severity}", fontsize=8)
            axes[row, 0].set_ylabel(f"{name.replace('_', ' ')}\n{shown.clean.name}", fontsize=7)
    return figure


def vector_files(figure: Figure, name: str) -> dict[str, bytes]:
    """The figure as ``<name>.svg`` and ``<name>.pdf``, the same bytes whenever it is drawn; fonts are embedded."""
    undated: dict[str, dict[str, None]] = {"svg": {"Date": None}, "pdf": {"CreationDate": None}}
    files = {}
    with matplotlib.rc_context({"svg.hashsalt": name, "pdf.fonttype": 42}):
        for ending, metadata in undated.items():
            stream = BytesIO()
            figure.savefig(stream, format=ending, metadata=metadata)
            figure.set_layout_engine("none")  # what is laid out stays
            files[f"{name}.{ending}"] = stream.getvalue()
    return files


def _fonts_of(names: Iterable[str]) -> AbstractContextManager[None]:
    """In which text is set in fonts that have the characters of `names`."""
    return matplotlib.rc_context({"font.family": font_families(set(names))})


def _draw(axis: Axes, line: Line) -> None:
    axis.plot(
        line.x, line.y, linestyle=line.style, marker=line.marker, color=line.colour, label=line.name, markersize=3
    )


def _draw_with_bars(axis: Axes, line: Line) -> None:
    """With intervals; what is level is a point, and a dashed line to compare with."""
    axis.errorbar(
        line.x,
        line.y,
        yerr=None if line.interval is None else np.abs(np.stack(line.interval) - line.y),
        marker=line.marker,
        linestyle="none" if line.level else line.style,
        color=line.colour,
        label=line.name,
        capsize=2,
        markersize=4,
    )
    if line.level:
        axis.axhline(line.y[0], color=line.colour, ls="--", lw=0.8)

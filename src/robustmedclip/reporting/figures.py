"""Figures for paper: drawn with Matplotlib, as PNG, SVG and PDF."""

from collections.abc import Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from io import BytesIO
from typing import Any

import matplotlib
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure
from matplotlib.transforms import offset_copy

from robustmedclip.images.conditions import CLEAN, Condition
from robustmedclip.images.corrupted import CorruptedSet
from robustmedclip.metrics import derived, overall
from robustmedclip.metrics.logits import ZERO_SHOT, Logits
from robustmedclip.metrics.runs import ALL, SEVERITIES
from robustmedclip.reporting.figure_data import (
    HEATS,
    Line,
    chance_errors,
    corruption_lines,
    few_shot_panels,
    heat_limits,
    most_labels,
    reliability_lines,
    severity_panels,
    told_apart,
    values_by,
    wrapped,
)
from robustmedclip.reporting.fonts import font_families
from robustmedclip.reporting.leaderboard import RANKED_BY, ranked_by, ranking
from robustmedclip.reporting.palette import HEAT
from robustmedclip.reporting.table import with_n

#: Widths of figures in points, of one and of two columns of a paper.
WIDTHS = ONE_COLUMN, TWO_COLUMNS = (240, 487)
_DPI = 300
#: Points of the smallest text, and how wide and high its letters are beside it (DejaVu Sans, on average).
_SMALL, _LETTER, _LINE = 6, 0.6, 1.4
#: For figures that are printed as wide as they are drawn.
_PAPER: dict[Any, Any] = {
    "font.size": 7,
    "axes.titlesize": 7,
    "axes.titlepad": 3,
    "xtick.labelsize": _SMALL,
    "ytick.labelsize": _SMALL,
    "legend.fontsize": _SMALL,
    "axes.linewidth": 0.5,
    "xtick.major.size": 2,
    "ytick.major.size": 2,
    "xtick.major.width": 0.5,
    "ytick.major.width": 0.5,
    "grid.linewidth": 0.4,
    "grid.alpha": 0.5,
    "lines.linewidth": 1,
    "lines.markersize": 2.5,
    "figure.constrained_layout.w_pad": 2 / 72,
    "figure.constrained_layout.h_pad": 2 / 72,
}
#: Text stays text in SVG, and fonts are embedded as TrueType in PDF.
_VECTORS: dict[Any, Any] = {"svg.fonttype": "none", "pdf.fonttype": 42}
#: Points between adaptations of the same number of labelled images, and the part of a figure's width for all of them.
_ASIDE, _WIDEST = 6.0, 0.1
_CHANCE = {"color": "#888", "linestyle": ":", "linewidth": 0.8}


def severity_curves(metrics: pd.DataFrame, chance: Mapping[str, float], width: float = TWO_COLUMNS) -> Figure:
    """Error against severity, the mean over corruptions, then a panel per corruption, a line per model.

    Averaged over the data sets that have the corruption. Of the tuned models, those with the largest few-shot fraction
    of their adaptation are shown, if that is among those that are :func:`told_apart`; the dotted line is a guess, with
    an error of `chance` by corruption.
    """
    metrics, said = _readable(metrics)
    models = most_labels(metrics)
    panels = severity_panels(metrics, models)
    columns = min(2 if width < TWO_COLUMNS else 4, max(1, len(panels)))
    rows = -(-len(panels) // columns)
    with _paper(metrics["model"]):
        legend_columns, legend_height = _legend(models, width)
        figure = _figure(width, 0.8 * width / columns * rows + legend_height + 16)
        axes = figure.subplots(rows, columns, sharex=True, sharey=True, squeeze=False).ravel()
        for axis, (corruption, lines) in zip(axes, panels.items()):
            for line in lines:
                _draw(axis, line)
                if line.interval is not None:
                    axis.fill_between(line.x, *line.interval, color=line.colour, alpha=0.12, lw=0)
            axis.axhline(chance.get(corruption, chance[ALL]), label="guess", **_CHANCE)
            axis.set(title=corruption.replace("_", " "), xticks=range(len(SEVERITIES) + 1))
            axis.grid()
        for axis in axes[len(panels) :]:
            axis.set_axis_off()
        figure.supxlabel("severity (0: clean)", fontsize="medium")
        figure.supylabel("error, %", fontsize="medium")
        handles = axes[0].get_legend_handles_labels()
        figure.legend(*handles, loc="outside upper center", ncols=legend_columns, frameon=False, title=said)
    return figure


def corruption_heat_map(metrics: pd.DataFrame, width: float = TWO_COLUMNS) -> Figure:
    """CE of every model (row, the first of the leaderboard first) under every corruption (column), and the mCE.

    Cells that are narrower than a number have colours alone.
    """
    mce = ranking(metrics).set_index("model")[derived.MCE]
    ce = values_by(metrics, derived.CE, "corruption", list(mce.index)).assign(mCE=mce)
    names = [wrapped(name, 18 if width < TWO_COLUMNS else 40) for name in ce.index]
    words = [name.replace("_", " ") for name in ce.columns]
    cell = (width - _text_width(names) - 12) / ce.shape[1]
    upright = max(_text_width(name.split()) for name in words) > cell
    with _paper(ce.index):
        row_height = 4 + _LINE * _SMALL * max(name.count("\n") + 1 for name in names)
        head_height = _text_width(words) if upright else 2 * _LINE * _SMALL
        figure = _figure(width, row_height * len(ce) + head_height + 45)
        axis = figure.subplots()
        low, high = heat_limits(metrics, list(mce.index), HEATS[0])
        scale = LinearSegmentedColormap.from_list("heat", HEAT)
        image = axis.imshow(ce.to_numpy(float), cmap=scale, vmin=low, vmax=high, aspect="auto")
        for (row, column), value in np.ndenumerate(ce.to_numpy(float)) if cell >= _text_width(["100"]) else ():
            text = "n/a" if np.isnan(value) else f"{value:.0f}"
            axis.text(column, row, text, ha="center", va="center", fontsize=_SMALL)
        heads = words if upright else [name.replace(" ", "\n") for name in words]
        axis.set_xticks(range(ce.shape[1]), heads, rotation=90 if upright else 0)
        axis.set_yticks(range(len(ce)), names)
        bar = figure.colorbar(
            image, ax=axis, location="bottom", fraction=0.05, pad=0.02, aspect=40 * width / TWO_COLUMNS
        )
        bar.set_label("CE (baseline: 100; lower is better)")
        bar.ax.axvline(HEATS[0].middle, color="k", lw=1)
    return figure


def few_shot_curves(
    metrics: pd.DataFrame, leaderboard: pd.DataFrame, chance: Mapping[str, float], width: float = TWO_COLUMNS
) -> Figure:
    """Error, clean and averaged over all corruptions, against the labelled images; 0 is without labels.

    The adaptations are those that are :func:`told_apart`. Those of one number of images each stand side by side.
    """
    metrics, said = _readable(metrics)
    panels = few_shot_panels(metrics, leaderboard)
    names = [line.name for line in next(iter(panels.values()))]
    with _paper(metrics["model"]):
        legend_columns, legend_height = _legend(names, width)
        figure = _figure(width, 0.42 * width + legend_height + 20)
        axes = figure.subplots(1, 2, sharey=True)
        titles = {"clean": "clean", "corrupted": "mean over corruptions"}
        for axis, (panel, lines) in zip(axes, panels.items(), strict=True):
            shifts = _shifts(lines, width)
            for line, shift in zip(lines, shifts, strict=True):
                _draw_with_bars(axis, line, shift)
            axis.margins(x=0.15 if any(shifts) else None)
            axis.axhline(chance[ALL], label="guess", **_CHANCE)
            axis.set_title(titles[panel])
            axis.grid()
        figure.supxlabel("labelled images, those to validate too", fontsize="medium")
        axes[0].set_ylabel("error, %")
        handles = axes[0].get_legend_handles_labels()
        figure.legend(*handles, loc="outside upper center", ncols=legend_columns, frameon=False, title=said)
    return figure


def model_summary(rows: pd.DataFrame, logits: Sequence[Logits], patients: Mapping[str, np.ndarray | None]) -> Figure:
    """One model: error against severity, a line per corruption, and its reliability diagram.

    `rows` are its rows of the table of metrics (:func:`robustmedclip.metrics.model_rows`), `logits` those of all
    data sets, and `patients` as of :func:`robustmedclip.metrics.score_benchmark`.
    """
    model = rows["model"].iloc[0]
    with _fonts_of([model]):
        figure = Figure(figsize=(10, 4.4), dpi=110)
        severities, calibration = figure.subplots(
            1, 2, gridspec_kw={"left": 0.06, "right": 0.99, "bottom": 0.12, "top": 0.86, "wspace": 0.16}
        )
        calibration.plot([0, 1], [0, 1], color="#888", lw=1)
        chance = chance_errors(rows, {run.data_set: len(next(run.tasks()).class_names) for run in logits})
        severities.axhline(chance[ALL], label="guess", **_CHANCE)
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


def corruption_montage(corrupted: Sequence[CorruptedSet], width: float = TWO_COLUMNS, thumbnail: int = 64) -> Figure:
    """The first test image of the data sets under every corruption (row) at every severity (column).

    The data sets take turns: row i shows data set i modulo their number.
    """
    names = list(dict.fromkeys(c.corruption for images in corrupted for c in images.conditions if c != CLEAN))
    columns, rows = 1 + len(SEVERITIES), max(1, len(names))
    beside = width < TWO_COLUMNS  # where images are too low for names along them
    with _paper(images.clean.name for images in corrupted):
        figure = _figure(width, (width - (60 if beside else 26)) / columns * rows + 14)
        axes = figure.subplots(rows, columns, squeeze=False)
        for row, name in enumerate(names):
            holders = [images for images in corrupted if Condition(name, 1) in images.conditions]
            shown = holders[row % len(holders)]
            conditions = [CLEAN, *(Condition(name, severity) for severity in SEVERITIES)]
            for axis, condition in zip(axes[row], conditions, strict=True):
                image = next(shown.read(condition, 1))[0]
                step = max(1, image.shape[0] // (2 * thumbnail))
                axis.imshow(image[::step, ::step].squeeze(), cmap="gray", vmin=0, vmax=255, interpolation="none")
                axis.set(xticks=[], yticks=[])
                if row == 0:
                    axis.set_title("clean" if condition == CLEAN else f"severity {condition.severity}", fontsize=_SMALL)
            label = "\n".join(wrapped(text, 14) for text in (name.replace("_", " "), shown.clean.name))
            turn = {"rotation": "horizontal", "ha": "right", "va": "center"} if beside else {}
            axes[row, 0].set_ylabel(label, fontsize=_SMALL, **turn)
    return figure


def figure_files(figure: Figure, name: str) -> dict[str, bytes]:
    """The figure as ``<name>.svg``, ``.pdf`` and ``.png``, the same bytes whenever it is drawn."""
    undated: dict[str, dict[str, None]] = {"svg": {"Date": None}, "pdf": {"CreationDate": None}, "png": {}}
    files = {}
    with matplotlib.rc_context(_VECTORS | {"svg.hashsalt": name}):
        for ending, metadata in undated.items():
            stream = BytesIO()
            figure.savefig(stream, format=ending, metadata=metadata)
            figure.set_layout_engine("none")  # what is laid out stays
            files[f"{name}.{ending}"] = stream.getvalue()
    return files


def _figure(width: float, height: float) -> Figure:
    """An empty figure of a size in points, which is laid out when it is saved."""
    return Figure(figsize=(width / 72, height / 72), dpi=_DPI, layout="constrained")


def _readable(metrics: pd.DataFrame) -> tuple[pd.DataFrame, str | None]:
    """The rows of the adaptations that are told apart, and what the legend says if these aren't all."""
    shown, known = told_apart(metrics), set(metrics["adaptation"])
    tuned, of = (len(set(names) - {ZERO_SHOT}) for names in (shown, known))
    if tuned == of:
        return metrics, None
    first = "zero-shot and, " if ZERO_SHOT in known else ""
    said = f"{first}of {of} adaptations, the {tuned} with the lowest {RANKED_BY[ranked_by(ranking(metrics))]}"
    return metrics[metrics["adaptation"].isin(shown)], said


def _legend(names: Sequence[str], width: float) -> tuple[int, float]:
    """How many columns of a legend fit a width in points, and how high it then is."""
    columns = max(1, min(len(names) + 1, int(width // (_text_width(names) + 24))))
    return columns, 1.7 * _SMALL * -(-(len(names) + 1) // columns)


def _text_width(texts: Iterable[str]) -> float:
    """Points that the longest line of small text is wide, about."""
    return _LETTER * _SMALL * max((len(line) for text in texts for line in text.split("\n")), default=0)


def _paper(names: Iterable[str]) -> AbstractContextManager[None]:
    """In which figures are drawn for paper, with the characters of `names`."""
    return matplotlib.rc_context(_PAPER | {"font.family": font_families(set(names))})


def _fonts_of(names: Iterable[str]) -> AbstractContextManager[None]:
    """In which text is set in fonts that have the characters of `names`."""
    return matplotlib.rc_context({"font.family": font_families(set(names))})


def _draw(axis: Axes, line: Line) -> None:
    axis.plot(line.x, line.y, linestyle=line.style, marker=line.marker, color=line.colour, label=line.name)


def _shifts(lines: Sequence[Line], width: float) -> list[float]:
    """Points by which each line is drawn aside: a base model's single points of one number of images, side by side."""
    numbers = [None if line.level or len(line.x) > 1 else (line.colour, float(line.x[0])) for line in lines]
    shifts = np.zeros(len(lines))
    for number in set(numbers) - {None}:
        alike = [place for place, other in enumerate(numbers) if other == number]
        shifts[alike] = min(_ASIDE, _WIDEST * width / len(alike)) * (np.arange(len(alike)) - (len(alike) - 1) / 2)
    return [float(shift) for shift in shifts]


def _draw_with_bars(axis: Axes, line: Line, shift: float) -> None:
    """With intervals, `shift` points aside; what is level is a point, and a dashed line to compare with."""
    drawn = axis.errorbar(
        line.x,
        line.y,
        yerr=None if line.interval is None else np.abs(np.stack(line.interval) - line.y),
        marker=line.marker,
        linestyle="none" if line.level else line.style,
        color=line.colour,
        label=line.name,
        capsize=2,
    )
    for artist in drawn.get_children():
        artist.set_transform(offset_copy(artist.get_transform(), axis.get_figure(root=True), shift, units="points"))
    if line.level:
        axis.axhline(line.y[0], color=line.colour, ls="--", lw=0.8)

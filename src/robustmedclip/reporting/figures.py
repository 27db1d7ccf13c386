"""Figures, each from the table of metrics, from logits or from corrupted images."""

from collections.abc import Sequence
from io import BytesIO

import matplotlib
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from robustmedclip.images.conditions import CLEAN, Condition
from robustmedclip.images.corrupted import CorruptedSet
from robustmedclip.metrics.logits import Logits
from robustmedclip.metrics.runs import ALL, SEVERITIES
from robustmedclip.metrics.table import overall, severity_curve
from robustmedclip.reporting.palette import COLOURS, approaches, colour_of, symbol_of
from robustmedclip.reporting.reliability import reliability_lines

_DPI = 110
_MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*")


def severity_curves(metrics: pd.DataFrame) -> Figure:
    """Error against severity, averaged over the data sets that have the corruption: a panel per corruption, a line per model.

    Of the tuned models, those with the largest few-shot fraction of their method are shown.
    """
    everywhere = _overall(metrics)
    shown = _unlabelled(everywhere) + _largest_fraction(everywhere)
    corruptions = sorted(set(everywhere["corruption"]) - {CLEAN.corruption, ALL})
    columns = min(4, max(1, len(corruptions)))
    rows = -(-len(corruptions) // columns)
    figure = Figure(figsize=(3.1 * columns, 2.6 * rows + 0.7), dpi=_DPI, layout="constrained")
    axes = np.atleast_1d(figure.subplots(rows, columns, sharex=True, sharey=True, squeeze=False)).ravel()
    for axis, corruption in zip(axes, corruptions):
        for model, colour, style in _styles(everywhere, shown):
            curve = severity_curve(everywhere, model, corruption)
            axis.plot(range(len(curve)), curve["value"], style, color=colour, label=model, markersize=3)
            axis.fill_between(range(len(curve)), curve["low"], curve["high"], color=colour, alpha=0.12, lw=0)
        axis.set_title(corruption.replace("_", " "), fontsize=10)
        axis.grid(alpha=0.3)
    for axis in axes[len(corruptions) :]:
        axis.set_axis_off()
    figure.supxlabel("severity (0: clean)")
    figure.supylabel("error, %")
    figure.legend(*axes[0].get_legend_handles_labels(), loc="outside upper center", ncols=columns, frameon=False)
    return figure


def corruption_heat_map(metrics: pd.DataFrame) -> Figure:
    """CE of every model (row, the lowest mCE first) under every corruption (column), and the mCE."""
    everywhere = overall(metrics)
    ce = everywhere[everywhere["metric"] == "ce"].pivot(index="model", columns="corruption", values="value")
    ce["mCE"] = everywhere[everywhere["metric"] == "mce"].set_index("model")["value"]
    ce = ce.sort_values("mCE", kind="stable")
    figure = Figure(figsize=(2.8 + 0.85 * ce.shape[1], 1.8 + 0.36 * len(ce)), dpi=_DPI, layout="constrained")
    axis = figure.subplots()
    image = axis.imshow(ce.to_numpy(float), cmap="cividis", aspect="auto")
    middle = np.nanmean(image.get_clim())
    for (row, column), value in np.ndenumerate(ce.to_numpy(float)):
        text = "n/a" if np.isnan(value) else f"{value:.0f}"
        axis.text(column, row, text, ha="center", va="center", fontsize=8, color="w" if value < middle else "k")
    axis.set_xticks(range(ce.shape[1]), [c.replace("_", "\n") for c in ce.columns], fontsize=8)
    axis.set_yticks(range(len(ce)), ce.index, fontsize=8)
    axis.set_title("corruption error (baseline: 100; lower is better)", fontsize=10)
    figure.colorbar(image, ax=axis, shrink=0.8)
    return figure


def few_shot_curves(metrics: pd.DataFrame) -> Figure:
    """Accuracy, clean and averaged over all corruptions, against few-shot fraction; 0 is without labels."""
    everywhere = _overall(metrics)
    entries = len(everywhere[["base", "approach"]].drop_duplicates())
    figure = Figure(figsize=(7.5, 3.6 + 0.18 * -(-entries // 3)), dpi=_DPI, layout="constrained")
    axes = figure.subplots(1, 2, sharey=True)
    panels = (("clean", "clean_error", CLEAN.corruption), ("mean over corruptions", "error", ALL))
    for axis, (title, metric, corruption) in zip(axes, panels, strict=True):
        chosen = everywhere[
            (everywhere["metric"] == metric) & (everywhere["corruption"] == corruption) & everywhere["severity"].isna()
        ]
        _few_shot_panel(axis, chosen)
        axis.set_title(title, fontsize=10)
        axis.set_xlabel("labelled images, % of the training pool")
        axis.grid(alpha=0.3)
    axes[0].set_ylabel("accuracy, %")
    handles = axes[0].get_legend_handles_labels()
    figure.legend(*handles, loc="outside upper center", ncols=3, frameon=False, fontsize=8)
    return figure


def model_summary(metrics: pd.DataFrame, logits: Sequence[Logits]) -> Figure:
    """One model: error against severity, a line per corruption, and its reliability diagram.

    `metrics` are its rows of the table, `logits` those of all data sets.
    """
    everywhere = overall(metrics)
    figure = Figure(figsize=(10, 4.4), dpi=_DPI)
    severities, calibration = figure.subplots(
        1, 2, gridspec_kw={"left": 0.06, "right": 0.99, "bottom": 0.12, "top": 0.86, "wspace": 0.16}
    )
    model, names = everywhere["model"].iloc[0], sorted(set(everywhere["corruption"]) - {CLEAN.corruption, ALL})
    for position, name in enumerate(names):
        curve = severity_curve(everywhere, model, name)["value"]
        style = ("-o", "--s", ":^")[position // len(COLOURS) % 3]
        label = name.replace("_", " ")
        severities.plot(range(len(curve)), curve, style, color=colour_of(name, names), label=label, markersize=3)
    severities.set(xlabel="severity (0: clean)", ylabel="error, %", title="averages over data sets")
    calibration.plot([0, 1], [0, 1], color="#888", lw=1)
    for name, line in reliability_lines(logits).items():
        colour, style = COLOURS[0 if name.startswith("clean") else 1], ":o" if name.endswith("scaled") else "-o"
        calibration.plot(line["confidence"], line["right"], style, color=colour, label=name, markersize=3)
    calibration.set(
        xlabel="mean confidence", ylabel="share that is right", title="calibration", xlim=(0, 1.02), ylim=(0, 1.02)
    )
    for axis in (severities, calibration):
        axis.grid(alpha=0.3)
        axis.legend(fontsize=8)
    figure.suptitle(model)
    return figure


def corruption_montage(corrupted: Sequence[CorruptedSet], thumbnail: int = 64) -> Figure:
    """The first test image of the data sets under every corruption (row) at every severity (column).

    The data sets take turns: row i shows data set i modulo their number.
    """
    names = list(dict.fromkeys(c.corruption for one in corrupted for c in one.conditions if c != CLEAN))
    figure = Figure(figsize=(7.2, 1.25 * max(1, len(names)) + 0.5), dpi=_DPI, layout="constrained")
    axes = figure.subplots(max(1, len(names)), 1 + len(SEVERITIES), squeeze=False)
    for row, name in enumerate(names):
        holders = [one for one in corrupted if Condition(name, 1) in one.conditions]
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
    undated = {"svg": {"Date": None}, "pdf": {"CreationDate": None}}
    files = {}
    with matplotlib.rc_context({"svg.hashsalt": name, "pdf.fonttype": 42}):
        for ending, metadata in undated.items():
            stream = BytesIO()
            figure.savefig(stream, format=ending, metadata=metadata)
            figure.set_layout_engine("none")  # what is laid out stays
            files[f"{name}.{ending}"] = stream.getvalue()
    return files


def _overall(metrics: pd.DataFrame) -> pd.DataFrame:
    """The averages over all data sets, with the ``approach`` of each model."""
    return overall(metrics).assign(approach=approaches)


def _unlabelled(rows: pd.DataFrame) -> list[str]:
    return rows[rows["fraction"].isna()]["model"].drop_duplicates().tolist()


def _largest_fraction(rows: pd.DataFrame) -> list[str]:
    """Of each base model and approach, the model with the largest fraction."""
    tuned = rows[rows["fraction"].notna()]
    largest = tuned.groupby(["base", "approach"])["fraction"].transform("max")
    return tuned[tuned["fraction"] == largest]["model"].drop_duplicates().tolist()


def _styles(rows: pd.DataFrame, models: Sequence[str]) -> list[tuple[str, str, str]]:
    """(model, colour, line style): one colour per base model, one marker per approach, dashed without labels."""
    facts = rows.drop_duplicates("model").set_index("model")
    bases, known = sorted(set(facts["base"])), facts["approach"]
    return [
        (
            model,
            colour_of(facts.loc[model, "base"], bases),
            ("--" if pd.isna(facts.loc[model, "fraction"]) else "-") + symbol_of(known[model], known, _MARKERS),
        )
        for model in models
    ]


def _few_shot_panel(axis: Axes, errors: pd.DataFrame) -> None:
    """A line per base model and approach; what has seen no labels is a point, and a dashed line to compare with."""
    bases = sorted(set(errors["base"]))
    for (base, approach), curve in errors.sort_values("fraction").groupby(["base", "approach"]):
        colour, unlabelled = colour_of(base, bases), curve["fraction"].isna().all()
        accuracy = 100 - curve[["value", "high", "low"]].to_numpy(float)
        axis.errorbar(
            100 * curve["fraction"].fillna(0),
            accuracy[:, 0],
            yerr=np.abs(accuracy[:, 1:] - accuracy[:, :1]).T,
            fmt=symbol_of(approach, errors["approach"], _MARKERS) + ("" if unlabelled else "-"),
            color=colour,
            label=f"{base}, {approach}",
            capsize=2,
            markersize=4,
        )
        if unlabelled:
            axis.axhline(accuracy[0, 0], color=colour, ls="--", lw=0.8)

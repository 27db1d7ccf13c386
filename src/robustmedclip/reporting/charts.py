"""Interactive charts, from the table of metrics or from logits. Names that users gave are escaped: Plotly reads HTML."""

from collections.abc import Sequence
from html import escape
from textwrap import wrap

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from robustmedclip.images.conditions import CLEAN
from robustmedclip.metrics.logits import Logits
from robustmedclip.metrics.table import ALL, overall, severity_curve
from robustmedclip.reporting.palette import COLOURS, approaches, colour_of, symbol_of
from robustmedclip.reporting.reliability import reliability_lines

_LAYOUT = {
    "template": "plotly_white",
    "font": {"family": "system-ui, sans-serif", "size": 13},
    "margin": {"l": 55, "r": 15, "t": 50, "b": 20},
    "legend": {"orientation": "h", "yref": "container", "yanchor": "bottom", "y": 0, "x": 0},
    "hoverlabel": {"namelength": -1},
}
_MEANS = {"mce": "mCE", "relative_mce": "relative mCE"}
_SYMBOLS = ("circle", "square", "triangle-up", "diamond", "triangle-down", "cross", "x", "star")


def error_against_mce(leaderboard: pd.DataFrame, metrics: pd.DataFrame) -> go.Figure:
    """Clean error against mCE, a point per model with its intervals, larger for more labels; circles are zero-shot."""
    bases = sorted(set(leaderboard["base"]))
    known = leaderboard["model"].map(metrics.drop_duplicates("model").set_index("model")["adaptation"])
    most = leaderboard["fraction"].max()
    figure = go.Figure()
    for (base, approach), rows in leaderboard.groupby([leaderboard["base"], known], sort=False):
        figure.add_scatter(
            x=rows["clean_error"],
            y=rows["mce"],
            error_x=_bars(rows, "clean_error"),
            error_y=_bars(rows, "mce"),
            mode="markers",
            name=escape(f"{base}, {approach}"),
            customdata=[escape(model) for model in rows["model"]],
            hovertemplate="%{customdata}<br>clean error %{x:.1f} %<br>mCE %{y:.1f}<extra></extra>",
            marker={
                "size": 8 + 8 * (rows["fraction"] / most).fillna(0),
                "color": colour_of(base, bases),
                "symbol": symbol_of(approach, known, _SYMBOLS),
            },
        )
    return _finished(figure, "clean error, %", "mCE (baseline: 100)")


def heat_map(metrics: pd.DataFrame, models: Sequence[str], columns: str) -> go.Figure:
    """Models against ``corruption`` (CE) or ``modality`` (mCE); a menu changes to the relative one."""
    kinds = {"ce": "CE", "relative_ce": "relative CE"} if columns == "corruption" else _MEANS
    figure = go.Figure([_heat_map(metrics, models, columns, metric) for metric in kinds])
    figure.data[1].visible = False
    menu = _menu(list(kinds.values()), [[True, False], [False, True]], y=1 + 45 / (28 * len(models)))
    figure.update_layout(**_LAYOUT, height=180 + 28 * len(models), updatemenus=[menu])
    return figure.update_yaxes(autorange="reversed", automargin=True).update_xaxes(automargin=True)


def _heat_map(metrics: pd.DataFrame, models: Sequence[str], columns: str, metric: str) -> go.Heatmap:
    chosen = metrics[(metrics["metric"] == metric) & metrics["severity"].isna() & metrics["seed"].isna()]
    if columns == "corruption":
        chosen = overall(chosen)
    else:
        chosen = chosen[(chosen["data_set"] == ALL) & (chosen["modality"] != ALL) & (chosen["collection"] == ALL)]
    values = chosen.pivot_table(index="model", columns=columns, values="value", dropna=False).reindex(models)
    text = [["undefined" if np.isnan(value) else f"{value:.0f}" for value in row] for row in values.to_numpy()]
    return go.Heatmap(
        z=values.to_numpy(),
        x=["<br>".join(map(escape, wrap(str(name).replace("_", " "), 16))) for name in values.columns],
        y=[escape(name) for name in values.index],
        text=text,
        texttemplate="%{text}",
        colorscale="Cividis",
        hovertemplate="%{y}<br>%{x}<br>%{text}<extra></extra>",
        colorbar={"thickness": 12},
    )


def severity_curves(metrics: pd.DataFrame, models: Sequence[str]) -> go.Figure:
    """Error against severity (0: clean), a line per model; a menu chooses the corruption."""
    everywhere = overall(metrics).assign(approach=approaches)
    facts = everywhere.drop_duplicates("model").set_index("model")
    bases = sorted(set(facts["base"]))
    names = sorted(set(everywhere["corruption"]) - {CLEAN.corruption, ALL})
    figure = go.Figure()
    for position, name in enumerate(names):
        for model in models:
            curve = severity_curve(everywhere, model, name)
            unlabelled = pd.isna(facts.loc[model, "fraction"])
            figure.add_scatter(
                x=curve["severity"],
                y=curve["value"],
                error_y=_bars(curve, None),
                name=escape(model),
                visible=position == 0,
                line={"color": colour_of(facts.loc[model, "base"], bases), "dash": "dash" if unlabelled else "solid"},
                marker_symbol=symbol_of(facts.loc[model, "approach"], facts["approach"], _SYMBOLS),
                hovertemplate="severity %{x}<br>error %{y:.1f} %",
            )
    shown = [[other == name for other in names for _ in models] for name in names]
    figure.update_layout(updatemenus=[_menu([name.replace("_", " ") for name in names], shown)])
    return _finished(figure, "severity (0: clean)", "error, %", entries=len(models))


def few_shot_curves(metrics: pd.DataFrame) -> go.Figure:
    """Accuracy, clean (solid) and averaged over corruptions (dotted), against few-shot fraction.

    What has seen no labels is a level line.
    """
    everywhere = overall(metrics).assign(approach=approaches)
    everywhere = everywhere[everywhere["severity"].isna()]
    bases, figure = sorted(set(everywhere["base"])), go.Figure()
    for title, metric, corruption, dash in (
        ("clean", "clean_error", CLEAN.corruption, "solid"),
        ("corrupted", "error", ALL, "dot"),
    ):
        errors = everywhere[(everywhere["metric"] == metric) & (everywhere["corruption"] == corruption)]
        ends = [errors.fillna({"fraction": end}) for end in (0, errors["fraction"].max())]
        points = pd.concat(ends).drop_duplicates(["model", "fraction"]).sort_values("fraction", kind="stable")
        for (base, approach), curve in points.groupby(["base", "approach"]):
            figure.add_scatter(
                x=100 * curve["fraction"],
                y=100 - curve["value"],
                error_y={
                    "array": curve["value"] - curve["low"],
                    "arrayminus": curve["high"] - curve["value"],
                    "thickness": 1,
                },
                name=escape(f"{base}, {approach}, {title}"),
                line={"color": colour_of(base, bases), "dash": dash},
                marker_symbol=symbol_of(approach, errors["approach"], _SYMBOLS),
                hovertemplate="%{x:g} % of the labels<br>accuracy %{y:.1f} %",
            )
    return _finished(figure, "labelled images, % of the training pool", "accuracy, %")


def reliability_diagrams(logits: Sequence[Logits], models: Sequence[str]) -> go.Figure:
    """Share of right predictions against confidence, before and after temperature scaling; a menu chooses the model.

    Every image of every data set counts alike, under each corruption and severity, and for each seed.
    """
    figure = go.Figure()
    for position, model in enumerate(models):
        lines = reliability_lines([run for run in logits if run.model == model])
        for name, line in lines.items():
            figure.add_scatter(
                x=line["confidence"],
                y=line["right"],
                customdata=line["predictions"],
                mode="lines+markers",
                name=name,
                visible=position == 0,
                line={
                    "color": COLOURS[0 if name.startswith("clean") else 1],
                    "dash": "dot" if name.endswith("scaled") else "solid",
                },
                hovertemplate="confidence %{x:.2f}<br>right %{y:.2f}<br>%{customdata} predictions",
            )
    figure.add_shape(type="line", x0=0, y0=0, x1=1, y1=1, line={"color": "#888", "width": 1})
    shown = [[other == model for other in models for _ in lines] for model in models]
    figure.update_layout(updatemenus=[_menu(models, shown)], xaxis_range=[0, 1.02], yaxis_range=[0, 1.02])
    return _finished(figure, "mean confidence", "share that is right", entries=len(lines))


def _bars(rows: pd.DataFrame, column: str | None) -> dict[str, object]:
    """Error bars from the interval of a column of the leaderboard, or of ``value`` of the table of metrics."""
    value, low, high = (column, f"{column}_low", f"{column}_high") if column else ("value", "low", "high")
    return {"array": rows[high] - rows[value], "arrayminus": rows[value] - rows[low], "thickness": 1, "width": 2}


def _finished(figure: go.Figure, x: str, y: str, entries: int | None = None) -> go.Figure:
    """With axis titles, and as high as the legend needs on a phone, where each of its entries takes a line."""
    height = 420 + 19 * (len(figure.data) if entries is None else entries)
    figure.update_layout(**_LAYOUT, height=height, xaxis_title=x, yaxis_title=y)
    return figure if figure.layout.updatemenus else figure.update_layout(margin_t=20)


def _menu(labels: Sequence[str], visible: Sequence[Sequence[bool]], y: float = 1.14) -> dict[str, object]:
    buttons = [
        {"label": escape(label), "method": "restyle", "args": [{"visible": list(shown)}]}
        for label, shown in zip(labels, visible, strict=True)
    ]
    return {"buttons": buttons, "x": 0, "xanchor": "left", "y": y, "yanchor": "top"}

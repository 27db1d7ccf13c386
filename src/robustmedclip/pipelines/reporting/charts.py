"""Interactive charts, each from the table of metrics. Names that users gave are escaped: Plotly reads HTML."""

from collections.abc import Iterator, Sequence
from html import escape
from textwrap import wrap

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from robustmedclip.metrics.table import ALL, overall
from robustmedclip.pipelines.reporting.palette import colour_of
from robustmedclip.types import CLEAN

_LAYOUT = {
    "template": "plotly_white",
    "font": {"family": "system-ui, sans-serif", "size": 13},
    "margin": {"l": 55, "r": 15, "t": 50, "b": 50},
    "legend": {"orientation": "h", "yanchor": "top", "y": -0.25, "x": 0},
    "hoverlabel": {"namelength": -1},
}
_SYMBOLS = ("circle", "square", "diamond", "triangle-up", "cross", "x")


def error_against_mce(leaderboard: pd.DataFrame) -> go.Figure:
    """Clean error against mCE, a point per model with its intervals; circles are zero-shot."""
    bases, methods = sorted(set(leaderboard["base"])), sorted(set(leaderboard["method"]), key=_zero_shot_first)
    figure = go.Figure()
    for (base, method), rows in leaderboard.groupby(["base", "method"], sort=False):
        figure.add_scatter(
            x=rows["clean_error"],
            y=rows["mce"],
            error_x=_bars(rows, "clean_error"),
            error_y=_bars(rows, "mce"),
            mode="markers+text",
            name=escape(f"{base}, {method}"),
            text=[_label(fraction) for fraction in rows["fraction"]],
            textposition="top right",
            customdata=[escape(model) for model in rows["model"]],
            hovertemplate="%{customdata}<br>clean error %{x:.1f} %<br>mCE %{y:.1f}<extra></extra>",
            marker={
                "size": 10,
                "color": colour_of(base, bases),
                "symbol": _SYMBOLS[methods.index(method) % len(_SYMBOLS)],
            },
        )
    return figure.update_layout(**_LAYOUT, xaxis_title="clean error, %", yaxis_title="mCE (baseline: 100)")


def heat_map(metrics: pd.DataFrame, models: Sequence[str], columns: str) -> go.Figure:
    """Models against ``corruption`` (CE), ``modality`` or ``data_set`` (mCE); 100 is the baseline."""
    metric = "ce" if columns == "corruption" else "mce"
    chosen = metrics[(metrics["metric"] == metric) & metrics["severity"].isna() & metrics["seed"].isna()]
    if columns == "corruption":
        chosen = overall(chosen)
    elif columns == "modality":
        chosen = chosen[(chosen["data_set"] == ALL) & (chosen["modality"] != ALL) & (chosen["collection"] == ALL)]
    else:
        chosen = chosen[chosen["data_set"] != ALL]
    values = chosen.pivot_table(index="model", columns=columns, values="value", dropna=False).reindex(models)
    text = [["undefined" if np.isnan(value) else f"{value:.0f}" for value in row] for row in values.to_numpy()]
    figure = go.Figure(
        go.Heatmap(
            z=values.to_numpy(),
            x=["<br>".join(map(escape, wrap(str(name).replace("_", " "), 16))) for name in values.columns],
            y=[escape(name) for name in values.index],
            text=text,
            texttemplate="%{text}",
            colorscale="Cividis",
            hovertemplate="%{y}<br>%{x}<br>%{text}<extra></extra>",
            colorbar={"thickness": 12},
        )
    )
    height = 140 + 28 * len(values)
    return figure.update_layout(**_LAYOUT, height=height).update_yaxes(autorange="reversed", automargin=True)


def severity_curves(metrics: pd.DataFrame, models: Sequence[str]) -> go.Figure:
    """Error against severity (0: clean), a line per model; a menu chooses the corruption."""
    everywhere = overall(metrics)
    facts = everywhere.drop_duplicates("model").set_index("model")
    bases = sorted(set(facts["base"]))
    names = sorted(set(everywhere["corruption"]) - {CLEAN.corruption, ALL})
    figure = go.Figure()
    for position, name in enumerate(names):
        for model in models:
            curve = _severities(everywhere, model, name)
            zero_shot = pd.isna(facts.loc[model, "fraction"])
            figure.add_scatter(
                x=curve["severity"].fillna(0),
                y=curve["value"],
                error_y=_bars(curve, None),
                name=escape(model),
                visible=position == 0,
                line={"color": colour_of(facts.loc[model, "base"], bases), "dash": "dash" if zero_shot else "solid"},
                hovertemplate="severity %{x}<br>error %{y:.1f} %",
            )
    shown = [[other == name for other in names for _ in models] for name in names]
    figure.update_layout(
        **_LAYOUT,
        xaxis_title="severity (0: clean)",
        yaxis_title="error, %",
        updatemenus=[_menu([name.replace("_", " ") for name in names], shown)],
    )
    return figure


def few_shot_curves(metrics: pd.DataFrame) -> go.Figure:
    """Accuracy, clean (solid) and averaged over corruptions (dotted), against few-shot fraction; 0 is zero-shot."""
    everywhere = overall(metrics)
    everywhere = everywhere[everywhere["severity"].isna()]
    bases, figure = sorted(set(everywhere["base"])), go.Figure()
    for title, metric, corruption, dash in (
        ("clean", "clean_error", CLEAN.corruption, "solid"),
        ("corrupted", "error", ALL, "dot"),
    ):
        errors = everywhere[(everywhere["metric"] == metric) & (everywhere["corruption"] == corruption)]
        for name, base, curve in _few_shot_lines(errors):
            figure.add_scatter(
                x=100 * curve["fraction"].fillna(0),
                y=100 - curve["value"],
                error_y={
                    "array": curve["value"] - curve["low"],
                    "arrayminus": curve["high"] - curve["value"],
                    "thickness": 1,
                },
                name=escape(f"{name}, {title}"),
                line={"color": colour_of(base, bases), "dash": dash},
                hovertemplate="%{x:g} % of the labels<br>accuracy %{y:.1f} %",
            )
    return figure.update_layout(
        **_LAYOUT, xaxis_title="labelled images, % of the training pool", yaxis_title="accuracy, %"
    )


def _few_shot_lines(errors: pd.DataFrame) -> Iterator[tuple[str, str, pd.DataFrame]]:
    for base, own in errors.groupby("base"):
        zero_shot, tuned = own[own["fraction"].isna()], own[own["fraction"].notna()]
        if tuned.empty:
            yield base, base, zero_shot
        for (method, rank), curve in tuned.groupby(["method", "rank"], dropna=False):
            suffix = "" if pd.isna(rank) else f" rank {rank:g}"
            yield f"{base}, {method}{suffix}", base, pd.concat([zero_shot, curve.sort_values("fraction")])


def _severities(everywhere: pd.DataFrame, model: str, corruption: str) -> pd.DataFrame:
    own = everywhere[everywhere["model"] == model]
    errors = own[(own["metric"] == "error") & (own["corruption"] == corruption) & own["severity"].notna()]
    return pd.concat([own[own["metric"] == "clean_error"], errors.sort_values("severity")])


def _bars(rows: pd.DataFrame, column: str | None) -> dict[str, object]:
    """Error bars from the interval of a column of the leaderboard, or of ``value`` of the table of metrics."""
    value, low, high = (column, f"{column}_low", f"{column}_high") if column else ("value", "low", "high")
    return {"array": rows[high] - rows[value], "arrayminus": rows[value] - rows[low], "thickness": 1, "width": 2}


def _menu(labels: Sequence[str], visible: Sequence[Sequence[bool]]) -> dict[str, object]:
    buttons = [
        {"label": escape(label), "method": "restyle", "args": [{"visible": list(shown)}]}
        for label, shown in zip(labels, visible, strict=True)
    ]
    return {"buttons": buttons, "x": 0, "xanchor": "left", "y": 1.14, "yanchor": "top"}


def _label(fraction: float) -> str:
    return "" if pd.isna(fraction) else f"{100 * fraction:g} %"


def _zero_shot_first(method: str) -> tuple[bool, str]:
    return method != "zero-shot", method

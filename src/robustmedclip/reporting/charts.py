"""Interactive charts of the page, drawn with Plotly. Names that users gave are escaped: Plotly reads HTML."""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from html import escape
from textwrap import wrap
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from robustmedclip.metrics import derived
from robustmedclip.metrics.logits import Logits
from robustmedclip.reporting.figure_data import (
    Line,
    Panels,
    chance_error,
    dumbbells,
    few_shot_panels,
    reliability_lines,
    severity_panels,
    values_by,
)
from robustmedclip.reporting.palette import MARKERS, colour_of, marker_of

_LAYOUT: dict[str, Any] = {
    "template": "plotly_white",
    "font": {"family": "system-ui, sans-serif", "size": 13},
    "margin": {"l": 55, "r": 15, "t": 50, "b": 20},
    "legend": {"orientation": "h", "yref": "container", "yanchor": "bottom", "y": 0, "x": 0},
    "hoverlabel": {"namelength": -1},
}
_DASHES = {"solid": "solid", "dashed": "dash", "dotted": "dot"}
#: What a heat map shows by which columns, with their titles.
_SHOWN_BY = {
    "corruption": {derived.CE: "CE", derived.POINTS_LOST: "points lost"},
    "modality": {derived.MCE: "mCE", derived.POINTS_LOST: "points lost"},
}


class Chart(NamedTuple):
    """A chart of the page, with its title and a description for those who don't see it; `wide` ones don't shrink."""

    title: str
    description: str
    figure: go.Figure
    wide: bool = False


def page_charts(metrics: pd.DataFrame, leaderboard: pd.DataFrame, logits: Sequence[Logits]) -> list[Chart]:
    """The charts of the page.

    `metrics` and `leaderboard` are as of :func:`robustmedclip.metrics.score_benchmark` and
    :func:`robustmedclip.reporting.leaderboard.leaderboard`, `logits` those of all models on all data sets.
    """
    models, chance = leaderboard["model"].tolist(), chance_error(logits)
    return [
        Chart(
            "From clean to corrupted",
            "Error of every model on clean images (filled) and its mean over all corruptions and severities (open), "
            "with 95 % intervals; dashed lines are models that saw no labels. The dotted line is a guess.",
            dumbbell_chart(leaderboard, metrics, chance),
        ),
        Chart(
            "Clean error and mCE",
            "Clean error against mCE of every model, with 95 % intervals; larger points have seen more labelled "
            "images. The best models are at the lower left.",
            error_against_mce(leaderboard, metrics),
        ),
        Chart(
            "Corruptions",
            "CE of every model under every corruption, the lowest mCE on top; the baseline is 100. Points lost: the "
            "error under the corruption minus that of clean images, in percentage points.",
            heat_map(metrics, models, "corruption"),
            wide=True,
        ),
        Chart(
            "Modalities",
            "mCE of every model on every modality; the baseline is 100. Points lost: the error under corruption minus "
            "that of clean images, in percentage points.",
            heat_map(metrics, models, "modality"),
            wide=True,
        ),
        Chart(
            "Severity",
            "Error against severity, averaged over the data sets that have the corruption. The menu chooses the "
            "corruption; dashed lines are models that saw no labels, and the dotted one is a guess.",
            severity_curves(metrics, models, chance),
        ),
        Chart(
            "Labelled images",
            "Error against the labelled images that tuning sees, those to validate included; level lines are models "
            "that saw no labels. Solid lines are clean images, dotted ones the mean over all corruptions and "
            "severities.",
            few_shot_curves(metrics, leaderboard),
        ),
        Chart(
            "Calibration",
            "Fraction of right predictions against the model's confidence in bins, each image of all data sets counted "
            "alike; on the diagonal, confidence can be trusted. Scaled: after temperature scaling, fitted on clean "
            "images other than the one that is scaled. The menu chooses the model.",
            reliability_diagrams(logits, models),
        ),
    ]


def dumbbell_chart(leaderboard: pd.DataFrame, metrics: pd.DataFrame, chance: float) -> go.Figure:
    """Clean (filled) and corrupted error (open) of every model, the first of the leaderboard on top."""
    figure = go.Figure()
    lines = dumbbells(leaderboard, metrics)
    for line in lines:
        assert line.interval is not None
        marker = MARKERS[line.marker]
        figure.add_scatter(
            x=line.x,
            y=line.y,
            error_x=_bars(line.x, *line.interval),
            mode="lines+markers",
            name=escape(line.name),
            line={"color": line.colour, "dash": _DASHES[line.style]},
            marker={"symbol": [marker, f"{marker}-open"], "size": 10, "color": line.colour},
            customdata=["clean", "corrupted"],
            hovertemplate="%{customdata}: %{x:.1f} % errors",
            showlegend=False,
        )
    figure.add_vline(x=chance, line={"color": "#888", "width": 1, "dash": "dot"})
    names = [escape(line.name) for line in lines]
    figure.update_layout(**_LAYOUT, height=110 + 28 * len(lines), xaxis_title="error, %")
    figure.update_layout(margin_t=20, margin_b=45)
    return figure.update_yaxes(
        tickvals=[*range(len(lines))], ticktext=names, autorange="reversed", automargin=True, zeroline=False
    )


def error_against_mce(leaderboard: pd.DataFrame, metrics: pd.DataFrame) -> go.Figure:
    """Clean error against mCE, a point per model with its intervals, larger for more labels; circles are zero-shot."""
    bases = sorted(set(leaderboard["base"]))
    adaptations = leaderboard["model"].map(metrics.drop_duplicates("model").set_index("model")["adaptation"])
    most = leaderboard["fraction"].max()
    figure = go.Figure()
    for (base, adaptation), rows in leaderboard.groupby([leaderboard["base"], adaptations], sort=False):
        figure.add_scatter(
            x=rows[derived.CLEAN_ERROR],
            y=rows[derived.MCE],
            error_x=_bars(*(rows[f"clean_error{end}"] for end in ("", "_low", "_high"))),
            error_y=_bars(*(rows[f"mce{end}"] for end in ("", "_low", "_high"))),
            mode="markers",
            name=escape(f"{base}, {adaptation}"),
            customdata=[escape(model) for model in rows["model"]],
            hovertemplate="%{customdata}<br>clean error %{x:.1f} %<br>mCE %{y:.1f}<extra></extra>",
            marker={
                "size": 8 + 8 * (rows["fraction"] / most).fillna(0),
                "color": colour_of(base, bases),
                "symbol": MARKERS[marker_of(adaptation, adaptations)],
            },
        )
    return _finished(figure, "clean error, %", "mCE (baseline: 100)")


def heat_map(metrics: pd.DataFrame, models: Sequence[str], by: str) -> go.Figure:
    """Models against ``corruption`` (CE) or ``modality`` (mCE); a menu changes to the points that corruption costs."""
    titles = _SHOWN_BY[by]
    figure = go.Figure([_heat_map(values_by(metrics, metric, by, models)) for metric in titles])
    figure.data[1].visible = False
    menu = _menu(list(titles.values()), [[True, False], [False, True]], y=1 + 45 / (28 * len(models)))
    figure.update_layout(**_LAYOUT, height=180 + 28 * len(models), updatemenus=[menu])
    return figure.update_yaxes(autorange="reversed", automargin=True).update_xaxes(automargin=True)


def _heat_map(values: pd.DataFrame) -> go.Heatmap:
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


def severity_curves(metrics: pd.DataFrame, models: Sequence[str], chance: float) -> go.Figure:
    """Error against severity (0: clean), a line per model, their mean first; a menu chooses the corruption."""
    panels = {name.replace("_", " "): lines for name, lines in severity_panels(metrics, models).items()}
    figure = _with_menu(panels, hovertemplate="severity %{x}<br>error %{y:.1f} %")
    figure.add_hline(y=chance, line={"color": "#888", "width": 1, "dash": "dot"})
    return _finished(figure, "severity (0: clean)", "error, %", entries=len(models))


def few_shot_curves(metrics: pd.DataFrame, leaderboard: pd.DataFrame) -> go.Figure:
    """Error, clean (solid) and averaged over corruptions (dotted), against the labelled images.

    What has seen no labels is a level line.
    """
    figure = go.Figure()
    for panel, lines in few_shot_panels(metrics, leaderboard).items():
        end = max((line.x.max() for line in lines if not line.level), default=0)
        for line in lines:
            named = replace(line, name=f"{line.name}, {panel}", style="solid" if panel == "clean" else "dotted")
            _add(figure, _drawn_across(named, end), hovertemplate="%{x} labelled images<br>error %{y:.1f} %")
    return _finished(figure, "labelled images, those to validate too", "error, %")


def reliability_diagrams(logits: Sequence[Logits], models: Sequence[str]) -> go.Figure:
    """Fraction of right predictions against confidence, before and after temperature scaling; a menu chooses the model.

    Every image of every data set counts alike, under each corruption and severity, and for each seed.
    """
    panels = {model: reliability_lines([run for run in logits if run.model == model]) for model in models}
    hover = "confidence %{x:.2f}<br>right %{y:.2f}<br>%{customdata} predictions"
    figure = _with_menu(panels, hovertemplate=hover)
    figure.add_shape(type="line", x0=0, y0=0, x1=1, y1=1, line={"color": "#888", "width": 1})
    figure.update_layout(xaxis_range=[0, 1.02], yaxis_range=[0, 1.02])
    entries = max(map(len, panels.values()))
    return _finished(figure, "mean confidence", "fraction that is right", entries=entries)


def _with_menu(panels: Panels, hovertemplate: str) -> go.Figure:
    """The lines of one panel, which a menu chooses."""
    figure, first = go.Figure(), next(iter(panels), None)
    for panel, lines in panels.items():
        for line in lines:
            _add(figure, line, hovertemplate=hovertemplate, visible=panel == first)
    shown = [[other == panel for other, lines in panels.items() for _ in lines] for panel in panels]
    return figure.update_layout(updatemenus=[_menu(list(panels), shown)])


def _add(figure: go.Figure, line: Line, **properties: Any) -> None:
    bars = {} if line.interval is None else {"error_y": _bars(line.y, *line.interval)}
    figure.add_scatter(
        x=line.x,
        y=line.y,
        customdata=line.counts,
        mode="lines+markers",
        name=escape(line.name),
        line={"color": line.colour, "dash": _DASHES[line.style]},
        marker_symbol=MARKERS[line.marker],
        **bars,
        **properties,
    )


def _drawn_across(line: Line, end: float) -> Line:
    """A level line from 0 to `end`; any other as it is."""
    if not line.level or not end or line.interval is None:
        return line
    low, high = line.interval
    return replace(line, x=np.array([0, end]), y=np.repeat(line.y, 2), interval=(np.repeat(low, 2), np.repeat(high, 2)))


def _bars(value: Any, low: Any, high: Any) -> dict[str, Any]:
    """Error bars of an interval."""
    return {"array": high - value, "arrayminus": value - low, "thickness": 1, "width": 2}


def _finished(figure: go.Figure, x: str, y: str, entries: int | None = None) -> go.Figure:
    """With axis titles, and as high as the legend needs on a phone, where each of its entries takes a line."""
    height = 420 + 19 * (len(figure.data) if entries is None else entries)
    figure.update_layout(**_LAYOUT, height=height, xaxis_title=x, yaxis_title=y)
    return figure if figure.layout.updatemenus else figure.update_layout(margin_t=20)


def _menu(labels: Sequence[str], visible: Sequence[Iterable[bool]], y: float = 1.14) -> dict[str, Any]:
    buttons = [
        {"label": escape(label), "method": "restyle", "args": [{"visible": list(shown)}]}
        for label, shown in zip(labels, visible, strict=True)
    ]
    return {"buttons": buttons, "x": 0, "xanchor": "left", "y": y, "yanchor": "top"}

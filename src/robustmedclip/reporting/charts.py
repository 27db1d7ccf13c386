"""Interactive charts of the page, drawn with Plotly. Names that users gave are escaped: Plotly reads HTML."""

from collections.abc import Callable, Sequence
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
    HEATS,
    Heat,
    Line,
    Panels,
    chance_error,
    dumbbells,
    few_shot_panels,
    heat_limits,
    reliability_lines,
    severity_panels,
    values_by,
)
from robustmedclip.reporting.palette import HEAT, MARKERS, colour_of, marker_of

_LAYOUT: dict[str, Any] = {
    "template": "plotly_white",
    "font": {"family": "system-ui, sans-serif", "size": 13},
    "margin": {"l": 55, "r": 15, "t": 50, "b": 20},
    "legend": {"orientation": "h", "yref": "container", "yanchor": "bottom", "y": 0, "x": 0},
    "hoverlabel": {"namelength": -1},
}
_DASHES = {"solid": "solid", "dashed": "dash", "dotted": "dot"}
_REFERENCE = {"color": "#888", "width": 1, "dash": "dot"}


class View(NamedTuple):
    """What a menu of a chart offers: its label, which traces it shows, and what is then said of the chart."""

    label: str
    shown: list[bool]
    description: str


class Chart(NamedTuple):
    """A chart of the page, with its title and a description for those who don't see it.

    Of several `views`, the figure shows the first; `wide` charts don't shrink.
    """

    title: str
    description: str
    figure: go.Figure
    wide: bool = False
    views: tuple[View, ...] = ()


def page_charts(metrics: pd.DataFrame, leaderboard: pd.DataFrame, logits: Sequence[Logits]) -> list[Chart]:
    """The charts of the page.

    `metrics` and `leaderboard` are as of :func:`robustmedclip.metrics.score_benchmark` and
    :func:`robustmedclip.reporting.leaderboard.leaderboard`, `logits` those of all models on all data sets.
    """
    models = leaderboard["model"].tolist()
    chance = chance_error({run.data_set: next(run.tasks()).class_names for run in logits}.values())
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
            "images. The best models are at the lower left; the dotted line is a guess.",
            error_against_mce(leaderboard, metrics, chance),
        ),
        *_heat_maps(metrics, models),
        _chart(
            "Severity",
            severity_curves(metrics, models, chance),
            lambda corruption: (
                f"Error against severity, {'' if corruption.startswith('mean') else 'under '}{corruption}, averaged "
                "over the data sets that have it; dashed lines are models that saw no labels, and the dotted one is a "
                "guess."
            ),
        ),
        Chart(
            "Labelled images",
            "Error against the labelled images that tuning sees, those to validate included; level lines are models "
            "that saw no labels. Solid lines are clean images, dotted ones the mean over all corruptions and "
            "severities; the dotted grey one is a guess.",
            few_shot_curves(metrics, leaderboard, chance),
        ),
        _chart(
            "Calibration",
            reliability_diagrams(logits, models),
            lambda model: (
                f"Fraction of right predictions of {model} against its confidence in bins, each image of all data sets "
                "counted alike; larger points hold more predictions. On the diagonal, confidence can be trusted; ECE "
                "is the mean distance from it. Scaled: after temperature scaling, fitted on clean images other than "
                "the one that is scaled."
            ),
        ),
    ]


def _heat_maps(metrics: pd.DataFrame, models: list[str]) -> list[Chart]:
    """Of corruptions and of modalities."""
    of_corruptions = {
        "CE": "CE of every model under every corruption, the lowest mCE on top: its errors relative to the baseline's, "
        "which is 100 and white; lower is better.",
        "points lost": "Error under the corruption minus that of clean images, in percentage points; lower is better.",
    }
    of_modalities = {
        "mCE": "mCE of every model on every modality; the baseline is 100 and white, lower is better.",
        "points lost": "Error under corruption minus that of clean images, in percentage points, on every modality; "
        "lower is better.",
    }
    return [
        _chart("Corruptions", heat_map(metrics, models, "corruption"), of_corruptions.__getitem__, wide=True),
        _chart("Modalities", heat_map(metrics, models, "modality"), of_modalities.__getitem__, wide=True),
    ]


def _chart(title: str, figure: go.Figure, describe: Callable[[str], str], wide: bool = False) -> Chart:
    """A chart with a view for each ``meta`` of its traces."""
    views = tuple(
        View(label, [trace.meta == label for trace in figure.data], describe(label))
        for label in dict.fromkeys(trace.meta for trace in figure.data)
    )
    return Chart(title, views[0].description if views else title, figure, wide, views)


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
    figure.add_vline(x=chance, line=_REFERENCE)
    names = [escape(line.name) for line in lines]
    figure.update_layout(**_LAYOUT, height=110 + 28 * len(lines), xaxis_title="error, %")
    above = [
        {"text": name, "x": 0, "xref": "paper", "xanchor": "left", "y": y, "yshift": 17, "showarrow": False}
        for y, name in enumerate(names)
    ]
    sizes = {
        "wide": {"height": 110 + 28 * len(lines), "yaxis.showticklabels": True, "annotations": []},
        "narrow": {"height": 110 + 44 * len(lines), "yaxis.showticklabels": False, "annotations": above, "margin.l": 5},
    }
    figure.update_layout(margin_t=20, margin_b=45, meta=sizes, xaxis_range=_range(lines, chance))
    return figure.update_yaxes(
        tickvals=[*range(len(lines))], ticktext=names, autorange="reversed", automargin=True, zeroline=False
    )


def _range(lines: Sequence[Line], chance: float) -> list[float]:
    """From the lowest to the highest bound or chance, and a little more."""
    values = np.concatenate([line.x for line in lines] + [bound for line in lines for bound in line.interval or ()])
    low, high = min(np.nanmin(values), chance), max(np.nanmax(values), chance)
    margin = 0.04 * (high - low) + 0.5
    return [float(low - margin), float(high + margin)]


def error_against_mce(leaderboard: pd.DataFrame, metrics: pd.DataFrame, chance: float) -> go.Figure:
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
    figure.add_vline(x=chance, line=_REFERENCE)
    return _finished(figure, "clean error, %", "mCE (baseline: 100)")


def heat_map(metrics: pd.DataFrame, models: Sequence[str], by: str) -> go.Figure:
    """Models against ``corruption`` or ``modality``: errors relative to the baseline's, then points lost."""
    figure = go.Figure([_heat_map(metrics, models, by, heat) for heat in HEATS])
    figure.data[1].visible = False
    figure.update_layout(**_LAYOUT, height=130 + 28 * len(models))
    figure.update_layout(margin_t=20)
    return figure.update_yaxes(autorange="reversed", automargin=True).update_xaxes(automargin=True)


def _heat_map(metrics: pd.DataFrame, models: Sequence[str], by: str, heat: Heat) -> go.Heatmap:
    values, (low, high) = values_by(metrics, heat.metrics[by], by, models), heat_limits(metrics, models, heat)
    text = [["undefined" if np.isnan(value) else f"{value:.0f}" for value in row] for row in values.to_numpy()]
    ticks = [low, (low + heat.middle) / 2, heat.middle, (heat.middle + high) / 2, high]
    title = heat.titles[by]
    return go.Heatmap(
        z=values.to_numpy(),
        x=["<br>".join(map(escape, wrap(str(name).replace("_", " "), 16))) for name in values.columns],
        y=[escape(name) for name in values.index],
        text=text,
        texttemplate="%{text}",
        textfont={"color": "#000"},
        colorscale=[[position / 2, colour] for position, colour in enumerate(HEAT)],
        zmin=low,
        zmax=high,
        xgap=1,
        ygap=1,
        meta=title,
        hovertemplate=f"%{{y}}<br>%{{x}}<br>{title}: %{{text}}<extra></extra>",
        colorbar={
            "thickness": 12,
            "title": {"text": title, "side": "right"},
            "tickvals": ticks,
            "ticktext": [f"<b>{heat.middle_title}</b>" if tick == heat.middle else f"{tick:.0f}" for tick in ticks],
        },
    )


def severity_curves(metrics: pd.DataFrame, models: Sequence[str], chance: float) -> go.Figure:
    """Error against severity (0: clean), a line per model, a view per corruption, their mean first."""
    panels = {name.replace("_", " "): lines for name, lines in severity_panels(metrics, models).items()}
    figure = _with_views(panels, hovertemplate="severity %{x}<br>error %{y:.1f} %")
    figure.add_hline(y=chance, line=_REFERENCE)
    return _finished(figure, "severity (0: clean)", "error, %", entries=len(models))


def few_shot_curves(metrics: pd.DataFrame, leaderboard: pd.DataFrame, chance: float) -> go.Figure:
    """Error, clean (solid) and averaged over corruptions (dotted), against the labelled images.

    What has seen no labels is a level line.
    """
    figure = go.Figure()
    for panel, lines in few_shot_panels(metrics, leaderboard).items():
        end = max((line.x.max() for line in lines if not line.level), default=0)
        for line in lines:
            named = replace(line, name=f"{line.name}, {panel}", style="solid" if panel == "clean" else "dotted")
            _add(figure, _drawn_across(named, end), hovertemplate="%{x} labelled images<br>error %{y:.1f} %")
    figure.add_hline(y=chance, line=_REFERENCE)
    return _finished(figure, "labelled images, those to validate too", "error, %")


def reliability_diagrams(logits: Sequence[Logits], models: Sequence[str]) -> go.Figure:
    """Fraction of right predictions against confidence, before and after temperature scaling; a view per model.

    Every image of every data set counts alike, under each corruption and severity, and for each seed.
    """
    panels = {model: reliability_lines([run for run in logits if run.model == model]) for model in models}
    hover = "confidence %{x:.2f}<br>right %{y:.2f}<br>%{customdata} predictions"
    figure = _with_views(panels, hovertemplate=hover)
    for trace in figure.data:
        trace.marker.size = 5 + 15 * np.sqrt(trace.customdata / trace.customdata.sum())
    figure.add_shape(type="line", x0=0, y0=0, x1=1, y1=1, line={"color": "#888", "width": 1})
    figure.update_xaxes(range=[0, 1.02], constrain="domain")
    figure.update_yaxes(range=[0, 1.02], constrain="domain", scaleanchor="x")
    entries = max(map(len, panels.values()))
    return _finished(figure, "mean confidence", "fraction that is right", entries=entries)


def _with_views(panels: Panels, hovertemplate: str) -> go.Figure:
    """The lines of all panels, each with the title of its own as ``meta``; those of the first are seen."""
    figure, first = go.Figure(), next(iter(panels), None)
    for panel, lines in panels.items():
        for line in lines:
            _add(figure, line, hovertemplate=hovertemplate, meta=panel, visible=panel == first)
    return figure


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
    height = 400 + 19 * (len(figure.data) if entries is None else entries)
    figure.update_layout(**_LAYOUT, height=height, xaxis_title=x, yaxis_title=y)
    return figure.update_layout(margin_t=20)

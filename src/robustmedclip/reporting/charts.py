"""Interactive charts of the page, drawn with Plotly. Names that users gave are escaped: Plotly reads HTML."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from html import escape
from textwrap import wrap
from types import MappingProxyType

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from robustmedclip.metrics import derived
from robustmedclip.metrics.logits import Logits
from robustmedclip.reporting.drawing import (
    DASHES,
    LAYOUT,
    REFERENCE,
    Chart,
    add_line,
    chart_with_views,
    drawn_across,
    error_bars,
    finished,
    lines_with_views,
)
from robustmedclip.reporting.figure_data import (
    HEATS,
    Heat,
    Line,
    chance_error,
    dumbbells,
    few_shot_panels,
    heat_limits,
    reliability_lines,
    severity_panels,
    values_by,
)
from robustmedclip.reporting.palette import HEAT, MARKERS, colour_of, marker_of
from robustmedclip.reporting.recalibration import confidence_panels


def page_charts(
    metrics: pd.DataFrame,
    leaderboard: pd.DataFrame,
    logits: Sequence[Logits],
    recalibration: pd.DataFrame | None = None,
    patients: Mapping[str, np.ndarray | None] = MappingProxyType({}),
) -> list[Chart]:
    """The charts of the page.

    `metrics` and `leaderboard` are as of :func:`robustmedclip.metrics.score_benchmark` and
    :func:`robustmedclip.reporting.leaderboard.leaderboard`, `logits` those of all models on all data sets, and
    `recalibration` as of :func:`robustmedclip.metrics.recalibration.recalibration`; `patients` says of a data set whose
    each of its images is.
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
        chart_with_views(
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
        chart_with_views(
            "Calibration",
            reliability_diagrams(logits, models, patients),
            lambda model: (
                f"Fraction of right predictions of {model} against its confidence in bins, each image of all data sets "
                "counted alike; larger points hold more predictions. On the diagonal, confidence can be trusted; ECE "
                "is the mean distance from it. Scaled: after temperature scaling, fitted on clean images other than "
                "the one that is scaled."
            ),
        ),
        *_confidence_charts(recalibration, models),
    ]


def _confidence_charts(recalibration: pd.DataFrame | None, models: Sequence[str]) -> list[Chart]:
    """Confidence by severity, if there are temperatures."""
    panels = {} if recalibration is None else confidence_panels(recalibration, models)
    if not panels:
        return []
    figure = lines_with_views(panels, hovertemplate="severity %{x}<br>%{y:.1f} %")
    figure.add_hline(y=0, line=REFERENCE)
    return [
        chart_with_views(
            "Confidence by severity",
            finished(figure, "severity (0: clean)", "%", entries=max(map(len, panels.values()))),
            lambda model: (
                f"Overconfidence of {model}, its mean confidence minus its accuracy, and its ECE, means over data sets "
                "and corruptions with 95 % intervals; above 0 it is surer than it is right. Dotted: with a temperature "
                "that was fitted to clean validation images, none of them a test image."
            ),
        )
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
        chart_with_views("Corruptions", heat_map(metrics, models, "corruption"), of_corruptions.__getitem__, wide=True),
        chart_with_views("Modalities", heat_map(metrics, models, "modality"), of_modalities.__getitem__, wide=True),
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
            error_x=error_bars(line.x, *line.interval),
            mode="lines+markers",
            name=escape(line.name),
            line={"color": line.colour, "dash": DASHES[line.style]},
            marker={"symbol": [marker, f"{marker}-open"], "size": 10, "color": line.colour},
            customdata=["clean", "corrupted"],
            hovertemplate="%{customdata}: %{x:.1f} % errors",
            showlegend=False,
        )
    figure.add_vline(x=chance, line=REFERENCE)
    names = [escape(line.name) for line in lines]
    figure.update_layout(**LAYOUT, height=110 + 28 * len(lines), xaxis_title="error, %")
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
            error_x=error_bars(*(rows[f"clean_error{end}"] for end in ("", "_low", "_high"))),
            error_y=error_bars(*(rows[f"mce{end}"] for end in ("", "_low", "_high"))),
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
    figure.add_vline(x=chance, line=REFERENCE)
    return finished(figure, "clean error, %", "mCE (baseline: 100)")


def heat_map(metrics: pd.DataFrame, models: Sequence[str], by: str) -> go.Figure:
    """Models against ``corruption`` or ``modality``: errors relative to the baseline's, then points lost."""
    figure = go.Figure([_heat_map(metrics, models, by, heat) for heat in HEATS])
    figure.data[1].visible = False
    figure.update_layout(**LAYOUT, height=130 + 28 * len(models))
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
    figure = lines_with_views(panels, hovertemplate="severity %{x}<br>error %{y:.1f} %")
    figure.add_hline(y=chance, line=REFERENCE)
    return finished(figure, "severity (0: clean)", "error, %", entries=len(models))


def few_shot_curves(metrics: pd.DataFrame, leaderboard: pd.DataFrame, chance: float) -> go.Figure:
    """Error, clean (solid) and averaged over corruptions (dotted), against the labelled images.

    What has seen no labels is a level line.
    """
    figure = go.Figure()
    for panel, lines in few_shot_panels(metrics, leaderboard).items():
        end = max((line.x.max() for line in lines if not line.level), default=0)
        for line in lines:
            named = replace(line, name=f"{line.name}, {panel}", style="solid" if panel == "clean" else "dotted")
            add_line(figure, drawn_across(named, end), hovertemplate="%{x} labelled images<br>error %{y:.1f} %")
    figure.add_hline(y=chance, line=REFERENCE)
    return finished(figure, "labelled images, those to validate too", "error, %")


def reliability_diagrams(
    logits: Sequence[Logits],
    models: Sequence[str],
    patients: Mapping[str, np.ndarray | None] = MappingProxyType({}),
) -> go.Figure:
    """Fraction of right predictions against confidence, before and after temperature scaling; a view per model.

    Every image of every data set counts alike, under each corruption and severity, and for each seed.
    """
    panels = {model: reliability_lines([run for run in logits if run.model == model], patients) for model in models}
    hover = "confidence %{x:.2f}<br>right %{y:.2f}<br>%{customdata} predictions"
    figure = lines_with_views(panels, hovertemplate=hover)
    for trace in figure.data:
        trace.marker.size = 5 + 15 * np.sqrt(trace.customdata / trace.customdata.sum())
    figure.add_shape(type="line", x0=0, y0=0, x1=1, y1=1, line={"color": "#888", "width": 1})
    figure.update_xaxes(range=[0, 1.02], constrain="domain")
    figure.update_yaxes(range=[0, 1.02], constrain="domain", scaleanchor="x")
    entries = max(map(len, panels.values()))
    return finished(figure, "mean confidence", "fraction that is right", entries=entries)

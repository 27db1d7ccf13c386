"""Interactive figures, drawn with Plotly. Names that users gave are escaped: Plotly reads HTML."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from html import escape
from textwrap import wrap
from types import MappingProxyType
from typing import Any

import numpy as np
import pandas as pd
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from robustmedclip.metrics import derived
from robustmedclip.metrics.logits import Logits
from robustmedclip.metrics.runs import ALL, SEVERITIES
from robustmedclip.reporting.drawing import (
    DASHES,
    LAYOUT,
    REFERENCE,
    add_line,
    drawn_across,
    error_bars,
    finished,
    lines_with_views,
)
from robustmedclip.reporting.figure_data import (
    HEATS,
    Heat,
    Line,
    dumbbells,
    few_shot_panels,
    heat_limits,
    most_labels,
    reliability_lines,
    severity_panels,
    values_by,
    wrapped,
)
from robustmedclip.reporting.palette import HEAT, MARKERS, colour_of, marker_of

#: The part of the horizontal axis that two words above a line take.
_ROOM = 0.2


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
    guess = {"text": "guess", "x": chance, "y": 1, "yref": "paper", "yanchor": "bottom", "showarrow": False}
    span = _range(lines, chance)
    clean, corrupted = lines[0].x.tolist()
    wide = {"yaxis.showticklabels": True, "annotations": [guess, *_ends(clean, corrupted, span)], "margin.l": 55}
    narrow = {"yaxis.showticklabels": False, "annotations": [guess, *above], "margin.l": 5}
    sizes = {
        "wide": wide | {"height": 110 + 28 * len(lines)},
        "narrow": narrow | {"height": 110 + 44 * len(lines)},
    }
    figure.update_layout(margin_t=20, margin_b=45, meta=sizes, annotations=wide["annotations"], xaxis_range=span)
    return figure.update_yaxes(
        tickvals=[*range(len(lines))], ticktext=names, autorange="reversed", automargin=True, zeroline=False
    )


def _ends(clean: float, corrupted: float, span: Sequence[float]) -> list[dict[str, Any]]:
    """What the ends of the first line are, above it; beside each other where it is too short for both."""
    beside = abs(corrupted - clean) < _ROOM * (span[1] - span[0])
    anchors = ("right", "left") if beside else ("center", "center")
    return [
        {"text": text, "x": x, "y": 0, "yshift": 14, "showarrow": False, "xanchor": anchor}
        for (x, text), anchor in zip(sorted([(clean, "clean"), (corrupted, "corrupted")]), anchors, strict=True)
    ]


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
    images = leaderboard[["training_images", "validation_images"]].sum(axis=1).to_numpy(float)
    sizes = pd.Series(8 + 8 * images / max(images.max(), 1), leaderboard.index)
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
                "size": sizes[rows.index],
                "color": colour_of(base, bases),
                "symbol": MARKERS[marker_of(adaptation, adaptations)],
            },
        )
    figure.add_vline(x=chance, line=REFERENCE)
    return finished(figure, "clean error, %", "mCE (baseline: 100)")


def heat_map(metrics: pd.DataFrame, models: Sequence[str], by: str, marked: Collection[str] = ()) -> go.Figure:
    """Models against ``corruption`` or ``modality``: errors relative to the baseline's, then points lost."""
    figure = go.Figure([_heat_map(metrics, models, by, heat, marked) for heat in HEATS])
    figure.data[1].visible = False
    names = [escape(name) for name in models]
    figure.update_layout(**LAYOUT)
    figure.update_yaxes(autorange="reversed", automargin=True, tickvals=names).update_xaxes(automargin=True)
    short = ["<br>".join(map(escape, wrapped(name, 18).split("\n"))) for name in models]
    sizes = {
        "wide": {"height": 130 + 28 * len(names), "yaxis.ticktext": names},
        "narrow": {"height": 150 + 36 * len(names), "yaxis.ticktext": short},
    }
    return figure.update_layout(margin_t=20, height=sizes["wide"]["height"], meta=sizes, yaxis_ticktext=names)


def _heat_map(metrics: pd.DataFrame, models: Sequence[str], by: str, heat: Heat, marked: Collection[str]) -> go.Heatmap:
    values, (low, high) = values_by(metrics, heat.metrics[by], by, models), heat_limits(metrics, models, heat)
    text = [["undefined" if np.isnan(value) else f"{value:z.0f}" for value in row] for row in values.to_numpy()]
    ticks = [low, (low + heat.middle) / 2, heat.middle, (heat.middle + high) / 2, high]
    title = heat.titles[by]
    return go.Heatmap(
        z=values.to_numpy(),
        x=["<br>".join(map(escape, wrap(_marked(str(name), marked), 12))) for name in values.columns],
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


def severity_curves(
    metrics: pd.DataFrame, models: Sequence[str], chances: Mapping[str, float], marked: Collection[str] = ()
) -> go.Figure:
    """Error against severity (0: clean), the mean over corruptions, then a panel per corruption; a line per model.

    Models with fewer labels than others of their adaptation are not seen at first. `chances` are the errors of
    guessing by corruption.
    """
    panels, first = severity_panels(metrics, models), most_labels(metrics)
    titles = [escape(_marked(corruption, marked)) for corruption in panels]
    wide, narrow = (_grid(titles, columns, len(models)) for columns in (4, 2))
    for number, (corruption, lines) in zip(_numbers(panels), panels.items(), strict=True):
        axes = {"xaxis": f"x{number}", "yaxis": f"y{number}"}
        for line in lines:
            hover = "severity %{x}<br>error %{y:.1f} %"
            seen = {"visible": line.name in first, "showlegend": not number, "legendgroup": line.name}
            add_line(wide, line, hovertemplate=hover, **seen, **axes)
        chance = chances.get(corruption, chances[ALL])
        ends = {"x0": 0, "x1": 1, "y0": chance, "y1": chance, "xref": f"x{number} domain", "yref": f"y{number}"}
        wide.add_shape(type="line", line=REFERENCE, **ends)
    return wide.update_layout(meta={"wide": _arrangement(wide), "narrow": _arrangement(narrow)})


def _grid(titles: Sequence[str], columns: int, entries: int) -> go.Figure:
    """Panels with common axes in so many columns, above a legend of so many entries."""
    rows = max(1, -(-len(titles) // columns))
    taken = np.arange(rows * columns).reshape(rows, columns) < max(1, len(titles))
    figure = make_subplots(
        rows,
        columns,
        specs=[[{} if place else None for place in row] for row in taken],
        shared_xaxes="all",
        shared_yaxes="all",
        subplot_titles=titles,
        horizontal_spacing=0.03,
        vertical_spacing=0.24 / rows,
    )
    for place, number in enumerate(_numbers(titles)):
        lowest, leftmost = place + columns >= len(titles), place % columns == 0
        figure.layout[f"xaxis{number}"].title.text = "severity" if lowest else ""
        figure.layout[f"yaxis{number}"].title.text = "error, %" if leftmost else ""
    figure.update_annotations(font_size=13).update_xaxes(
        title_font_size=13, showticklabels=True, tickvals=[0, *SEVERITIES]
    )
    figure.update_layout(**LAYOUT, height=90 + 200 * rows + 19 * (2 * entries // columns))
    return figure.update_layout(margin_t=30)


def _numbers(panels: Collection[Any]) -> list[str]:
    """What the axes of panels are called after their letter."""
    return ["", *map(str, range(2, len(panels) + 1))][: len(panels)]


def _arrangement(figure: go.Figure) -> dict[str, Any]:
    """Where the panels of a figure are, as Plotly's ``relayout`` takes it."""
    layout = figure.layout
    axes = sorted(name for name in layout if name.startswith(("xaxis", "yaxis")))  # Plotly has them in a set
    return {
        "height": layout.height,
        "annotations": [annotation.to_plotly_json() for annotation in layout.annotations],
        **{f"{name}.domain": list(layout[name].domain) for name in axes},
        **{f"{name}.showticklabels": layout[name].showticklabels is not False for name in axes},
        **{f"{name}.title.text": layout[name].title.text for name in axes},
    }


def few_shot_curves(metrics: pd.DataFrame, leaderboard: pd.DataFrame, chances: Mapping[str, float]) -> go.Figure:
    """Error, clean (solid) and averaged over corruptions (dotted), against the labelled images.

    What has seen no labels is a level line.
    """
    figure = go.Figure()
    for panel, lines in few_shot_panels(metrics, leaderboard).items():
        end = max((line.x.max() for line in lines if not line.level), default=0)
        for line in lines:
            named = replace(line, name=f"{line.name}, {panel}", style="solid" if panel == "clean" else "dotted")
            add_line(figure, drawn_across(named, end), hovertemplate="%{x} labelled images<br>error %{y:.1f} %")
    figure.add_hline(y=chances[ALL], line=REFERENCE)
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


def _marked(name: str, marked: Collection[str]) -> str:
    """A name as people say it, with an asterisk that stays on its line."""
    return name.replace("_", " ") + ("\u00a0*" if name in marked else "")

"""How charts of the page are drawn with Plotly. Names that users gave are escaped: Plotly reads HTML."""

from collections.abc import Callable
from dataclasses import replace
from html import escape
from typing import Any, NamedTuple

import numpy as np
import plotly.graph_objects as go
from plotly.io import templates

from robustmedclip.reporting.figure_data import Line, Panels
from robustmedclip.reporting.palette import MARKERS

_WHITE = templates["plotly_white"].to_plotly_json()
#: The kinds of charts and of coordinates that the page has none of.
_ABSENT = ("coloraxis", "colorscale", "geo", "polar", "scene", "ternary")

LAYOUT: dict[str, Any] = {
    # What the page has, of Plotly's template: each figure carries the whole, which is checked here, once.
    "template": go.layout.Template(
        data={kind: _WHITE["data"][kind] for kind in ("heatmap", "scatter")},
        layout={name: value for name, value in _WHITE["layout"].items() if name not in _ABSENT},
    ),
    "font": {"family": "system-ui, sans-serif", "size": 13},
    "margin": {"l": 55, "r": 15, "t": 50, "b": 20},
    "legend": {"orientation": "h", "tracegroupgap": 0, "yref": "container", "yanchor": "bottom", "y": 0, "x": 0},
    "hoverlabel": {"namelength": -1},
}
DASHES = {"solid": "solid", "dashed": "dash", "dotted": "dot"}
REFERENCE = {"color": "#888", "width": 1, "dash": "dot"}


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


def chart_with_views(title: str, figure: go.Figure, describe: Callable[[str], str], wide: bool = False) -> Chart:
    """A chart with a view for each ``meta`` of its traces."""
    views = tuple(
        View(label, [trace.meta == label for trace in figure.data], describe(label))
        for label in dict.fromkeys(trace.meta for trace in figure.data)
    )
    return Chart(title, views[0].description if views else title, figure, wide, views)


def lines_with_views(panels: Panels, hovertemplate: str) -> go.Figure:
    """The lines of all panels, each with the title of its own as ``meta``; those of the first are seen."""
    figure, first = go.Figure(), next(iter(panels), None)
    for panel, lines in panels.items():
        for line in lines:
            add_line(figure, line, hovertemplate=hovertemplate, meta=panel, visible=panel == first)
    return figure


def add_line(figure: go.Figure, line: Line, **properties: Any) -> None:
    bars = {} if line.interval is None else {"error_y": error_bars(line.y, *line.interval)}
    figure.add_scatter(
        x=line.x,
        y=line.y,
        customdata=line.counts,
        mode="lines+markers",
        name=escape(line.name),
        line={"color": line.colour, "dash": DASHES[line.style]},
        marker_symbol=MARKERS[line.marker],
        **bars,
        **properties,
    )


def drawn_across(line: Line, end: float) -> Line:
    """A level line from 0 to `end`; any other as it is."""
    if not line.level or not end or line.interval is None:
        return line
    low, high = line.interval
    return replace(line, x=np.array([0, end]), y=np.repeat(line.y, 2), interval=(np.repeat(low, 2), np.repeat(high, 2)))


def error_bars(value: Any, low: Any, high: Any) -> dict[str, Any]:
    """Error bars of an interval."""
    return {"array": high - value, "arrayminus": value - low, "thickness": 1, "width": 2}


def finished(figure: go.Figure, x: str, y: str, entries: int | None = None) -> go.Figure:
    """With axis titles, and as high as the legend needs on a phone, where each of its entries takes a line."""
    height = 400 + 19 * (len(figure.data) if entries is None else entries)
    figure.update_layout(**LAYOUT, height=height, xaxis_title=x, yaxis_title=y)
    return figure.update_layout(margin_t=20)

"""The report as one HTML file that opens offline."""

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from importlib.resources import files
from io import BytesIO
from platform import python_version
from typing import Any

import numpy as np
import pandas as pd
import plotly.graph_objects as go
import yaml
from jinja2 import Environment, StrictUndefined
from PIL import Image
from plotly.offline import get_plotlyjs

from robustmedclip.images.corrupted import CorruptedSet
from robustmedclip.metrics.logits import Logits
from robustmedclip.reporting.content import Content
from robustmedclip.reporting.drawing import Chart
from robustmedclip.reporting.examples import ShownImage
from robustmedclip.reporting.leaderboard import FIRST_COLUMNS
from robustmedclip.reporting.results import Setting
from robustmedclip.reporting.table import Table

PACKAGES = ("robustmedclip", "torch", "open_clip_torch", "peft", "numpy", "opencv-python-headless", "pillow")
_THUMBNAIL = 160
#: Plotly would offer to send a chart, with the data in it, to a service of its own.
_CHART = {
    "displaylogo": False,
    "responsive": True,
    "modeBarButtonsToRemove": ["select2d", "lasso2d"],
    "showSendToCloud": False,
    "plotlyServerURL": "",
}
#: In the montage: where Matplotlib has its style, and what is said there of its words and its white ground.
_STYLE = b'<style type="text/css">'
_IN_THE_DARK = (
    b"@media screen and (prefers-color-scheme: dark) "
    b"{text {fill: #e6edf3} #figure_1 > #patch_1 > path {fill: none !important}}"
)
_ORIGIN = ("url", "size", "licence", "citation")


@dataclass(frozen=True)
class Pictures:
    """What the page shows beside words and tables.

    Attributes
    ----------
    charts : sequence of Chart
        In order.
    montage : bytes
        The corruptions, as SVG.
    flips : sequence of ShownImage
        Images that `flipped_model` gets wrong when they are corrupted.
    won_back : sequence of ShownImage
        Images that it gets right when they are corrupted, and its `base` doesn't.
    flipped_model, base : str
        The first model of the leaderboard, and the one that it was made of.
    gallery : mapping
        As of :func:`robustmedclip.reporting.gallery.gallery`.
    """

    charts: Sequence[Chart]
    montage: bytes
    flips: Sequence[ShownImage]
    won_back: Sequence[ShownImage]
    flipped_model: str
    base: str
    gallery: Mapping[str, Mapping[str, Mapping[str, str]]]


def page(
    content: Content,
    setting: Setting,
    pictures: Pictures,
    *,
    ranked_by: str,
    chance: float,
    cards: Sequence[Mapping[str, Any]],
    weights: pd.DataFrame,
    parameters: Mapping[str, Any],
) -> str:
    """The HTML page, of the parts of the report, without any reference to the network; every name is escaped.

    Parameters
    ----------
    content : Content
        Notes and tables.
    setting : Setting
        What was run.
    pictures : Pictures
        Charts and images.
    ranked_by : str
        What the first model of the leaderboard has the lowest of.
    chance : float
        The error of guessing, in percent.
    cards : sequence of mapping
        A :func:`shown_card` of each data set.
    weights : DataFrame
        As of :func:`weights_table`.
    parameters : mapping
        Everything that the run was set to.
    """
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    folder = files("robustmedclip.reporting")
    template = environment.from_string(folder.joinpath("report.html.jinja").read_text())
    tables = dict(content.tables)
    leaderboard = tables.pop("leaderboard")
    return template.render(
        plotly_js=get_plotlyjs(),
        style=folder.joinpath("report.css").read_text(),
        script=folder.joinpath("report.js").read_text(),
        content=content,
        protocol=setting.protocol,
        ranked_by=ranked_by,
        chance=chance,
        leaderboard=_cells(leaderboard),
        leaderboard_caption=leaderboard.caption,
        operating_range=tables.pop("operating_range", None),
        first_columns=FIRST_COLUMNS,
        tables={table.caption: _cells(table) for table in tables.values()},
        charts=[(chart, _chart(chart.figure, f"chart-{i}")) for i, chart in enumerate(pictures.charts)],
        montage=_data_url(pictures.montage.replace(_STYLE, _STYLE + _IN_THE_DARK, 1), "svg+xml"),
        flips=_thumbnails(pictures.flips),
        won_back=_thumbnails(pictures.won_back),
        flipped_model=pictures.flipped_model,
        base=pictures.base,
        gallery=pictures.gallery,
        cards=cards,
        cells=_cells,
        weights=_cells(Table("What was scored", weights, weights)),
        settings=yaml.safe_dump(dict(sorted(parameters.items())), sort_keys=False, width=100),
        versions={"Python": python_version(), **{name: version(name) for name in PACKAGES}},
    )


def shown_card(corrupted: CorruptedSet, card: Mapping[str, Any], origin: Mapping[str, str]) -> dict[str, Any]:
    """What the page says of a data set, with an example of each class that its test set has.

    `card` is that of the ingestion; what the plan says of the `origin` may have changed since.
    """
    clean = corrupted.clean
    height, width, channels = clean.images.shape[1:]
    counts = pd.DataFrame({"class": clean.class_names, **{split: of.values() for split, of in card["counts"].items()}})
    return {
        "name": clean.name,
        "modality": clean.modality,
        "synthetic": card["synthetic"],
        "size": f"{height} x {width} px, {'grey' if channels == 1 else 'colour'}",
        "provenance": {"suite": corrupted.suite, **corrupted.provenance, "storage": corrupted.storage},
        "hash": clean.content_hash(),
        "n": len(clean),
        "origin": _spoken_origin({**card["origin"], **origin}),
        "counts": Table(f"Images of {clean.name}", counts, counts),
        "classes": [
            (name, int(count), image_url(clean.images[int(np.argmax(clean.members()[name]))]))
            for name, count in zip(clean.class_names, clean.class_counts(), strict=True)
            if count
        ],
    }


def weights_table(logits: Sequence[Logits], origins: Mapping[str, Mapping[str, str]]) -> pd.DataFrame:
    """The content hash of every scored model, and of every seed of it; its precision; and where its base is from.

    `origins` maps a base model to its ``url``, ``size``, ``licence`` and ``citation``, as far as they are known.
    """
    rows = [
        {
            "model": run.model,
            "seed": run.attributes["seed"],
            "content hash of the weights": run.attributes.get("weights"),
            "precision": run.attributes.get("precision"),
            "source": _spoken_origin(origins.get(run.attributes["base"], {})),
        }
        for run in logits
    ]
    return pd.DataFrame(rows, dtype=object).drop_duplicates().fillna("")


def image_url(pixels: np.ndarray) -> str:
    """A PNG thumbnail of an image uint8 ``(H, W, 1 or 3)`` as a data URL."""
    picture = Image.fromarray(np.array(pixels).squeeze(-1) if pixels.shape[-1] == 1 else np.array(pixels))
    picture.thumbnail((_THUMBNAIL, _THUMBNAIL))
    stream = BytesIO()
    picture.save(stream, "PNG", optimize=True)
    return _data_url(stream.getvalue(), "png")


def _thumbnails(images: Sequence[ShownImage]) -> list[tuple[ShownImage, str, str]]:
    return [(image, image_url(image.clean), image_url(image.corrupted)) for image in images]


def _data_url(content: bytes, kind: str) -> str:
    return f"data:image/{kind};base64,{base64.b64encode(content).decode()}"


def _spoken_origin(origin: Mapping[str, str]) -> str:
    return "; ".join(origin[key] for key in _ORIGIN if key in origin)


def _cells(table: Table) -> tuple[list[str], list[list[str]]]:
    """Heads and cells as text."""
    text = table.text
    return list(map(str, text.columns)), [[str(cell) for cell in row] for row in text.to_numpy(object)]


def _chart(figure: go.Figure, name: str) -> str:
    return str(figure.to_html(full_html=False, include_plotlyjs=False, div_id=name, config=_CHART))

"""The report as one HTML file that opens offline."""

import base64
from collections.abc import Mapping, Sequence
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

from robustmedclip.images.conditions import CLEAN
from robustmedclip.images.corrupted import CorruptedSet
from robustmedclip.reporting.examples import Flip, image_of
from robustmedclip.reporting.tables import Table

_PACKAGES = ("robustmedclip", "torch", "open_clip_torch", "peft", "numpy", "opencv-python-headless", "pillow")
_THUMBNAIL = 160
_CHART = {"displaylogo": False, "responsive": True, "modeBarButtonsToRemove": ["select2d", "lasso2d"]}


def page(
    *,
    leaderboard: pd.DataFrame,
    tables: Mapping[str, pd.DataFrame],
    charts: Sequence[tuple[str, str, go.Figure]],
    montage: bytes,
    flips: Sequence[tuple[Flip, CorruptedSet]],
    flipped_model: str,
    cards: Sequence[dict[str, Any]],
    synthetic: Sequence[str],
    seen: Sequence[str],
    protocol: str,
    baseline: str,
    published: Table | None,
    undefined: Sequence[str],
    few_shots: pd.DataFrame | None,
    weights: pd.DataFrame,
    settings: Mapping[str, Any],
) -> str:
    """Put the parts of the report together; every name is escaped.

    Parameters
    ----------
    leaderboard : DataFrame
        For people: what is shown, a row per model.
    tables : mapping
        Heading to a table for people.
    charts : sequence of (str, str, Figure)
        Heading, a description for those who don't see the chart, and the Plotly figure.
    montage : bytes
        The corruptions, as SVG.
    flips : sequence of (Flip, CorruptedSet)
        Images that `flipped_model` gets wrong when they are corrupted.
    flipped_model : str
        The model that the flips are of.
    cards : sequence of dict
        From :func:`data_card`.
    synthetic : sequence of str
        Data sets that hold phantoms.
    seen : sequence of str
        Scored corruptions that tuning saw.
    protocol : str
        The protocol, and what of the study's code is in use.
    baseline : str
        The model that counts as 100.
    published : Table or None
        Figures of others.
    undefined : sequence of str
        Which metrics are undefined where.
    few_shots, weights : DataFrame
        How many images tuning sees; content hash of every model.
    settings : mapping
        Everything that the run was set to.

    Returns
    -------
    str
        The HTML page, without any reference to the network.
    """
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    template = environment.from_string(files(__package__).joinpath("report.html.jinja").read_text())
    return template.render(
        plotly_js=get_plotlyjs(),
        leaderboard=_cells(leaderboard),
        tables={title: _cells(table) for title, table in tables.items()},
        charts=[
            (title, description, _chart(figure, f"chart-{position}"), isinstance(figure.data[0], go.Heatmap))
            for position, (title, description, figure) in enumerate(charts)
        ],
        montage=_data_url(montage, "svg+xml"),
        flips=[
            (flip, image_url(image_of(one, CLEAN, flip.index)), image_url(image_of(one, flip.condition, flip.index)))
            for flip, one in flips
        ],
        flipped_model=flipped_model,
        cards=cards,
        synthetic=synthetic,
        seen=seen,
        protocol=protocol,
        baseline=baseline,
        published=published and (published.caption, _cells(published.text)),
        undefined=undefined,
        few_shots=None if few_shots is None else _cells(few_shots),
        weights=_cells(weights),
        settings=yaml.safe_dump(dict(settings), sort_keys=False, width=100),
        versions={"Python": python_version(), **{name: version(name) for name in _PACKAGES}},
    )


def data_card(corrupted: CorruptedSet, card: Mapping[str, Any], origin: Mapping[str, str]) -> dict[str, Any]:
    """What a data set holds, with an example of each class that its test set has.

    `card` is that of the ingestion; what the plan says of the `origin` may have changed since.
    """
    clean = corrupted.clean
    height, width, channels = clean.images.shape[1:]
    return {
        "name": clean.name,
        "modality": clean.modality,
        "size": f"{height} x {width} px, {'grey' if channels == 1 else 'colour'}",
        "provenance": {"suite": corrupted.suite, **corrupted.provenance, "storage": corrupted.storage},
        "hash": clean.content_hash(),
        "n": len(clean),
        "origin": {**card["origin"], **origin},
        "counts": (
            ["class", *card["counts"]],
            [[name, *(str(of[name]) for of in card["counts"].values())] for name in clean.class_names],
        ),
        "classes": [
            (name, int(count), image_url(clean.images[int(np.argmax(clean.labels == label))]))
            for label, (name, count) in enumerate(zip(clean.class_names, clean.class_counts(), strict=True))
            if count
        ],
    }


def image_url(pixels: np.ndarray) -> str:
    """A PNG thumbnail of an image uint8 ``(H, W, 1 or 3)`` as a data URL."""
    picture = Image.fromarray(np.array(pixels).squeeze(-1) if pixels.shape[-1] == 1 else np.array(pixels))
    picture.thumbnail((_THUMBNAIL, _THUMBNAIL))
    stream = BytesIO()
    picture.save(stream, "PNG", optimize=True)
    return _data_url(stream.getvalue(), "png")


def _data_url(content: bytes, kind: str) -> str:
    return f"data:image/{kind};base64,{base64.b64encode(content).decode()}"


def _cells(table: pd.DataFrame) -> tuple[list[str], list[list[str]]]:
    return list(map(str, table.columns)), [[str(cell) for cell in row] for row in table.to_numpy(object)]


def _chart(figure: go.Figure, name: str) -> str:
    return figure.to_html(full_html=False, include_plotlyjs=False, div_id=name, config=_CHART)

"""What the report says of temperatures: how sure models are with them, and without."""

from collections.abc import Iterator, Sequence

import pandas as pd

from robustmedclip.metrics.calibration import TEMPERATURES
from robustmedclip.metrics.recalibration import FORMS, METRICS
from robustmedclip.metrics.runs import ALL
from robustmedclip.reporting.figure_data import Line, Panels
from robustmedclip.reporting.note import Note
from robustmedclip.reporting.palette import COLOURS
from robustmedclip.reporting.table import Table, with_interval, with_n

_TITLES = dict(zip(FORMS, ("as it is", "with its temperature", "difference, points"), strict=True))


def averages(recalibration: pd.DataFrame) -> pd.DataFrame:
    """The rows of means over seeds and data sets."""
    return recalibration[(recalibration["data_set"] == ALL) & recalibration["seed"].isna()]


def recalibration_tables(recalibration: pd.DataFrame, models: Sequence[str]) -> dict[str, Table]:
    """ECE and overconfidence by severity: of each of `models` as it is, with its temperature, and their difference.

    `recalibration` is as of :func:`robustmedclip.metrics.recalibration.recalibration`.
    """
    rows = averages(recalibration)
    rows = rows[rows["model"].isin(models)].sort_values(
        "model", key=lambda names: names.map(list(models).index), kind="stable"
    )
    if rows.empty:
        return {}
    return {
        "temperatures": _temperatures(recalibration, models),
        **{
            f"{metric.name}_with_temperature": Table(
                f"{metric.title} by severity (0: clean) with a temperature fitted to clean validation images, %",
                of_metric,
                pd.DataFrame(
                    [_row(of_form, form) for _, of_form in of_metric.groupby("model", sort=False) for form in FORMS]
                ),
            )
            for metric in METRICS
            for of_metric in [rows[rows["metric"] == metric.name]]
        },
    }


def _temperatures(recalibration: pd.DataFrame, models: Sequence[str]) -> Table:
    """A row per model, a column per data set."""
    rows = recalibration[(recalibration["data_set"] != ALL) & recalibration["seed"].isna()]
    rows = rows.drop_duplicates(["model", "data_set"])[["model", "data_set", "temperature", "validation_images"]]
    rows = rows.assign(text=[_spoken(row.temperature, row.validation_images) for row in rows.itertuples()])
    shown = [model for model in models if model in set(rows["model"])]
    wide = rows.pivot(index="model", columns="data_set", values="text").loc[shown].rename_axis(columns=None)
    caption = "Temperatures, and of how many clean validation images they are: above 1 a model is made less sure"
    return Table(caption, rows.drop(columns="text"), wide.reset_index())


def _spoken(temperature: float, images: int) -> str:
    at_its_bound = ": any confidence is too much" if temperature > 0.99 * TEMPERATURES[1] else ""
    return f"{temperature:.2f} ({images}{at_its_bound})"


def _row(rows: pd.DataFrame, form: str) -> dict[str, str]:
    """A model's values by severity, as people read them."""
    cells = zip(rows["severity"], rows[form], rows[f"{form}_low"], rows[f"{form}_high"], strict=True)
    return {
        "model": rows["model"].iloc[0],
        "images to validate": str(rows["validation_images"].iloc[0]),
        "confidence": _TITLES[form],
        **{with_n(str(severity), rows): with_interval(value, low, high, 1) for severity, value, low, high in cells},
    }


def confidence_panels(recalibration: pd.DataFrame, models: Sequence[str]) -> Panels:
    """ECE and overconfidence against severity, in percent, a panel per model; dotted with its temperature."""
    rows = averages(recalibration)
    return {model: list(_lines(rows[rows["model"] == model])) for model in models if model in set(rows["model"])}


def _lines(rows: pd.DataFrame) -> Iterator[Line]:
    for metric, colour in zip(METRICS, COLOURS, strict=False):
        curve = rows[rows["metric"] == metric.name]
        for form, title in (("as_it_is", metric.title), ("scaled", f"{metric.title}, with its temperature")):
            yield Line(
                title,
                x=curve["severity"].to_numpy(float),
                y=curve[form].to_numpy(float),
                colour=colour,
                style="solid" if form == "as_it_is" else "dotted",
                interval=(curve[f"{form}_low"].to_numpy(float), curve[f"{form}_high"].to_numpy(float)),
            )


def recalibration_notes(recalibration: pd.DataFrame | None, models: Sequence[str]) -> list[Note]:
    """What a reader has to know of temperatures: what they are fitted to, and which models have none."""
    fitted = [] if recalibration is None else [name for name in models if name in set(recalibration["model"])]
    if recalibration is None or not fitted:
        return [Note("Temperatures:", "none, for no labelled images are there to validate.")]
    lacking = [name for name in models if name not in fitted]
    text = (
        "each model is also shown with a temperature for each data set, which changes no decision, but how sure it "
        "is. It is fitted to clean images of the training pool that validate: those of the model's few-shot sample, or "
        "for a model that sees no labels of the largest one, so that with its temperature it has seen them. Another "
        "site has the temperature of home. Intervals do not contain what other validation images would have changed"
    )
    without = f"; there are none of {', '.join(lacking)}, without such images" if lacking else ""
    return [Note("Temperatures:", f"{text}{without}.")]

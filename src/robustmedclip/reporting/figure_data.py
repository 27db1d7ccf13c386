"""What figures show, from the table of metrics or from logits: once for paper and screen.

:mod:`robustmedclip.reporting.figures` draws it with Matplotlib, :mod:`robustmedclip.reporting.interactive` with Plotly.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from textwrap import wrap
from typing import Literal, NamedTuple

import numpy as np
import pandas as pd

from robustmedclip.images.conditions import CLEAN
from robustmedclip.metrics import derived, overall, reliability, scaled_logits
from robustmedclip.metrics.calibration import BINS
from robustmedclip.metrics.classification import ERROR
from robustmedclip.metrics.logits import ZERO_SHOT, Logits
from robustmedclip.metrics.runs import ALL
from robustmedclip.metrics.table import severity_curve
from robustmedclip.reporting.leaderboard import ranked_by, ranking
from robustmedclip.reporting.palette import COLOURS, MARKERS, colour_of, marker_of

#: What says how many labels a tuned model has seen: one of them.
_AMOUNTS = ["fraction", "shots"]
_STYLES: tuple[Literal["solid", "dashed", "dotted"], ...] = ("solid", "dashed", "dotted")


@dataclass(frozen=True)
class Line:
    """A line of a figure.

    Attributes
    ----------
    name : str
        What the legend says.
    x, y : ndarray
        float ``(points,)``.
    colour : str
        A hexadecimal colour.
    marker : str
        A key of :data:`robustmedclip.reporting.palette.MARKERS`.
    style : {"solid", "dashed", "dotted"}
        How it is drawn.
    interval : tuple of ndarray, optional
        Lower and upper bound of `y`, float ``(points,)`` each.
    counts : ndarray, optional
        How many predictions are behind each point.
    level : bool
        Whether it is one value that is compared with at all `x`.
    """

    name: str
    x: np.ndarray
    y: np.ndarray
    colour: str
    marker: str = "o"
    style: Literal["solid", "dashed", "dotted"] = "solid"
    interval: tuple[np.ndarray, np.ndarray] | None = None
    counts: np.ndarray | None = None
    level: bool = False


#: Title of a panel to its lines.
Panels = dict[str, list[Line]]


class Heat(NamedTuple):
    """What heat maps show on one scale: by columns, a metric and its title; the value that it is compared with."""

    metrics: Mapping[str, str]
    titles: Mapping[str, str]
    middle: float
    middle_title: str
    reach: float = np.inf


#: A ratio of more than 200 is coloured as 200 is.
HEATS = (
    Heat(
        {"corruption": derived.CE, "modality": derived.MCE},
        {"corruption": "CE", "modality": "mCE"},
        middle=100,
        middle_title="100, baseline",
        reach=100,
    ),
    Heat(
        {"corruption": derived.POINTS_LOST, "modality": derived.POINTS_LOST},
        {"corruption": "points lost", "modality": "points lost"},
        middle=0,
        middle_title="0, as on clean images",
    ),
)


def heat_limits(metrics: pd.DataFrame, models: Sequence[str], heat: Heat) -> tuple[float, float]:
    """The ends of the scale that all heat maps of a kind have in common, as far from its middle."""
    distances = [
        np.abs(values_by(metrics, metric, by, models).to_numpy(float) - heat.middle).ravel()
        for by, metric in heat.metrics.items()
    ]
    largest = max((float(d) for d in np.concatenate(distances) if np.isfinite(d)), default=1.0)
    reach = min(max(largest, 1.0), heat.reach)
    return heat.middle - reach, heat.middle + reach


def severity_panels(metrics: pd.DataFrame, models: Sequence[str]) -> Panels:
    """Error against severity (0: clean), in percent, a panel per corruption, a line per model; dashed without labels.

    Errors are averaged over the data sets that have the corruption. The first panel is the mean over corruptions.
    """
    everywhere = overall(metrics)
    facts = everywhere.drop_duplicates("model").set_index("model")
    bases = sorted(set(facts["base"]))

    def line(model: str, corruption: str) -> Line:
        curve, fact = severity_curve(everywhere, model, corruption), facts.loc[model]
        return Line(
            model,
            x=curve["severity"].to_numpy(float),
            y=curve["value"].to_numpy(float),
            colour=colour_of(fact["base"], bases),
            marker=marker_of(fact["adaptation"], facts["adaptation"]),
            style="dashed" if fact[_AMOUNTS].isna().all() else "solid",
            interval=(curve["low"].to_numpy(float), curve["high"].to_numpy(float)),
        )

    corruptions = _corruptions(everywhere)
    titles = ({"mean over corruptions": ALL} if corruptions else {}) | {name: name for name in corruptions}
    return {title: [line(model, corruption) for model in models] for title, corruption in titles.items()}


def dumbbells(leaderboard: pd.DataFrame, metrics: pd.DataFrame) -> list[Line]:
    """Clean and corrupted error of every model, in percent, a line from one to the other; dashed without labels.

    `y` is where the line of a model stands, 0 for the first of the leaderboard, and `interval` bounds `x`.
    """
    bases = sorted(set(leaderboard["base"]))
    adaptations = metrics.drop_duplicates("model").set_index("model")["adaptation"]
    ends = [derived.CLEAN_ERROR, "corrupted_error"]
    return [
        Line(
            row["model"],
            x=row[ends].to_numpy(float),
            y=np.array([position, position]),
            colour=colour_of(row["base"], bases),
            marker=marker_of(adaptations[row["model"]], adaptations),
            style="dashed" if pd.isna(row["training_images"]) else "solid",
            interval=(
                row[[f"{end}_low" for end in ends]].to_numpy(float),
                row[[f"{end}_high" for end in ends]].to_numpy(float),
            ),
        )
        for position, (_, row) in enumerate(leaderboard.iterrows())
    ]


def chance_errors(metrics: pd.DataFrame, classes: Mapping[str, int]) -> dict[str, float]:
    """Error in percent of guessing among the classes of a data set, by corruption: averaged as the errors are.

    `classes` is how many each data set has, two where there are findings. The average over all of them is that of
    ``all``.
    """
    guesses = {name: 100 * (1 - 1 / count) for name, count in classes.items()}
    rows = metrics[(metrics["metric"] == ERROR.name) & metrics["data_set"].isin(guesses)]
    pairs = rows[["corruption", "data_set"]].drop_duplicates()
    averages: dict[str, float] = pairs["data_set"].map(guesses).groupby(pairs["corruption"]).mean().to_dict()
    return {ALL: float(np.mean([*guesses.values()])), **averages}


def wrapped(name: str, letters: int) -> str:
    """A name in lines of at most so many letters, broken at spaces and after underscores."""
    return "\n".join(line.replace("_ ", "_") for line in wrap(name.replace("_", "_ "), letters))


def corruption_lines(rows: pd.DataFrame) -> list[Line]:
    """Error of one model against severity, a line per corruption, from the rows of this model alone."""
    everywhere = overall(rows)
    model, corruptions = everywhere["model"].iloc[0], _corruptions(everywhere)
    lines = []
    for position, corruption in enumerate(corruptions):
        curve, turn = severity_curve(everywhere, model, corruption), position // len(COLOURS) % len(_STYLES)
        lines.append(
            Line(
                corruption.replace("_", " "),
                x=curve["severity"].to_numpy(float),
                y=curve["value"].to_numpy(float),
                colour=colour_of(corruption, corruptions),
                marker=list(MARKERS)[turn],
                style=_STYLES[turn],
            )
        )
    return lines


def most_labels(metrics: pd.DataFrame) -> list[str]:
    """The models without labels, then of each base model and adaptation that of most labels, by fraction and shots."""
    everywhere = overall(metrics)
    models = [everywhere[everywhere[_AMOUNTS].isna().all(axis=1)]["model"]]
    for amount in _AMOUNTS:
        tuned = everywhere[everywhere[amount].notna()]
        largest = tuned.groupby(["base", "adaptation"])[amount].transform("max")
        models.append(tuned[tuned[amount] == largest]["model"])
    return list(dict.fromkeys(pd.concat(models)))


def told_apart(metrics: pd.DataFrame) -> list[str]:
    """The adaptations that markers tell apart: all, or zero-shot and those with the lowest mCE or error.

    That of an adaptation is that of its best model of each base, minus the lowest of the base, on average. Which of the
    two it is, :func:`robustmedclip.reporting.leaderboard.ranked_by` says.
    """
    adaptations = sorted(set(metrics["adaptation"]))
    if len(adaptations) <= len(MARKERS):
        return adaptations
    facts = metrics.drop_duplicates("model").set_index("model")[["base", "adaptation"]]
    order = ranking(metrics).set_index("model")
    best = facts.assign(value=order[ranked_by(order)]).groupby(["base", "adaptation"])["value"].min()
    behind = (best - best.groupby("base").transform("min")).groupby("adaptation").mean()
    untuned = [name for name in adaptations if name == ZERO_SHOT]
    ranked = behind.drop(untuned).sort_values(kind="stable")
    return [*untuned, *ranked.index[: len(MARKERS) - len(untuned)]]


def few_shot_panels(metrics: pd.DataFrame, leaderboard: pd.DataFrame) -> Panels:
    """Error in percent against the number of labelled images, clean and averaged over corruptions.

    A line per base model and adaptation; what has seen no labels is level, at 0. Validation images count, too.
    """
    counts = leaderboard.set_index("model")[["training_images", "validation_images"]].sum(axis=1)
    everywhere = overall(metrics)
    everywhere = everywhere[everywhere["severity"].isna()]
    bases, panels = sorted(set(everywhere["base"])), {}
    shown = {"clean": (derived.CLEAN_ERROR, CLEAN.corruption), "corrupted": (ERROR.name, ALL)}
    for title, (metric, corruption) in shown.items():
        errors = everywhere[(everywhere["metric"] == metric) & (everywhere["corruption"] == corruption)]
        in_order = errors.sort_values("model", key=lambda names: names.map(counts), kind="stable")
        panels[title] = [
            Line(
                f"{base}, {adaptation}",
                curve["model"].map(counts).to_numpy(float),
                curve["value"].to_numpy(float),
                colour=colour_of(base, bases),
                marker=marker_of(adaptation, errors["adaptation"]),
                interval=(curve["low"].to_numpy(float), curve["high"].to_numpy(float)),
                level=bool(curve[_AMOUNTS].isna().all(axis=None)),
            )
            for (base, adaptation), curve in in_order.groupby(["base", "adaptation"])
        ]
    return panels


def values_by(metrics: pd.DataFrame, metric: str, by: str, models: Sequence[str]) -> pd.DataFrame:
    """A metric such as ``ce`` or ``mce``: a row per model, a column for each ``corruption`` or ``modality``."""
    rows = metrics[(metrics["metric"] == metric) & metrics["severity"].isna() & metrics["seed"].isna()]
    if by == "corruption":
        rows = overall(rows[rows["corruption"] != ALL])
    else:
        rows = rows[(rows["data_set"] == ALL) & (rows["modality"] != ALL) & (rows["collection"] == ALL)]
        rows = rows[rows["corruption"] == ALL]
    return rows.pivot(index="model", columns=by, values="value").reindex(models)


def reliability_lines(runs: Sequence[Logits], patients: Mapping[str, np.ndarray | None]) -> list[Line]:
    """Fraction of right predictions against mean confidence, a point per bin that holds predictions.

    The name of a line says how many predictions there are and their ECE: the distance of confidence and fraction, each
    bin by its predictions. Each image of all `runs` counts alike; dotted lines are after temperature scaling. The
    corrupted ones are of all corruptions and severities. `patients` are as of
    :func:`robustmedclip.metrics.score_benchmark`.
    """
    sums: dict[str, np.ndarray] = defaultdict(lambda: np.zeros((3, BINS)))
    for whole, run in ((whole, task) for whole in runs for task in whole.tasks()):
        whose = patients.get(whole.data_set)
        whose = whose if whose is None else whose[np.isin(whole.sample_ids, run.sample_ids)]
        clean = np.array([condition == CLEAN for condition in run.conditions])
        scaled = scaled_logits(run.logits, run.logits[clean.argmax()], run.labels, whose)
        for name, rows in (("clean", clean), ("corrupted", ~clean)):
            sums[name] += reliability(run.logits[rows], run.labels)
            sums[f"{name}, scaled"] += reliability(scaled[rows], run.labels)
    lines = []
    for position, (name, (predictions, confidence, right)) in enumerate(sums.items()):
        filled = predictions > 0
        counts, total = predictions[filled], predictions.sum()
        ece = 100 * np.abs(confidence - right).sum() / total if total else np.nan
        lines.append(
            Line(
                f"{name}: ECE {ece:.1f} %, n = {total:.0f}",
                confidence[filled] / counts,
                right[filled] / counts,
                colour=COLOURS[position // 2],
                style=("solid", "dotted")[position % 2],
                counts=counts,
            )
        )
    return lines


def _corruptions(rows: pd.DataFrame) -> list[str]:
    return sorted(set(rows["corruption"]) - {CLEAN.corruption, ALL})

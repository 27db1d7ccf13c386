"""From results to the page: its charts, its examples and its cards."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from types import MappingProxyType
from typing import Any

from robustmedclip.images.corrupted import CorruptedSet
from robustmedclip.metrics.logits import Logits
from robustmedclip.metrics.runs import ALL
from robustmedclip.reporting.charts import page_charts
from robustmedclip.reporting.content import content
from robustmedclip.reporting.examples import flips_of, shown_images, won_back
from robustmedclip.reporting.figure_data import chance_errors
from robustmedclip.reporting.gallery import gallery
from robustmedclip.reporting.leaderboard import RANKED_BY, ranked_by
from robustmedclip.reporting.model_names import model_names, with_names_for_people
from robustmedclip.reporting.page import Pictures, page, shown_card, weights_table
from robustmedclip.reporting.results import Results, Setting


def report_page(
    results: Results,
    setting: Setting,
    logits: Sequence[Logits],
    corrupted: Sequence[CorruptedSet],
    montage: bytes,
    parameters: Mapping[str, Any] = MappingProxyType({}),
) -> str:
    """The report as one HTML page, in which models have names for people.

    Parameters
    ----------
    results : Results
        The tables.
    setting : Setting
        What was run.
    logits : sequence of Logits
        Of the models that are compared.
    corrupted : sequence of CorruptedSet
        The test sets that examples are shown of.
    montage : bytes
        The corruptions, as SVG.
    parameters : mapping
        Everything that the run was set to; ``data_sets`` and ``models`` may say where they are from, by ``origin``.
    """
    names, results = model_names(results.metrics), with_names_for_people(results)
    logits = [replace(run, model=names.get(run.model, run.model)) for run in logits]
    board, sets = results.leaderboard, {images.clean.name: images for images in corrupted}
    of_classes = [run for run in logits if run.labels.ndim == 1]  # an image of findings is rarely right as a whole
    patients = {name: images.clean.patients for name, images in sets.items()}
    first, base = board[["model", "base"]].iloc[0]
    chances = chance_errors(results.metrics, {run.data_set: len(next(run.tasks()).class_names) for run in logits})
    pictures = Pictures(
        charts=page_charts(
            results.metrics,
            board,
            logits,
            chances,
            related=setting.related.keys(),
            recalibration=results.recalibration,
            patients=patients,
        ),
        montage=montage,
        flips=shown_images(flips_of(first, of_classes, count=2), logits, sets),
        won_back=shown_images(won_back(first, base, of_classes, count=2) if base != first else (), logits, sets),
        flipped_model=first,
        base=base,
        gallery=gallery(sets),
    )
    origins = {kind: _origins(parameters.get(kind, {})) for kind in ("data_sets", "models")}
    return page(
        content(results, setting),
        setting,
        pictures,
        ranked_by=RANKED_BY[ranked_by(board)],
        chance=chances[ALL],
        cards=[
            shown_card(images, results.cards[name], origins["data_sets"].get(name, {})) for name, images in sets.items()
        ],
        weights=weights_table(logits, origins["models"]),
        parameters={name: value for name, value in parameters.items() if name not in ("pretraining", "published")},
    )


def _origins(specifications: Mapping[str, Any]) -> dict[str, Mapping[str, str]]:
    """Where things are from, as the plan says."""
    return {name: specification.get("origin", {}) for name, specification in specifications.items()}

"""Nodes of the reporting. Nodes of many inputs are given them by the names of their entries."""

from collections import defaultdict
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import pandas as pd

from robustmedclip.calibration.levels import extreme_conditions
from robustmedclip.images.conditions import Condition
from robustmedclip.images.corrupted import CorruptedSet
from robustmedclip.images.sets import ImageSet
from robustmedclip.metrics import Metric, places, score_benchmark
from robustmedclip.metrics.classification import ERROR
from robustmedclip.metrics.completeness import Cell, comparable, missing
from robustmedclip.metrics.findings import finding_scores
from robustmedclip.metrics.logits import Logits
from robustmedclip.metrics.precisions import COLUMNS, no_changes
from robustmedclip.metrics.recalibration import Temperature, recalibration
from robustmedclip.metrics.site_shift import site_shifts
from robustmedclip.metrics.subgroups import subgroup_errors
from robustmedclip.plan import names
from robustmedclip.reporting import leaderboard as boards
from robustmedclip.reporting.content import content
from robustmedclip.reporting.markdown import to_markdown_text
from robustmedclip.reporting.results import Results, Setting
from robustmedclip.reporting.tables import report_tables

#: What is there if a plan asks for it.
_PARTS = ("recalibration", "shifts", "subgroups", "findings", "precisions")


def compute_metrics(
    *,
    baseline: str,
    metrics: Sequence[Metric],
    collections: Mapping[str, str],
    references: Mapping[str, Mapping[str, Mapping[str, float]]],
    seen: Sequence[str],
    mce_on: Metric = ERROR,
    **entries: Any,
) -> tuple[pd.DataFrame, ...]:
    """Every metric of every model, the mCE in every resample, every tuned seed alone, and the cells that are missing.

    `entries` are the logits of all models, None for those that are missing, the cards and the test sets of the data
    sets, which say whose the images are, and perhaps the levels, of which the extreme ones are not averaged. Models of
    which a cell is missing are left out. `references` maps a data set and a release of it to the errors of the suite's
    reference model: they apply where the images are that very release.
    """
    kinds = _by_kind(entries)
    applying = {
        name: references[name][card["release"]]
        for name, card in kinds["card"].items()
        if card["release"] in references.get(name, {})
    }
    cells = _cells(kinds["logits"])
    scores = score_benchmark(
        comparable(cells, baseline),
        baseline,
        metrics=metrics,
        mce_on=mce_on,
        collections=collections,
        references=applying,
        seen=seen,
        extreme=_extreme(entries),
        patients=_patients(kinds["test"]),
    )
    return *scores, pd.DataFrame(missing(cells), columns=["model", "data_set"])


def rank_models(
    *,
    scores: Sequence[Metric],
    cells: Mapping[str, str],
    roles: Mapping[str, Mapping[str, Sequence[str]]],
    **entries: Any,
) -> pd.DataFrame:
    """The leaderboard.

    `cells` maps tuned models to the few-shot entries that they see; `roles` adaptations to what they see of these.
    """
    metrics, few_shots = entries["metrics"], _by_kind(entries)["few_shots"]
    labelled = boards.labelled_images(metrics, {name: few_shots[cell] for name, cell in cells.items()}, roles)
    return boards.leaderboard(metrics, places(entries["mce_resamples"], entries["comparisons"]), labelled, scores)


def compare_sites(*, baseline: str, homes: Mapping[str, str], **entries: Any) -> pd.DataFrame:
    """What another site costs beside corruption; `homes` maps it to the data set that models are tuned on.

    `entries` are the logits on these data sets, None for those that are missing, their test sets, and perhaps the
    levels, of which the extreme ones are not averaged. Models, and seeds of them, that lack one are left out.
    """
    kinds = _by_kind(entries)
    logits = comparable(_cells(kinds["logits"]), baseline)
    return site_shifts(logits, homes, _patients(kinds["test"]), extreme=_extreme(entries))


def compare_findings(*, baseline: str, mce_on: Metric, **entries: Any) -> pd.DataFrame:
    """Scores of every finding, of the data sets whose images may have several.

    `entries` are the logits on these data sets, None for those that are missing, their test sets, and perhaps the
    levels, of which the extreme ones are not averaged.
    """
    kinds = _by_kind(entries)
    logits, whose = comparable(_cells(kinds["logits"]), baseline), _patients(kinds["test"])
    return finding_scores(logits, baseline, mce_on=mce_on, extreme=_extreme(entries), patients=whose)


def collect_precisions(**entries: pd.DataFrame | None) -> pd.DataFrame:
    """What the precision of the run changes: the tables of all models and data sets, None for those that are missing.

    There is no row where images were encoded in float32.
    """
    return pd.concat([no_changes(), *(rows for rows in entries.values() if rows is not None)]).astype(COLUMNS)


def compare_subgroups(**entries: Any) -> pd.DataFrame:
    """Errors of subgroups and the gaps between them, of the data sets whose test sets are given.

    `entries` are the logits on these data sets, None for those that are missing, their test sets, the groups of their
    images, and perhaps the levels, of which the extreme ones are not averaged.
    """
    kinds = _by_kind(entries)
    tests = {name: _with_groups(test, kinds["groups"][name]) for name, test in kinds["test"].items()}
    return subgroup_errors([run for run in kinds["logits"].values() if run], tests, extreme=_extreme(entries))


def _with_groups(test: ImageSet, groups: pd.DataFrame) -> ImageSet:
    of_images = groups.set_index("sample_id").loc[test.sample_ids.tolist()]
    return replace(test, columns={**test.columns, **{name: of_images[name].to_numpy(np.str_) for name in of_images}})


def rescale_confidence(*, baseline: str, homes: Mapping[str, str], **entries: Any) -> pd.DataFrame:
    """ECE and overconfidence by severity, as they are and with temperatures.

    `entries` are the logits of all models and their temperatures, None for those that are missing, and the test sets.
    The temperature on a data set of `homes` is that of the data set that models are tuned on in its place. Models
    without one on some data set are left out.
    """
    kinds = _by_kind(entries)
    cells = _cells(kinds["logits"])
    compared = {id(run) for run in comparable(cells, baseline)}
    runs, lacking = [], set()
    for (cell, data_set), run in cells.items():
        home = homes.get(data_set, data_set)
        fitted = (kinds["temperatures"].get(cell) or {}).get(home)
        if run is None or id(run) not in compared:
            continue
        if fitted is None:
            lacking.add(run.model)
        else:
            runs.append((run, Temperature(fitted["temperature"], fitted["images"], home)))
    runs = [(run, temperature) for run, temperature in runs if run.model not in lacking]
    return recalibration(runs, _patients(kinds["test"]))


def write_tables(*, setting: Setting, **entries: pd.DataFrame) -> dict[str, bytes]:
    """Every table as CSV, Markdown and LaTeX, and the one for the text of a paper."""
    results = Results(**entries)
    tables = report_tables(results, setting).items()
    files = {file: text for name, table in tables for file, text in table.files(name).items()}
    return files | {
        "main_text.tex": boards.main_text_table(results.leaderboard, setting.baseline, setting.mce_on).encode()
    }


def draw_montage(*corrupted: CorruptedSet | None) -> tuple[Any, dict[str, bytes]]:
    """Corrupted images, as a figure of Matplotlib and as files for papers."""
    from robustmedclip.reporting import figures

    sets = [images for images in corrupted if images]
    return _drawn("corruption_montage", partial(figures.corruption_montage, sets))


def draw_figures(
    metrics: pd.DataFrame, leaderboard: pd.DataFrame, montage: Mapping[str, bytes], *corrupted: CorruptedSet | None
) -> tuple[Any, Any, Any, dict[str, bytes]]:
    """Error against severity, CE of every model, error against labels; and these and the montage as files for papers.

    The first three are figures of Matplotlib, which is imported when they are drawn; the files are of figures that are
    as wide as one and as two columns.
    """
    from robustmedclip.reporting import figures
    from robustmedclip.reporting.figure_data import chance_errors

    clean = [images.clean for images in corrupted if images]
    classes = {test.name: 2 if test.has_findings else len(test.class_names) for test in clean}
    chance = chance_errors(metrics, classes)
    severities, severity_files = _drawn("severity_curves", partial(figures.severity_curves, metrics, chance))
    heat_map, heat_map_files = _drawn("corruption_heat_map", partial(figures.corruption_heat_map, metrics))
    few_shots, few_shot_files = _drawn(
        "few_shot_curves", partial(figures.few_shot_curves, metrics, leaderboard, chance)
    )
    return severities, heat_map, few_shots, {**severity_files, **heat_map_files, **few_shot_files, **montage}


def _drawn(name: str, draw: Callable[[int], Any]) -> tuple[Any, dict[str, bytes]]:
    """A figure as wide as two columns; and as files, which are as wide as one and as two."""
    from robustmedclip.reporting.figures import ONE_COLUMN, TWO_COLUMNS, figure_files

    narrow, wide = draw(ONE_COLUMN), draw(TWO_COLUMNS)
    return wide, figure_files(narrow, f"{name}_{ONE_COLUMN}pt") | figure_files(wide, f"{name}_{TWO_COLUMNS}pt")


def write_report(*, setting: Setting, few_shot_labels: Mapping[str, str], **entries: Any) -> str:
    """The report, as Markdown; `few_shot_labels` says what the few-shot entries are called."""
    return to_markdown_text(content(_results(entries, few_shot_labels), setting))


def write_page(*, setting: Setting, few_shot_labels: Mapping[str, str], **entries: Any) -> str:
    """The report, as one HTML file; `few_shot_labels` says what the few-shot entries are called."""
    from robustmedclip.reporting.figures import TWO_COLUMNS
    from robustmedclip.reporting.report_page import report_page

    kinds = _by_kind(entries)
    return report_page(
        _results(entries, few_shot_labels),
        setting,
        comparable(_cells(kinds["logits"]), setting.baseline),
        [images for images in kinds["corrupted"].values() if images],
        entries["montage"][f"corruption_montage_{TWO_COLUMNS}pt.svg"],
        entries["parameters"],
    )


def write_provenance(*, setting: Setting, **entries: Any) -> dict[str, Any]:
    """What the leaderboard was made of: hashes of images and weights, versions and parameters."""
    from robustmedclip.reporting.provenance import provenance

    kinds = _by_kind(entries)
    return provenance(
        comparable(_cells(kinds["logits"]), setting.baseline),
        [images for images in kinds["corrupted"].values() if images],
        baseline=setting.baseline,
        protocol=setting.protocol,
        parameters=entries["parameters"],
        mce_of=setting.mce_on.loss_title,
        patients=_patients(kinds["test"]),
    )


def _results(entries: Mapping[str, Any], few_shot_labels: Mapping[str, str]) -> Results:
    kinds = _by_kind(entries)
    return Results(
        metrics=entries["metrics"],
        leaderboard=entries["leaderboard"],
        comparisons=entries["comparisons"],
        duplicates=entries["duplicates"],
        missing_cells=entries["missing_cells"],
        few_shots={few_shot_labels[cell]: shots for cell, shots in kinds["few_shots"].items()},
        cards=kinds["card"],
        precision=entries["parameters"]["evaluation"]["precision"],
        published=entries["parameters"].get("published"),
        levels=entries.get("levels"),
        **{name: entries[name] for name in _PARTS if name in entries},
    )


def _extreme(entries: Mapping[str, Any]) -> Mapping[str, Collection[Condition]]:
    """Data set to its levels that no scanner makes, where that is known."""
    return extreme_conditions(entries["levels"]) if "levels" in entries else {}


def _patients(tests: Mapping[str, ImageSet]) -> dict[str, np.ndarray]:
    """Whose the test images are, of the data sets of which that is known."""
    return {name: test.patients for name, test in tests.items() if test.patients is not None}


def _by_kind(entries: Mapping[str, Any]) -> Mapping[str, dict[str, Any]]:
    """The entries of each kind, by what they are of: ``{"card": {"phantom_oct": ...}, ...}``."""
    kinds: dict[str, dict[str, Any]] = defaultdict(dict)
    for entry, value in entries.items():
        kind, of = names.parts(entry)
        kinds[kind][of] = value
    return kinds


def _cells(logits: Mapping[str, Logits | None]) -> dict[Cell, Logits | None]:
    """Logits by model and data set, whose name has no hyphen."""
    cells = {of.rpartition("-"): run for of, run in logits.items()}
    return {(model, data_set): run for (model, _, data_set), run in cells.items()}

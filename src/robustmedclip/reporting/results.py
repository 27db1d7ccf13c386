"""What a report is made of: what was run, and the tables that came out."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pandas as pd

from robustmedclip.metrics import Metric
from robustmedclip.metrics.classification import ERROR


@dataclass(frozen=True)
class Setting:
    """What was run.

    Attributes
    ----------
    baseline : str
        The model that counts as 100.
    metrics : tuple of Metric
        What models were scored by.
    suites : tuple of str
        The corruption suites.
    seen : tuple of str
        Scored corruptions that tuning saw.
    related : mapping
        Scored corruption to the adaptations that saw one of its family in tuning.
    adaptations : tuple of mapping
        What each adaptation does: title to text.
    protocol : str
        The protocol, and what of the study's code is in use.
    tolerated_points : float
        By how many percentage points the error may rise before a model no longer holds.
    on_the_fly : bool
        Whether some corrupted images are not stored, but made beside the model.
    vision_only : tuple of str
        Models without a text encoder.
    text_adaptations : tuple of str
        Adaptations that need one.
    licences : mapping
        Base model to the licence of its weights, as far as it is stated.
    mce_on : Metric
        What CE and mCE are made of.
    scorings : mapping
        Data set of findings to what each finding is compared with.
    """

    baseline: str
    metrics: tuple[Metric, ...]
    suites: tuple[str, ...]
    seen: tuple[str, ...]
    protocol: str
    related: Mapping[str, Sequence[str]] = field(default_factory=dict)
    adaptations: tuple[Mapping[str, str], ...] = ()
    tolerated_points: float = 5.0
    on_the_fly: bool = False
    vision_only: tuple[str, ...] = ()
    text_adaptations: tuple[str, ...] = ()
    licences: Mapping[str, str] = field(default_factory=dict)
    mce_on: Metric = ERROR
    scorings: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Results:
    """The tables that the report is made of.

    Attributes
    ----------
    metrics, leaderboard, comparisons : DataFrame
        As of :func:`robustmedclip.metrics.score_benchmark`, :func:`robustmedclip.reporting.leaderboard.leaderboard` and
        :func:`robustmedclip.metrics.compare_models`.
    missing_cells : DataFrame
        ``model`` and ``data_set`` of logits that could not be made.
    duplicates : DataFrame
        Images of training pools that are also in a test split: ``pool_set``, ``test_set``, ``kind``, ...
    few_shots : mapping
        Few-shot fraction, for people, to its images: ``data_set``, ``role``.
    cards : mapping
        Data set to its card, see :func:`robustmedclip.reporting.card.data_card`.
    precision : str
        That images are encoded in: ``float32``, or ``auto``; ``unknown`` where others encoded them.
    published : mapping, optional
        Figures of others: ``source``, ``baseline``, and ``models``, a mapping of name to its figures.
    levels : DataFrame, optional
        As of :func:`robustmedclip.calibration.levels.judged_levels`, where some suite says which are realistic.
    recalibration : DataFrame, optional
        As of :func:`robustmedclip.metrics.recalibration.recalibration`, where labelled images told temperatures.
    shifts : DataFrame, optional
        As of :func:`robustmedclip.metrics.site_shift.site_shifts`, where some data set comes from another site.
    subgroups : DataFrame, optional
        As of :func:`robustmedclip.metrics.subgroups.subgroup_errors`, where some data set has subgroups.
    findings : DataFrame, optional
        As of :func:`robustmedclip.metrics.findings.finding_scores`, where images of some data set have several.
    precisions : DataFrame, optional
        As of :func:`robustmedclip.metrics.precisions.precision_changes`, where the device chose the precision; without
        a row if that is float32.
    """

    metrics: pd.DataFrame
    leaderboard: pd.DataFrame
    comparisons: pd.DataFrame
    missing_cells: pd.DataFrame
    duplicates: pd.DataFrame = field(default_factory=pd.DataFrame)
    few_shots: Mapping[str, pd.DataFrame] = field(default_factory=dict)
    cards: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    precision: str = "float32"
    published: Mapping[str, Any] | None = None
    levels: pd.DataFrame | None = None
    recalibration: pd.DataFrame | None = None
    shifts: pd.DataFrame | None = None
    subgroups: pd.DataFrame | None = None
    findings: pd.DataFrame | None = None
    precisions: pd.DataFrame | None = None

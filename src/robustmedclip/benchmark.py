"""The benchmark as a call, for models and images of a loop of one's own: no project, no configuration.

Examples
--------
Two models, of which one looks at the brightness of an image and the other at one of its pixels:

>>> import numpy as np
>>> labels = np.arange(20) % 2
>>> images = np.random.default_rng(0).integers(0, 90, (20, 32, 32, 1), np.uint8)
>>> images[labels == 1] += 99
>>> mean = lambda images: np.stack([95 - images.mean((1, 2, 3)), images.mean((1, 2, 3)) - 95], 1)
>>> pixel = lambda images: np.stack([60.0 - images[:, 0, 0, 0], 0.0 * images[:, 0, 0, 0]], 1)
>>> models = {"mean": mean, "pixel": pixel}
>>> result = benchmark(models, images, labels, ["dark", "bright"], baseline="pixel", resamples=50)
>>> result.leaderboard["model"].tolist()
['mean', 'pixel']
"""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from robustmedclip.corruptions import CorruptedOnTheFly, Suite
from robustmedclip.corruptions import suite as suite_of
from robustmedclip.errors import InputError, suggestion
from robustmedclip.images.conditions import CLEAN, Condition
from robustmedclip.images.corrupted import CorruptedSet
from robustmedclip.images.pixels import Images, stacked
from robustmedclip.images.sets import PATIENT, ImageSet, patients_of
from robustmedclip.metrics import METRICS, Metric, compare_pairs, metrics_named, places, score_benchmark
from robustmedclip.metrics.classification import ERROR
from robustmedclip.metrics.findings import finding_scores
from robustmedclip.metrics.logits import ZERO_SHOT, Logits
from robustmedclip.metrics.registry import fitting_for_mce
from robustmedclip.metrics.subgroups import subgroup_errors
from robustmedclip.metrics.table import RESAMPLES
from robustmedclip.progress import track
from robustmedclip.reporting.card import data_card
from robustmedclip.reporting.content import content
from robustmedclip.reporting.leaderboard import labelled_images, leaderboard
from robustmedclip.reporting.markdown import to_markdown_text
from robustmedclip.reporting.provenance import provenance
from robustmedclip.reporting.results import Results, Setting

#: Images that a model is given at a time.
BATCH_SIZE = 50
SEVERITIES = range(1, 6)

#: uint8 images ``(n, H, W, C)`` to logits ``(n, classes)``.
Classifier = Callable[[np.ndarray], np.ndarray]


@dataclass(frozen=True)
class Benchmark:
    """What :func:`benchmark` measures.

    Attributes
    ----------
    logits : tuple of Logits
        Of every model under every condition.
    images : CorruptedSet
        The images, which are corrupted again when they are shown.
    metrics, mce_resamples, leaderboard, comparisons : DataFrame
        As of :func:`robustmedclip.metrics.score_benchmark`, :func:`robustmedclip.reporting.leaderboard.leaderboard` and
        :func:`robustmedclip.metrics.compare_models`.
    setting : Setting
        What the report says was run.
    subgroups : DataFrame, optional
        As of :func:`robustmedclip.metrics.subgroups.subgroup_errors`, where subgroups are known.
    findings : DataFrame, optional
        As of :func:`robustmedclip.metrics.findings.finding_scores`, where an image may have several.
    """

    logits: tuple[Logits, ...]
    images: CorruptedSet
    metrics: pd.DataFrame
    mce_resamples: pd.DataFrame
    leaderboard: pd.DataFrame
    comparisons: pd.DataFrame
    setting: Setting
    subgroups: pd.DataFrame | None = None
    findings: pd.DataFrame | None = None

    @cached_property
    def _results(self) -> Results:
        clean = self.images.clean
        return Results(
            metrics=self.metrics,
            leaderboard=self.leaderboard,
            comparisons=self.comparisons,
            duplicates=pd.DataFrame(),
            missing_cells=pd.DataFrame(columns=["model", "data_set"]),
            few_shots={},
            cards={clean.name: data_card({"test": clean})},
            precision="unknown",
            subgroups=self.subgroups,
            findings=self.findings,
        )

    def markdown(self) -> str:
        """The report as Markdown."""
        return to_markdown_text(content(self._results, self.setting))

    def page(self) -> str:
        """The report as one HTML page that opens offline."""
        from robustmedclip.reporting import figures
        from robustmedclip.reporting.report_page import report_page

        montage = figures.figure_files(figures.corruption_montage([self.images]), "montage")["montage.svg"]
        return report_page(self._results, self.setting, self.logits, [self.images], montage)

    def save(self, folder: str | Path) -> None:
        """Write the tables as CSV, ``report.md``, ``report.html``, and ``provenance.json``: what they were made of."""
        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        for name in ("leaderboard", "metrics", "comparisons", "subgroups", "findings"):
            if (table := getattr(self, name)) is not None:
                table.to_csv(folder / f"{name}.csv", index=False, float_format="%.6g")
            else:  # of an earlier call
                (folder / f"{name}.csv").unlink(missing_ok=True)
        self.mce_resamples.to_csv(folder / "mce_resamples.csv", index=False, float_format="%.9g")
        made_of = provenance(
            self.logits,
            [self.images],
            baseline=self.setting.baseline,
            protocol=self.setting.protocol,
            parameters={},
            mce_of=self.setting.mce_on.loss_title,
            patients=_patients(self.images),
        )
        (folder / "provenance.json").write_text(json.dumps(made_of, indent=1), encoding="utf-8")
        (folder / "report.md").write_text(self.markdown(), encoding="utf-8")
        (folder / "report.html").write_text(self.page(), encoding="utf-8")


def benchmark(
    models: Mapping[str, Classifier],
    images: Images | Sequence[np.ndarray],
    labels: Sequence[int] | np.ndarray,
    class_names: Sequence[str],
    *,
    baseline: str | None = None,
    suite: str | Suite = "medimeta-c",
    corruptions: Sequence[str] | None = None,
    dataset: str | None = None,
    name: str = "images",
    modality: str = "image",
    sample_ids: Sequence[str] | None = None,
    patients: Sequence[str | None] | None = None,
    subgroups: Mapping[str, Sequence[str]] | None = None,
    metrics: Sequence[str | Metric] | None = None,
    mce_on: str = ERROR.name,
    seed: int = 0,
    resamples: int = RESAMPLES,
) -> Benchmark:
    """Score models on clean and corrupted images, and rank them by mCE.

    Parameters
    ----------
    models : mapping
        Name to what makes logits ``(n, classes)``, finite, of uint8 images ``(n, H, W, C)``; see
        :func:`classifier_of_texts`.
    images : ndarray, LazyImages or sequence of ndarray
        uint8 ``(N, H, W, C)``, C in {1, 3}, sides of 28 px or more.
    labels : sequence of int
        ``(N,)``, in ``[0, len(class_names))``; or of findings, of which an image may have several, ``(N, findings)``:
        1, 0, or -1 for not known. Logits are then log-odds.
    class_names : sequence of str
        In the order of the logits.
    baseline : str, optional
        The model whose errors count as 100; by default the first.
    suite, corruptions, dataset, seed
        As in :func:`robustmedclip.corruptions.corrupt`; by default all corruptions that fit the modality.
    name, modality : str
        Of the images, in tables. The name is part of what the randomness of a corruption depends on.
    sample_ids : sequence of str, optional
        One per image, unique; by default ``"0"``, ``"1"``, ...
    patients : sequence of str, optional
        Whose each image is, None where that is not known: intervals resample patients then, each with all of their
        images.
    subgroups : mapping, optional
        What images are told apart by, such as ``scanner``, to the group of each: their errors and gaps are a table.
    metrics, mce_on, resamples
        As in :func:`robustmedclip.metrics.score_benchmark`; metrics may be given by name, and `mce_on` is the name of
        one of them.

    Returns
    -------
    Benchmark
        The numbers are those of the pipeline, where images, ids, name, seed and logits are the same.

    Raises
    ------
    InputError
        If images, labels, names or functions are not as stated, or findings are to be compared by subgroup, before a
        model runs; and if logits are not.
    """
    images = stacked(images)
    ids = np.asarray(range(len(images)) if sample_ids is None else sample_ids, str)
    columns = dict(subgroups or {}) | ({} if patients is None else {PATIENT: _patients_of(patients, ids)})
    facts: dict[str, Any] = {"name": name, "modality": modality, "class_names": tuple(class_names), "sample_ids": ids}
    facts["columns"] = {name: np.asarray(values, str) for name, values in columns.items()}
    clean = ImageSet.validated(split="test", images=images, labels=_whole(labels), **facts)
    if clean.has_findings and subgroups:
        raise InputError(f"'{name}': findings are not compared by subgroup: leave 'subgroups' out")
    corrupted = _corrupted(clean, suite, dataset, corruptions, seed)
    scores = metrics_named(METRICS if metrics is None else metrics)
    setting = Setting(
        baseline=_baseline(models, baseline),
        metrics=scores,
        suites=(corrupted.suite,),
        seen=(),
        protocol="models as given",
        mce_on=fitting_for_mce(mce_on, scores),
    )
    return _scored(tuple(_logits(models, corrupted)), corrupted, setting, resamples)


def _whole(labels: Any) -> np.ndarray:
    """Labels as int64; others are refused, as 0.6 would be 0."""
    given = np.asarray(labels)
    if given.dtype.kind not in "biuf" or (given != np.rint(given)).any():
        raise InputError(f"labels: expected whole numbers, the place of the class or 1, 0 and -1, found {given.dtype}")
    return given.astype(np.int64)


def _patients_of(patients: Sequence[str | None], ids: np.ndarray) -> np.ndarray:
    """The patients, to be checked with the other columns if there are more or fewer than images."""
    return patients_of(patients, ids) if len(patients) == len(ids) else np.asarray(patients, str)


def _baseline(models: Mapping[str, Classifier], name: str | None) -> str:
    """The model whose errors count as 100, if all models can be called."""
    if not models or not all(map(callable, models.values())):
        found = {model: type(classify).__name__ for model, classify in models.items()}
        raise InputError(f"models: expected names mapped to functions of images, found {found}")
    if name is not None and name not in models:
        raise InputError(f"baseline: unknown {name!r}; {suggestion(name, models)}")
    return next(iter(models)) if name is None else name


def _scored(logits: tuple[Logits, ...], images: CorruptedSet, setting: Setting, resamples: int) -> Benchmark:
    baseline, metrics, whose = setting.baseline, setting.metrics, _patients(images)
    chosen: dict[str, Any] = {"mce_on": setting.mce_on, "patients": whose, "resamples": resamples}
    table = score_benchmark(logits, baseline, metrics=metrics, **chosen)
    pairs = compare_pairs(table.metrics, table.mce_resamples)
    labelled = labelled_images(table.metrics, {}, {})
    board = leaderboard(table.metrics, places(table.mce_resamples, pairs), labelled, metrics)
    divided = images.clean.columns.keys() - {PATIENT}
    groups = subgroup_errors(logits, {images.clean.name: images.clean}, resamples) if divided else None
    of_each = finding_scores(logits, baseline, **chosen) if images.clean.has_findings else None
    return Benchmark(logits, images, table.metrics, table.mce_resamples, board, pairs, setting, groups, of_each)


def _patients(images: CorruptedSet) -> dict[str, np.ndarray]:
    """Whose the images are, by the name of the data set, if that is known."""
    clean = images.clean
    return {} if clean.patients is None else {clean.name: clean.patients}


def classifier_of_texts(
    network: Any,
    tokenize: Callable[[list[str]], Any],
    preprocess: Callable[[Any], Any],
    texts: Sequence[str | Sequence[str]],
) -> Classifier:
    """Zero-shot logits by a contrastive model of torch.

    Parameters
    ----------
    network : torch.nn.Module
        Has ``encode_image``, ``encode_text`` and perhaps ``logit_scale``, the logarithm of the factor, as those of
        open_clip have; in evaluation mode.
    tokenize : callable
        List of texts to what ``encode_text`` takes.
    preprocess : callable
        A Pillow image to the tensor ``(3, h, w)`` that the model takes, as a transform of torchvision does.
    texts : sequence
        Per class a text, or several, whose unit features are averaged.

    Returns
    -------
    callable
        uint8 images ``(n, H, W, C)`` to float32 logits ``(n, classes)``.
    """
    import torch
    from PIL import Image
    from torch.nn.functional import normalize

    device = next(network.parameters()).device
    scale = float(network.logit_scale.detach().exp()) if hasattr(network, "logit_scale") else 1.0
    prompts = [[text] if isinstance(text, str) else list(text) for text in texts]
    with torch.inference_mode():
        vectors = [
            normalize(network.encode_text(tokenize(of_class).to(device)).float(), dim=-1) for of_class in prompts
        ]
        classes = normalize(torch.stack([features.mean(0) for features in vectors]), dim=-1)

    @torch.inference_mode()
    def logits(images: np.ndarray) -> np.ndarray:
        pictures = [Image.fromarray(image.squeeze(-1) if image.shape[-1] == 1 else image) for image in images]
        pixels = torch.stack([preprocess(picture.convert("RGB")) for picture in pictures]).to(device)
        return np.asarray((scale * normalize(network.encode_image(pixels).float(), dim=-1) @ classes.T).cpu().numpy())

    return logits


def _corrupted(
    clean: ImageSet, suite: str | Suite, dataset: str | None, names: Sequence[str] | None, seed: int
) -> CorruptedSet:
    chosen = suite_of(suite)
    of_data_set = (dataset or clean.name) if chosen.datasets else None
    names = list(chosen.fitting(clean.modality, of_data_set) if names is None else names)
    if len(set(names)) < max(1, len(names)):
        raise InputError(f"corruptions: expected different ones of {chosen.name}, at least one, found {names}")
    for name in names:
        chosen.corruption(name, of_data_set)
    settings: dict[str, Any] = {"suite": suite, "dataset": dataset or clean.name, "grey": "native", "seed": seed}
    return CorruptedSet(
        clean=clean,
        suite=chosen.name,
        conditions=(CLEAN, *(Condition(name, severity) for name in names for severity in SEVERITIES)),
        storage="on_the_fly",
        provenance={**settings, "suite": chosen.name},
        corrupted=CorruptedOnTheFly(clean, **settings),
    )


def _logits(models: Mapping[str, Classifier], corrupted: CorruptedSet) -> Iterator[Logits]:
    """The logits of each model; every image is corrupted once for all of them."""
    clean = corrupted.clean
    parts: dict[str, list[np.ndarray]] = {name: [] for name in models}
    for condition in track(corrupted.conditions, f"{', '.join(models)} on {clean.name}"):
        for batch in corrupted.read(condition, BATCH_SIZE):
            for name, classify in models.items():
                parts[name].append(_checked(classify(batch), name, (len(batch), len(clean.class_names))))
    for name, of_model in parts.items():
        yield Logits(
            model=name,
            data_set=clean.name,
            modality=clean.modality,
            class_names=clean.class_names,
            conditions=corrupted.conditions,
            logits=np.concatenate(of_model).reshape(len(corrupted.conditions), len(clean), -1),
            labels=clean.labels,
            sample_ids=clean.sample_ids,
            attributes={**_AS_GIVEN, "base": name},
        )


#: What tables say of a model that nothing here adapted.
_AS_GIVEN = {"adaptation": ZERO_SHOT, "method": ZERO_SHOT, **dict.fromkeys(["rank", "fraction", "shots", "seed"])}


def _checked(logits: Any, model: str, shape: tuple[int, int]) -> np.ndarray:
    array = np.asarray(logits, np.float32)
    if array.shape != shape:
        raise InputError(f"'{model}' gives logits {array.shape} for a batch, expected {shape}: (images, classes)")
    return array

"""The HTML report: what it shows, that it needs no network, and that names can't inject anything."""

import json
import re
from base64 import b64decode
from dataclasses import replace
from functools import cache
from html import escape

import numpy as np
import pandas as pd
import pytest

from robustmedclip.images.conditions import CLEAN, Condition
from robustmedclip.images.corrupted import CorruptedSet
from robustmedclip.images.sets import ImageSet
from robustmedclip.metrics import Metric, compare_pairs, metrics_named, softmax
from robustmedclip.metrics.logits import Logits
from robustmedclip.pipelines.corruption.nodes import corrupt_test_set
from robustmedclip.pipelines.reporting.nodes import (
    compute_metrics,
    rank_models,
    write_page,
)
from robustmedclip.reporting.card import data_card
from robustmedclip.reporting.examples import image_of, models_by_outcome, won_back, worst_flips
from robustmedclip.reporting.figures import corruption_montage, figure_files
from robustmedclip.reporting.interactive import reliability_diagrams
from robustmedclip.reporting.results import Setting

pytestmark = pytest.mark.slow

CONDITIONS = (CLEAN, *(Condition(name, severity) for name in ("contrast", "pixelate") for severity in range(1, 6)))
HOSTILE = "<script>alert(1)</script>"


def image_set(name: str, classes: tuple[str, ...], count: int = 24) -> ImageSet:
    return ImageSet.validated(
        name=name,
        split="test",
        modality=f"modality of {name}",
        class_names=classes,
        images=np.random.default_rng(0).integers(0, 256, (count, 32, 32, 1), np.uint8),
        labels=np.arange(count, dtype=np.int64) % len(classes),
        sample_ids=np.array([f"{name}/{index}" for index in range(count)]),
    )


def logits_of(images: ImageSet, model: str, seed: int = 0, strength: float = 2) -> Logits:
    noise = np.random.default_rng(seed).normal(size=(len(CONDITIONS), len(images), len(images.class_names)))
    right = np.eye(len(images.class_names))[images.labels]
    fading = np.array([6 - condition.severity for condition in CONDITIONS])[:, None, None] / 6
    tuned = "lora" in model
    return Logits(
        model=model,
        data_set=images.name,
        modality=images.modality,
        class_names=images.class_names,
        conditions=CONDITIONS,
        logits=(noise + strength * fading * right).astype(np.float32),
        labels=images.labels,
        sample_ids=images.sample_ids,
        attributes={
            "base": model.partition("_lora")[0],
            "adaptation": "lora" if tuned else "zero-shot",
            "method": "lora" if tuned else "zero-shot",
            "rank": 8 if tuned else None,
            "fraction": 0.1 if tuned else None,
            "seed": 0 if tuned else None,
            "weights": f"hash-of-{model}",
        },
    )


def corrupted(images: ImageSet) -> CorruptedSet:
    return corrupt_test_set(
        images,
        {"seed": 0},
        suite="medimeta-c",
        dataset=None,
        grey="native",
        storage="on_the_fly",
        conditions=CONDITIONS,
    )


@cache
def some_montage() -> dict:
    """For pages that are not asked for theirs."""
    return figure_files(
        corruption_montage([corrupted(image_set("cells", ("round", "long")))]), "corruption_montage_487pt"
    )


def written(
    images: list[ImageSet],
    models: list[str],
    extra: dict | None = None,
    flawless=(),
    synthetic=(),
    with_montage=False,
    **changes,
) -> str:
    sets = list(map(corrupted, images))
    logits = [
        logits_of(one, model, seed, 1000 if one.name in flawless else 2)
        for seed, model in enumerate(models)
        for one in images
    ]
    cards = {
        f"card-{one.name}": data_card({"train": one, "test": one})
        | {"origin": {"licence": HOSTILE}, "synthetic": one.name in synthetic}
        for one in images
    }
    entries = cards | {f"logits-{run.model}-{run.data_set}": run for run in logits}
    settings = {"baseline": models[0], "metrics": metrics_named(), "suites": ("medimeta-c",), "seen": ()}
    setting = Setting(**settings | {"protocol": "fixed"} | changes)
    metrics, resamples, _, missing = compute_metrics(
        baseline=models[0], metrics=setting.metrics, collections={}, references={}, seen=setting.seen, **entries
    )
    few_shots = pd.DataFrame({"data_set": ["cells"] * 3, "role": ["training", "training", "validation"]})
    comparisons = compare_pairs(metrics, resamples)
    leaderboard = rank_models(
        scores=setting.metrics,
        cells={run.model: "k10_s0" for run in logits if run.attributes.get("fraction")},
        roles={"lora": {"training_images": ["training"], "validation_images": ["validation"]}},
        **{"metrics": metrics, "mce_resamples": resamples, "comparisons": comparisons, "few_shots-k10_s0": few_shots},
    )
    sources = {
        name.partition("_lora")[0]: {"origin": {"url": f"weights of {name} {HOSTILE}"}} for name in reversed(models)
    }
    origins = {one.name: {"origin": {"url": f"home of {one.name}"}} for one in images}
    montage = figure_files(corruption_montage(sets), "corruption_montage_487pt") if with_montage else some_montage()
    return write_page(
        setting=setting,
        few_shot_labels={"k10_s0": "10 %"},
        **entries,
        **{f"corrupted-{one.clean.name}": one for one in sets},
        **{
            "metrics": metrics,
            "leaderboard": leaderboard,
            "comparisons": comparisons,
            "duplicates": pd.DataFrame(),
            "missing_cells": missing,
            "parameters": {
                "note": HOSTILE,
                "evaluation": {"precision": "float32"},
                "models": sources,
                "data_sets": origins,
                **(extra or {}),
            },
            "montage": montage,
            "few_shots-k10_s0": few_shots,
        },
    )


@pytest.fixture(scope="module")
def page() -> str:
    images = [image_set("cells", ("round", "long")), image_set("scans", ("a & b", HOSTILE, "c"))]
    return written(images, ["clip", "clip_lora_k10", "other"], synthetic=["cells"], with_montage=True)


def without_plotly(page: str) -> str:
    """The page less Plotly's own code."""
    return re.sub(r"<script>/\*\*.*?</script>", "", page, count=1, flags=re.DOTALL)


def test_the_page_shows_every_model_data_set_class_and_corruption(page):
    for name in (
        "clip + lora (10 %)",
        "other",
        "cells",
        "scans",
        "a &amp; b",
        "contrast",
        "pixelate",
        "modality of scans",
    ):
        assert name in without_plotly(page), name
    assert "Synthetic phantoms, not patients" in page
    assert page.count("weights of clip ") == 2 + 1  # zero-shot, tuned, and in the settings


def test_the_page_is_one_file_of_bounded_size_that_asks_the_network_for_nothing(page):
    assert len(page.encode()) < 10e6
    own = without_plotly(page)
    assert len(own) < 2e6
    targets = re.findall(r"""(?:src|href)\s*=\s*["']([^"']*)""", own)
    assert targets and all(target.startswith(("data:", "#")) for target in targets)
    assert "@import" not in own and "url(" not in own


def test_every_picture_and_chart_says_what_it_shows(page):
    assert all(re.search(r'alt="[^"]+"', image) for image in re.findall(r"<img [^>]*>", page))
    assert page.count("<figure aria-label=") == page.count('class="plotly-graph-div"') == 7


def test_what_scrolls_is_reached_with_the_keyboard(page):
    regions = re.findall(r'<pre[^>]*>|<div class="scroll"[^>]*>', without_plotly(page))
    assert regions and all('tabindex="0"' in region and "aria-label=" in region for region in regions)


def test_names_are_text(page):
    own = without_plotly(page)
    assert HOSTILE not in own
    assert "&lt;script&gt;alert(1)" in own


def test_charts_can_not_be_sent_to_anybody(page):
    configurations = re.findall(r"Plotly.newPlot\(.*?(\{[^{}]*\})\s*\)", without_plotly(page), flags=re.DOTALL)
    assert len(configurations) == 7
    for configuration in map(json.loads, configurations):
        assert configuration["showSendToCloud"] is False
        assert not configuration.get("plotlyServerURL") and not configuration.get("showLink")


def test_a_metric_of_a_users_own_has_a_table():
    unsure = Metric(
        name="unsure",
        title="unsure predictions",
        unit="%",
        higher_is_better=False,
        bounds=(0, 1),
        decimals=1,
        source="confidence below 0.6",
        values=lambda logits, labels, clean: (softmax(logits).max(-1) < 0.6).astype(float),
    )
    page = without_plotly(written([image_set("cells", ("round", "long"))], ["clip"], metrics=metrics_named([unsure])))
    table = page.split("<summary>Further metrics")[1].split("</details>")[0]
    assert "unsure predictions, corrupted, %</button>" in table
    assert "n = 24</span></caption>" in table and "n = 24" not in table.partition("<thead>")[2]
    assert "confidence below 0.6" in page


def test_corruptions_that_tuning_saw_are_named():
    images = [image_set("cells", ("round", "long"))]
    assert "Seen in tuning:</strong> contrast." in written(images, ["clip"], seen=("contrast",))
    assert "Seen in tuning" not in written(images, ["clip"])


def test_the_licences_of_the_weights_and_the_encoders_without_text_are_named():
    images, facts = [image_set("cells", ("round", "long"))], {"vision_only": ("other",), "text_adaptations": ("cache",)}
    page = written(images, ["clip", "other"], licences={"clip": "MIT"}, **facts)
    assert "Licences of the weights:</strong> clip: MIT; other: not stated." in page
    assert (
        "Image encoders without text:</strong> other: there is no zero-shot row of them, and no part in cache" in page
    )


def test_the_montage_has_light_words_and_no_white_ground_on_a_dark_screen(page):
    (montage,) = re.findall(r"data:image/svg\+xml;base64,([^\"]+)", page)
    drawing = b64decode(montage).decode()
    assert "prefers-color-scheme: dark) {text {fill: #e6edf3}" in drawing and 'id="patch_1"' in drawing


def test_a_phone_shows_the_first_columns_without_intervals_and_print_the_first_screen_on_one_page(page):
    style = page.split("<style>")[1].split("</style>")[0]
    assert "#board .interval, #board :is(th, td):nth-child(2) { display: none; }" in style
    assert '<span class="narrow">; labelled images and intervals on a wider screen</span>' in page
    assert "@media print, screen and (min-width: 64rem) { .first { display: grid;" in style


def test_real_images_are_not_called_phantoms():
    assert "Synthetic phantoms" not in written([image_set("cells", ("round", "long"))], ["clip"])


def test_the_page_says_what_was_run_on_which_bytes(page):
    own = without_plotly(page)
    for model in ("clip", "clip_lora_k10", "other"):
        assert f"<td>hash-of-{model}</td>" in own
    assert image_set("cells", ("round", "long")).content_hash() in own
    assert "suite medimeta-c" in own and "storage on_the_fly" in own
    assert re.search(r"10 %</th>\s*<td>2</td>\s*<td>2</td>", own)
    section = own.split('<section id="undefined">')[1].split("</section>")[0]
    assert re.findall(r"<li>(\w+):", section) == ["relative_ce"], "eight images leave its denominator uncertain"
    assert "Published figures" not in own


def test_the_hash_of_images_is_of_all_that_matters():
    images = image_set("cells", ("round", "long"))
    pixels = images.images.copy()
    pixels[-1, -1, -1] ^= 1
    others = [
        replace(images, images=pixels),
        replace(images, labels=1 - images.labels),
        replace(images, class_names=("long", "round")),
        replace(images, sample_ids=images.sample_ids[::-1]),
    ]
    assert len({one.content_hash() for one in (images, *others)}) == 5
    assert replace(images, images=images.images.copy()).content_hash() == images.content_hash()


def test_what_is_undefined_is_said_where_the_baseline_is_flawless():
    images = [image_set("cells", ("round", "long")), image_set("scans", ("a", "b", "c"))]
    own = without_plotly(written(images, ["clip"], flawless=["scans"]))
    assert "<li>ce: scans (contrast, pixelate)</li>" in own.split("What is undefined</h2>")[1].split("</section>")[0]


def test_a_class_without_test_images_is_counted_and_has_no_example():
    images = image_set("cells", ("round", "long", "odd"))
    own = without_plotly(written([replace(images, labels=images.labels % 2)], ["clip"]))
    assert re.search(r"odd</th>\s*<td>0</td>\s*<td>0</td>", own)
    assert "Example of round in cells" in own and "Example of odd" not in own
    board = own.split('<section id="leaderboard">')[1].split("</section>")[0]
    assert "nan" not in board and "undefined" not in board


def test_published_figures_stand_apart_from_measured_ones():
    figures = {"source": "a paper", "baseline": "CLIP", "models": {"CLIP": {"mCE": 100}, "RMedCLIP": {"mCE": 81.25}}}
    own = without_plotly(written([image_set("cells", ("round", "long"))], ["clip"], {"published": figures}))
    section = own.split('<section id="published">')[1].split("</section>")[0]
    assert "Not measurements of this run" in section and "a paper" in section and "81.25" in section
    assert "81.25" not in own.replace(section, "")


def test_reliability_diagrams_hold_every_prediction():
    images = [image_set("cells", ("round", "long")), image_set("scans", ("a", "b", "c"))]
    figure = reliability_diagrams([logits_of(one, "clip") for one in images], ["clip"])
    counts = {line.name.partition(":")[0]: sum(line.customdata) for line in figure.data}
    assert all(f"n = {sum(line.customdata):.0f}" in line.name for line in figure.data)
    assert counts == {"clean": 48, "clean, scaled": 48, "corrupted": 480, "corrupted, scaled": 480}
    for line in figure.data:
        assert all(0 < x <= 1 and 0 <= y <= 1 for x, y in zip(line.x, line.y, strict=True))


def test_the_same_results_give_the_same_page(page):
    images = [image_set("cells", ("round", "long")), image_set("scans", ("a & b", HOSTILE, "c"))]
    assert written(images, ["clip", "clip_lora_k10", "other"], synthetic=["cells"], with_montage=True) == page


def test_the_page_does_not_change_with_the_order_in_which_plotly_names_axes(page):
    names = re.findall(r'"([xy]axis\d*)\.domain"', page)
    panels = sorted(set(names))
    assert len(panels) >= 4 and names == panels * (len(names) // len(panels))


def test_the_page_does_not_change_with_the_order_in_which_parameters_are_given():
    images, extra = [image_set("cells", ("round", "long"))], {"seeds": [0], "baseline": "clip"}
    pages = [written(images, ["clip", "other"], extra=dict(order(extra.items()))) for order in (list, reversed)]
    assert pages[0] == pages[1]


def test_what_the_plan_says_of_an_origin_stands_on_the_card(page):
    assert f"Source: home of cells; {escape(HOSTILE)}." in page


def test_the_page_says_when_test_images_choose():
    images = [image_set("cells", ("round", "long"))]
    said = "test images have no part in it"
    assert f"{said}." in written(images, ["clip"])
    page = written(images, ["clip"], protocol="fixed, the test images choose the epoch of lora")
    assert f"{said}, but where the protocol says so." in page and "choose the epoch of lora" in page


def test_flips_are_right_when_clean_and_the_mildest_come_first():
    logits = logits_of(image_set("cells", ("round", "long"), 200), "clip")
    flips = worst_flips(logits, 2)
    assert {flip.condition.corruption for flip in flips} == {"contrast", "pixelate"}
    assert flips[0].condition.severity <= flips[1].condition.severity
    for flip in flips:
        row = CONDITIONS.index(flip.condition)
        label = int(logits.labels[flip.index])
        assert logits.logits[0, flip.index].argmax() == label != logits.logits[row, flip.index].argmax()
        assert logits.class_names[label] == flip.label != flip.predicted
        assert 0.5 <= flip.confidence <= 1


def test_a_model_that_is_always_right_has_no_flips():
    assert worst_flips(logits_of(image_set("cells", ("round", "long")), "clip", strength=1000), 3) == []


def test_an_image_is_found_in_its_batch():
    images = image_set("cells", ("round", "long"), 70)
    np.testing.assert_array_equal(image_of(corrupted(images), CLEAN, 66, batch_size=16), images.images[66])


def test_severity_opens_on_the_mean_then_has_a_panel_for_each_corruption_with_a_chance_line(page):
    chart = page.split('aria-label="Severity"')[1].split("</figure>")[0]
    figure = json.loads(
        "[" + re.search(r"Plotly.newPlot\(\s*\"chart-\d\",(.*?),\s*\{\"displaylogo", chart, re.DOTALL)[1] + "]"
    )
    traces, layout = figure
    titles = [annotation["text"] for annotation in layout["annotations"]]
    assert titles == ["mean over corruptions", "contrast", "pixelate"]
    across = [layout[name]["domain"][0] for name in ("xaxis", "xaxis2", "xaxis3")]
    assert across == sorted(across), "panels stand in the order of their titles"
    assert [trace["xaxis"] for trace in traces[::3]] == ["x", "x2", "x3"]
    assert {shape["yref"] for shape in layout["shapes"]} == {"y", "y2", "y3"}


def test_menus_are_those_of_the_browser_and_say_what_each_view_shows(page):
    own = without_plotly(page)
    views = re.findall(r'<option data-shown="([^"]*)" data-description="([^"]+)">([^<]+)<', own)
    assert {label for *_, label in views} >= {"CE", "points lost", "mCE", "clip + lora (10 %)"}
    assert all(any(json.loads(shown)) for shown, *_ in views) and "updatemenus" not in own


def test_the_viewer_has_every_data_set_corruption_and_severity(page):
    shown = json.loads(re.search(r'id="gallery">(.*?)</script>', page).group(1))
    assert set(shown) == {"cells", "scans"}
    for corruptions in shown.values():
        assert {name: set(urls) for name, urls in corruptions.items()} == {
            "clean": {"0"},
            "contrast": set("12345"),
            "pixelate": set("12345"),
        }


def test_images_won_back_are_wrong_without_the_adaptation_and_right_with_it():
    images = image_set("cells", ("round", "long"), 100)
    base, adapted = logits_of(images, "clip"), logits_of(images, "clip_lora_k10", 1, strength=4)
    flips = won_back("clip_lora_k10", "clip", [base, adapted], 2)
    assert len(flips) == 2
    for flip in flips:
        assert models_by_outcome(flip, [base, adapted]) == (["clip_lora_k10"], ["clip"])

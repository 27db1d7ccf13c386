"""The tables and the report, as a reader sees them."""

import io
import re
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pandas as pd
import pytest
import yaml
from PIL import Image

from robustmedclip.corruptions import suite
from robustmedclip.images.conditions import CLEAN, Condition
from robustmedclip.metrics import Metric, compare_pairs, metrics_named, softmax
from robustmedclip.metrics.logits import Logits
from robustmedclip.pipelines.reporting import nodes
from robustmedclip.reporting import interactive
from robustmedclip.reporting.figure_data import chance_errors, few_shot_panels, severity_panels
from robustmedclip.reporting.figures import (
    ONE_COLUMN,
    TWO_COLUMNS,
    corruption_heat_map,
    few_shot_curves,
    figure_files,
    severity_curves,
)
from robustmedclip.reporting.results import Results, Setting
from robustmedclip.reporting.tables import report_tables

pytestmark = pytest.mark.slow

CONDITIONS = (CLEAN, *(Condition(name, severity) for name in ("blur", "noise") for severity in range(1, 6)))
DATA_SETS = {"blood": "microscopy", "cells": "microscopy", "oct": "OCT | retina & 50 %"}
MODELS = {"base": (0.9, [None]), "good_lora_k10": (1.6, [0, 1]), "weak_lora_k10": (1.05, [0])}


def logits(models=MODELS, data_sets=DATA_SETS, flawless=()) -> list[Logits]:
    runs = []
    for data_set, modality in data_sets.items():
        labels = np.arange(60) % 3
        shared = np.random.default_rng(len(data_set)).normal(size=(60, 3))
        for model, (skill, seeds) in models.items():
            for seed in seeds:
                noise = 0.5 * np.random.default_rng([*model.encode(), seed or 0]).normal(size=(11, 60, 3))
                strength = skill * np.array([3.0, *2 * [2.5, 2.0, 1.5, 1.0, 0.5]])[:, None, None]
                values = strength * np.eye(3)[labels] + (0 if data_set in flawless else 1.2) * (shared + noise)
                tuned = seed is not None
                attributes = {
                    "base": "base",
                    "adaptation": model[5:-4] or "zero-shot",
                    "method": "lora" if tuned else "zero-shot",
                    "seed": seed,
                }
                attributes |= {"rank": 8 if tuned else None, "fraction": 0.1 if tuned else None}
                runs.append(
                    Logits(
                        model=model,
                        data_set=data_set,
                        modality=modality,
                        class_names=("a", "b", "c"),
                        conditions=CONDITIONS,
                        logits=values.astype(np.float32),
                        labels=labels,
                        sample_ids=np.arange(60).astype(str),
                        attributes=attributes,
                    )
                )
    return runs


#: As in the environment of the study.
PUBLISHED = yaml.safe_load((Path(__file__).parents[2] / "conf/paper/parameters/published.yml").read_text())["published"]


def few_shots(count: int) -> pd.DataFrame:
    return pd.DataFrame({"data_set": "oct", "role": ["training"] * count + ["validation"] * (count - 1)})


#: Of guessing among the three classes, in percent.
CHANCE = {"all": 200 / 3}


class Report:
    """What the reporting stage makes of logits."""

    def __init__(
        self,
        runs: list[Logits],
        scores=metrics_named(),
        releases=None,
        seen=("contrast",),
        shots=(),
        levels=None,
        **scoring,
    ):
        judged = {} if levels is None else {"levels": levels}
        cards = {
            f"card-{name}": {"name": name, "synthetic": False, "release": (releases or {}).get(name)}
            for name in dict.fromkeys(run.data_set for run in runs)
        }
        entries = {f"logits-{run.model}_s{run.attributes['seed']}-{run.data_set}": run for run in runs} | cards | judged
        settings = {"baseline": "base", "collections": {}, "references": {}, "seen": seen} | scoring
        scored = nodes.compute_metrics(metrics=scores, **settings, **entries)
        self.metrics, resamples, self.seed_metrics, missing = scored
        self.comparisons = compare_pairs(self.metrics, resamples)
        compared = {"metrics": self.metrics, "comparisons": self.comparisons}
        fractions = {f"k{100 * fraction:g}_s0": fraction for fraction in shots or [0.1]}
        drawn = {f"few_shots-{cell}": few_shots(round(100 * fraction)) for cell, fraction in fractions.items()}
        self.leaderboard = nodes.rank_models(
            scores=scores,
            cells={
                run.model: f"k{100 * run.attributes['fraction']:g}_s0"
                for run in runs
                if run.attributes.get("fraction") in (shots or [0.1])
            },
            roles={
                "lora": {"training_images": ["training"], "validation_images": ["validation"]},
                **dict.fromkeys(("longer", "probe"), {"training_images": ["training"], "validation_images": []}),
            },
            **compared | {"mce_resamples": resamples} | drawn,
        )
        tables = compared | {"leaderboard": self.leaderboard, "missing_cells": missing}
        setting = Setting("base", scores, ("medimeta-c",), seen, "authors (clip: normalised_twice)")
        files = nodes.write_tables(**tables, setting=setting)
        self.files = {name: content.decode() for name, content in files.items()}
        columns = ["pool_set", "pool_sample", "test_set", "test_sample", "kind", "bits"]
        duplicates = pd.DataFrame([("cells", "7", "blood", "3", "near", 4)], columns=columns)

        def text(**parameters) -> str:
            told = (
                tables
                | cards
                | judged
                | {"duplicates": duplicates, "parameters": {"evaluation": {"precision": "float32"}} | parameters}
            )
            return nodes.write_report(setting=setting, few_shot_labels={}, **told)

        self.text, self.published = text(), text(published=PUBLISHED)

    def csv(self, name: str) -> pd.DataFrame:
        return pd.read_csv(io.StringIO(self.files[f"{name}.csv"]))


@pytest.fixture(scope="module")
def report() -> Report:
    return Report(logits(), collections={"blood": "first", "oct": "first"})


def judged_levels() -> pd.DataFrame:
    """The levels of the blur of two data sets; those from severity 4 on are extreme."""
    rows = [
        {
            "data_set": data_set,
            "corruption": "blur",
            "severity": severity,
            "ssim": 1 - severity / 10,
            "value": str(severity),
            "source": "a paper",
            "band": "realistic" if severity < 4 else "extreme",
            "band_source": "clinicians: 3 of 4 answers accept" if data_set == "oct" else "ours: SSIM of 0.75 and above",
            "outside": data_set == "blood" and severity == 3,
        }
        for data_set in ("blood", "oct")
        for severity in range(1, 6)
    ]
    return pd.DataFrame(rows)


def test_extreme_levels_stand_beside_the_average_of_the_realistic_ones(report):
    judged = Report(logits(), levels=judged_levels(), collections={"blood": "first", "oct": "first"})
    board, plain = (each.leaderboard.set_index("model") for each in (judged, report))
    assert not [column for column in plain if "extreme" in column]
    assert (board["corrupted_error"] < plain["corrupted_error"]).all()
    assert (board["error_extreme"] > board["corrupted_error"]).all()
    assert board.loc["base", ["mce", "mce_extreme"]].tolist() == [100, 100]
    assert "mCE, extreme levels" in judged.text
    assert "mCE, extreme levels" not in report.text


def test_the_report_says_who_calls_a_level_realistic_and_warns_of_those_that_are_not():
    text = Report(logits(), levels=judged_levels()).text
    assert "of the 6 of 10 levels that could come from a scanner; the 4 extreme ones" in text
    assert "Clinicians say so of 5 levels" in text
    assert "**Levels outside their band:**" in text
    assert "blood (blur 3: 0.70)" in text
    assert re.search(r"\| oct +\| blur +\| 1, 2, 3 +\| clinicians: 3 of 4 answers accept", text)


def test_the_leaderboard_says_how_sure_it_is(report):
    table = report.leaderboard
    assert table["model"].tolist()[0] == "good_lora_k10"
    assert table["place"].tolist() == [1, 2, 3]
    assert table["seeds"].tolist() == [{"base": 0, "good_lora_k10": 2, "weak_lora_k10": 1}[m] for m in table["model"]]
    assert ((table["place_low"] <= table["place"]) & (table["place"] <= table["place_high"])).all()
    for metric in ("clean_error", "corrupted_error", "mce", "points_lost", "balanced_accuracy", "auroc", "ece"):
        assert table[[metric, f"{metric}_low", f"{metric}_high"]].notna().all(axis=None)
        assert ((table[f"{metric}_low"] <= table[metric]) & (table[metric] <= table[f"{metric}_high"])).all()
        assert (table[f"{metric}_n"] == 180).all()


def test_every_pair_is_compared_with_the_better_one_first(report):
    pairs = report.comparisons
    assert len(pairs) == 3
    assert (pairs["difference"] <= 0).all()
    assert pairs.loc[0, "p_holm"] < 0.001 and (pairs["p_holm"] >= pairs["p"]).all()
    assert (pairs["n"] == 180).all()


def test_every_table_comes_in_three_formats(report):
    names = {name.rpartition(".")[0] for name in report.files} - {"main_text"}
    formats = {f"{name}.{ending}" for name in names for ending in ("csv", "md", "tex")}
    assert formats | {"main_text.tex"} == set(report.files)
    assert names == {
        "averages",
        "calibration",
        "calibration_shift_by_severity",
        "ce_by_corruption",
        "clean_error_by_data_set",
        "comparisons",
        "leaderboard",
        "mce_by_collection",
        "mce_by_data_set",
        "mce_by_modality",
        "operating_range",
        "overconfidence_by_severity",
        "relative_ce_by_corruption",
        "retained_accuracy_by_severity",
    }


def test_every_number_has_an_interval_and_n(report):
    tables = {name.removesuffix(".csv") for name in report.files if name.endswith(".csv")}
    for name in tables - {"leaderboard", "operating_range"}:
        assert report.csv(name)[["low", "high", "n"]].notna().all(axis=None), name
        lines = report.files[f"{name}.md"].replace(r"\|", "").splitlines()
        rows = [line.strip("|").split("|") for line in lines if line.startswith("|")]
        for title, *cells in zip(*rows, strict=True):
            if "(n = " in title:
                assert all("[" in cell and ", " in cell for cell in cells[1:]), (name, title)
    for name in ("leaderboard", "operating_range"):
        assert "n = 180" in report.files[f"{name}.md"]


def test_the_operating_range_is_the_severity_up_to_which_the_error_stays_near_the_clean_one(report):
    rows = report.metrics[(report.metrics["data_set"] == "all") & (report.metrics["metric"] == "error")]
    rows = rows[(rows["modality"] == "all") & (rows["collection"] == "all") & (rows["model"] == "base")]
    table = report.csv("operating_range").set_index("model")
    for corruption in ("blur", "noise"):
        errors = rows[rows["corruption"] == corruption].set_index("severity")["value"]
        holds = [severity for severity in range(1, 6) if (errors.loc[1:severity] <= errors[0] + 5).all()]
        assert table.loc["base", f"{corruption} (n = 180)"] == max(holds, default=0)
    assert table.to_numpy().min() < table.to_numpy().max()


def test_the_report_begins_with_what_breaks_and_what_labels_win_back(report):
    board = report.leaderboard.set_index("model")
    first = report.text.split("\n")[2]
    assert "without tuning, base breaks: its errors rise from" in first
    assert f"by {board.points_lost['base']:.1f} [" in first
    won = board.points_won_back["good_lora_k10"]
    lost = board.points_lost["base"]
    of_these = f" of the {lost:.1f} points" if won <= lost else f", more than the {lost:.1f} points"
    assert re.search(rf"With 19 labelled images, good_lora_k10 wins back {won:.1f} \[.*?\]{of_these}: its", first)


def test_formats_agree(report):
    numbers = report.csv("mce_by_data_set").set_index(["model", "data_set"])
    row = numbers.loc[("good_lora_k10", "oct")]
    cell = f"{row.value:.1f} [{row.low:.1f}, {row.high:.1f}]"
    assert cell in report.files["mce_by_data_set.md"]
    assert cell.replace("[", r"{\scriptsize [") in report.files["mce_by_data_set.tex"]
    assert cell in report.text


def test_latex_is_for_booktabs_and_escaped(report):
    text = report.files["mce_by_modality.tex"]
    for part in (r"\toprule", r"\midrule", r"\bottomrule", r"\label{tab:mce_by_modality}", r"good\_lora\_k10"):
        assert part in text
    assert r"\& 50 \%" in text
    assert r"labelled images" in report.files["leaderboard.tex"] and r"10 \%" in report.files["leaderboard.tex"]
    for name, content in report.files.items():
        for table in content.split(r"\toprule")[1:] if name.endswith(".tex") else ():
            widths = {line.replace(r"\&", "").count("&") for line in table.splitlines() if line.endswith(r" \\")}
            assert len(widths) == 1, name


def test_markdown_keeps_its_columns_whatever_the_names(report):
    rows = [line for line in report.files["mce_by_modality.md"].splitlines() if line.startswith("|")]
    assert {line.replace(r"\|", "").count("|") for line in rows} == {4}
    assert r"OCT \| retina" in report.text


def test_the_report_says_what_intervals_contain(report):
    assert "over the seeds of the models trained with several" in report.text
    assert "models with one seed" in report.text
    assert "## Undefined" not in report.text
    assert "**Seen in tuning:** contrast." in report.text
    assert "**Protocol:** authors (clip: normalised_twice)." in report.text


def test_published_figures_stand_apart_from_measured_ones(report):
    assert "## Published" not in report.text
    title, *lines = report.published.split("## Published, not measured here: ")[1].split("##")[0].strip().splitlines()
    assert "arXiv:2505.15425" in title and "its CLIP is 100" in title
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines if line.startswith("|")]
    assert rows[0] == ["model", "clean error ratio", "mCE"]
    assert rows[2:] == [
        ["CLIP", "100.0", "100.0"],
        ["MedCLIP", "106.4", "112.5"],
        ["BioMedCLIP", "116.3", "126.8"],
        ["UniMedCLIP", "111.8", "98.87"],
        ["RMedCLIP", "62.8", "81.0"],
    ]


def test_figures_tell_adaptations_apart_and_lose_none():
    """Adaptations of one method, of several fractions, without a rank, without labels."""
    facts = {
        "base": {"method": "zero-shot"},
        "base_ensemble": {"adaptation": "ensemble", "method": "prompt-ensemble"},
        "base_lora_k1": {"adaptation": "lora", "method": "lora", "rank": 8, "fraction": 0.01, "seed": 0},
        "base_lora_k10": {"adaptation": "lora", "method": "lora", "rank": 8, "fraction": 0.1, "seed": 0},
        "base_longer_k10": {"adaptation": "longer", "method": "lora", "rank": 8, "fraction": 0.1, "seed": 0},
        "base_probe_k3": {"adaptation": "probe", "method": "linear-probe", "fraction": 0.03, "seed": 0},
    }
    runs = [
        replace(run, attributes={"base": "base", "rank": None, "fraction": None, "seed": None, **facts[run.model]})
        for run in logits({model: (1 + place / 10, [None]) for place, model in enumerate(facts)}, {"oct": "OCT"})
    ]
    report = Report(runs, shots=(0.01, 0.03, 0.1))
    expected = {f"base, {name}" for name in ("zero-shot", "ensemble", "lora", "longer", "probe")}
    drawn = few_shot_curves(report.metrics, report.leaderboard, CHANCE).axes[0].containers
    assert {one.get_label(): len(one.lines[0].get_xdata()) for one in drawn} == {
        name: 2 if name == "base, lora" else 1 for name in expected
    }
    assert len({one.lines[0].get_marker() for one in drawn}) == len(expected)
    lines = {line.name: line for line in interactive.few_shot_curves(report.metrics, report.leaderboard, CHANCE).data}
    assert set(lines) == {f"{name}, {condition}" for name in expected for condition in ("clean", "corrupted")}
    assert list(lines["base, ensemble, clean"].x) == [0, 19] and list(lines["base, probe, clean"].x) == [3]
    assert list(lines["base, lora, clean"].x) == [1, 19], "the training images, and those to validate"
    shown = {
        line.get_label(): line.get_marker()
        for line in severity_curves(report.metrics, CHANCE).axes[0].lines
        if line.get_label() != "guess"
    }
    assert set(shown) == set(facts) - {"base_lora_k1"} and len(set(shown.values())) == len(shown)
    assert {
        point.name for point in interactive.error_against_mce(report.leaderboard, report.metrics, 60).data
    } == expected


@pytest.mark.parametrize(
    ("flawless", "column", "title"), [(False, "mce", "mCE"), (True, "corrupted_error", "corrupted error")]
)
def test_of_more_adaptations_than_markers_figures_show_zero_shot_and_the_best(flawless, column, title):
    """The best have the lowest mCE, or the lowest error where the baseline makes none."""
    models = {"base": {"adaptation": "zero-shot", "method": "zero-shot"}} | {
        f"base_{name}": {"adaptation": name, "method": "prompt-ensemble"} for name in "abcdefghij"
    }
    runs = [
        replace(run, attributes={"base": "base", "rank": None, "fraction": None, "seed": None, **models[run.model]})
        for run in logits({model: (1 + place / 5, [None]) for place, model in enumerate(models)}, {"oct": "OCT"})
    ]
    if flawless:
        runs[0] = replace(runs[0], logits=np.repeat(9 * np.eye(3)[None, runs[0].labels], len(CONDITIONS), 0))
    report = Report(runs)
    values = report.leaderboard.set_index("model")[column]
    assert values.is_monotonic_increasing and report.leaderboard["mce"].isna().all() == flawless
    best = {name.split("_")[1] for name in values.drop("base").index[:7]}
    curves = few_shot_curves(report.metrics, report.leaderboard, CHANCE)
    severities = severity_curves(report.metrics, CHANCE)
    drawn = {one.get_label(): one.lines[0].get_marker() for one in curves.axes[0].containers}
    assert set(drawn) == {f"base, {name}" for name in {"zero-shot", *best}} and len(set(drawn.values())) == 8
    lines = {line.get_label(): line.get_marker() for line in severities.axes[0].lines if line.get_label() != "guess"}
    assert set(lines) == {"base", *(f"base_{name}" for name in best)} and len(set(lines.values())) == 8
    for figure in (curves, severities):
        (legend,) = figure.legends
        assert legend.get_title().get_text() == f"zero-shot and, of 10 adaptations, the 7 with the lowest {title}"


def test_shots_are_labels_and_a_curve_runs_from_few_images_to_many():
    facts = {"base": {"adaptation": "zero-shot", "method": "zero-shot", "fraction": None, "shots": None}}
    facts |= {
        f"base_lora_{shots}": {"adaptation": "lora", "method": "lora", "shots": shots, "fraction": None, "seed": 0}
        for shots in (1, 4, 16)
    }
    runs = [
        replace(run, attributes={"base": "base", "rank": None, "seed": None, **facts[run.model]})
        for run in logits({model: (1 + place / 5, [None]) for place, model in enumerate(facts)}, {"oct": "OCT"})
    ]
    report = Report(runs)
    images = {"base_lora_1": 12, "base_lora_4": 40, "base_lora_16": 7}
    counts = report.leaderboard["model"].map(images)
    board = report.leaderboard.assign(training_images=counts, validation_images=0 * counts)
    lines = {line.name: line for line in few_shot_panels(report.metrics, board)["clean"]}
    assert list(lines["base, lora"].x) == [7, 12, 40]
    (panel, *_) = severity_panels(report.metrics, list(facts)).values()
    assert {line.name: line.style for line in panel} == {n: "solid" if n in images else "dashed" for n in facts}
    points = interactive.error_against_mce(board, report.metrics, 60).data
    sizes = {model: size for point in points for model, size in zip(point.customdata, point.marker.size, strict=True)}
    assert sizes["base"] < sizes["base_lora_16"] < sizes["base_lora_1"] < sizes["base_lora_4"]


def test_adaptations_of_one_number_of_labelled_images_stand_side_by_side():
    models = {"base": {"adaptation": "zero-shot", "method": "zero-shot"}} | {
        f"base_{name}_k10": {"adaptation": name, "method": "lora", "fraction": 0.1, "seed": 0}
        for name in ("longer", "probe")
    }
    runs = [
        replace(run, attributes={"base": "base", "rank": None, "fraction": None, "seed": None, **models[run.model]})
        for run in logits({model: (1 + place / 5, [None]) for place, model in enumerate(models)}, {"oct": "OCT"})
    ]
    report = Report(runs, shots=(0.1,))
    figure = few_shot_curves(report.metrics, report.leaderboard, CHANCE)
    figure.canvas.draw()
    for axis in figure.axes:
        lines = [one.lines[0] for one in axis.containers if one.get_label() != "base, zero-shot"]
        left, right = sorted(line.get_transform().transform(line.get_xydata())[0, 0] for line in lines)
        (images,) = {line.get_xdata()[0] for line in lines}
        middle, _ = axis.transData.transform((images, 0))
        assert right - left > 5 and (left + right) / 2 == pytest.approx(middle) and right < axis.bbox.x1 - 5


def test_severity_curves_start_at_the_clean_error_of_the_data_sets_that_have_the_corruption():
    noisy, blurred = (tuple(c for c in CONDITIONS if c.corruption != other) for other in ("blur", "noise"))
    runs = []
    for run in logits():
        chosen = noisy if run.data_set == "oct" else blurred
        rows = [run.conditions.index(condition) for condition in chosen]
        runs.append(replace(run, conditions=chosen, logits=run.logits[rows]))
    report = Report(runs)
    metrics = report.metrics[report.metrics["seed"].isna()].set_index(["model", "data_set", "metric"])["value"]
    drawn = {axis.get_title(): axis.lines[0].get_ydata()[0] for axis in severity_curves(report.metrics, CHANCE).axes}
    assert drawn["noise"] == metrics["base", "oct", "clean_error"].item() != drawn["blur"]
    panels = interactive.severity_curves(report.metrics, ["base"], CHANCE).data
    starts = [drawn["mean over corruptions"], drawn["blur"], drawn["noise"]]
    assert [line.y[0] for line in panels] == starts and list(panels[0].x) == [*range(6)]


def test_figures_for_papers_are_as_wide_as_columns_and_the_same_bytes_each_time(report):
    figures = {
        ONE_COLUMN: corruption_heat_map(report.metrics, ONE_COLUMN),
        TWO_COLUMNS: severity_curves(report.metrics, CHANCE),
    }
    for width, figure in figures.items():
        files = figure_files(figure, "drawn")
        assert set(files) == {"drawn.svg", "drawn.pdf", "drawn.png"}
        assert files["drawn.pdf"].startswith(b"%PDF-") and b"FontFile2" in files["drawn.pdf"]
        root = ElementTree.fromstring(files["drawn.svg"])
        assert float(root.attrib["width"].removesuffix("pt")) == pytest.approx(width)
        texts = ["".join(text.itertext()) for text in root.iter("{http://www.w3.org/2000/svg}text")]
        assert "noise" in texts, "text is text"
        sizes = [float(size) for size in re.findall(rb"font(?:-size)?: ([\d.]+)px", files["drawn.svg"])]
        assert sizes and min(sizes) >= 6
        with Image.open(io.BytesIO(files["drawn.png"])) as picture:
            assert picture.width == pytest.approx(width / 72 * 300, abs=1)
            assert picture.info["dpi"] == pytest.approx((300, 300), abs=0.1)
        assert not re.search(rb"CreationDate|<dc:date>", b"".join(files.values()))
    again = figure_files(severity_curves(report.metrics, CHANCE), "drawn")
    assert again == files


@pytest.mark.parametrize("width", [ONE_COLUMN, TWO_COLUMNS])
def test_names_in_figures_for_papers_do_not_overlap(report, width):
    names = {"base": "base", "good_lora_k10": "phantom_resnet_robust_lora_k10", "weak_lora_k10": "phantom_vit_lora_k10"}
    figure = corruption_heat_map(report.metrics.replace({"model": names}), width)
    figure.draw_without_rendering()
    axis = figure.axes[0]
    for labels in (axis.get_xticklabels(), axis.get_yticklabels()):
        boxes = [label.get_window_extent() for label in labels]
        assert not any(one.overlaps(other) for one, other in pairwise(boxes))
        assert all(box.x0 >= 0 and box.y0 >= 0 for box in boxes)


def test_figures_show_what_a_guess_is_worth_under_each_corruption(report):
    classes = {"blood": 2, "cells": 4, "oct": 5}
    rows = report.metrics[(report.metrics["corruption"] != "noise") | (report.metrics["data_set"] != "oct")]
    chance = chance_errors(rows, classes)
    assert (chance["noise"], chance["all"]) == pytest.approx((62.5, (50 + 75 + 80) / 3))
    for figure in (
        severity_curves(report.metrics, chance),
        few_shot_curves(report.metrics, report.leaderboard, chance),
    ):
        for axis in figure.axes:
            (guess,) = [line.get_ydata()[0] for line in axis.lines if line.get_label() == "guess"]
            assert guess == chance[axis.get_title() if axis.get_title() in chance else "all"]


def test_what_is_undefined_is_said():
    report = Report(logits(flawless=("oct",)))
    undefined = report.text.split("## Undefined")[1].split("##")[0]
    assert "- clean_error_ratio: oct (clean)" in undefined
    assert "- ce: oct (blur, noise)" in undefined
    assert "undefined" in report.files["mce_by_data_set.md"]
    averages = report.csv("averages").set_index(["model", "metric"])
    assert averages.loc[("base", "mce"), "n"] == 120
    assert (report.leaderboard["mce_n"] == 120).all() and (report.leaderboard["n"] == 180).all()


def test_one_model_on_one_data_set():
    report = Report(logits({"base": MODELS["base"]}, {"oct": "OCT"}))
    assert report.leaderboard[["model", "place", "mce"]].to_numpy().tolist() == [["base", 1, 100.0]]
    assert report.comparisons.empty and "comparisons.md" not in report.files
    assert "100.0 [100.0, 100.0]" in report.text


def test_balanced_errors_of_medmnist_c_have_tables():
    names = {"clean": "clean", "blur": "pixelate", "noise": "speckle_noise"}
    conditions = tuple(Condition(names[one.corruption], one.severity) for one in CONDITIONS)
    runs = [replace(run, conditions=conditions) for run in logits(data_sets={"octmnist": "OCT"})]
    references = {"octmnist": {"octmnist_224": suite("medmnist-c").reference_errors["octmnist_224"]}}
    report = Report(runs, references=references, releases={"octmnist": "octmnist_224"})
    table = report.csv("be_by_data_set")
    assert table["data_set"].tolist() == ["octmnist"] * 3 and (table["value"] < 3).all()
    assert "AlexNet is 1" in report.text
    assert {"be", "be_ratio_of_means"} <= set(report.csv("averages")["metric"])
    for release in (None, "octmnist_28"):
        other = Report(runs, references=references, releases={"octmnist": release})
        assert not {"be", "rbe"} & set(other.metrics["metric"]) and "AlexNet" not in other.text


def test_a_baseline_that_is_never_wrong_leaves_a_report_without_mce():
    report = Report(logits(flawless=tuple(DATA_SETS)))
    assert report.leaderboard[["mce", "place"]].isna().all(axis=None)
    assert "undefined" in report.files["leaderboard.md"]
    assert report.leaderboard["clean_error"].tolist() == [0, 0, 0]


def test_mce_on_seen_and_held_out_corruptions_stands_apart():
    seen = CONDITIONS[1].corruption
    report = Report(logits(), seen=(seen,))
    table = report.files["mce_seen_and_held_out.md"]
    assert "mCE, seen" in table and "mCE, held out" in table
    assert "good_lora_k10" in table


def test_a_metric_of_a_users_own_is_in_the_leaderboard_and_has_a_table():
    unsure = Metric(
        name="unsure",
        title="unsure predictions",
        unit="%",
        higher_is_better=False,
        bounds=(0, 1),
        decimals=2,
        source="confidence below one half",
        values=lambda logits, labels, clean: (softmax(logits).max(-1) < 0.5).astype(float),
    )
    report = Report(logits(), scores=metrics_named(["auroc", unsure]))
    for column in ("unsure", "corrupted_unsure"):
        assert report.leaderboard[[column, f"{column}_low", f"{column}_high", f"{column}_n"]].notna().all(axis=None)
    table = report.csv("further_metrics")
    clean = table[(table["model"] == "base") & (table["corruption"] == "clean")]["value"].item()
    assert clean == pytest.approx(report.leaderboard.set_index("model").loc["base", "unsure"], rel=1e-5)
    assert "## Further metrics; lower is better" in report.text and "unsure predictions, corrupted, %" in report.text
    assert "confidence below one half" in report.text
    assert "ECE" not in report.text and "ece" not in report.leaderboard


def test_seeds_alone_average_to_the_model(report):
    where = "data_set == 'oct' and metric == 'error' and corruption == 'all' and severity.isna()"
    of_seeds = report.seed_metrics.query(where).query("model == 'good_lora_k10'").set_index("seed")["value"]
    assert set(of_seeds.index) == {0, 1}
    (mean,) = report.metrics.query(where).query("model == 'good_lora_k10'")["value"]
    assert of_seeds.mean() == pytest.approx(mean)
    assert set(report.seed_metrics["model"]) == {"good_lora_k10", "weak_lora_k10"}


def test_columns_of_corruptions_say_whose_relatives_were_seen_in_tuning(report):
    results = Results(report.metrics, report.leaderboard, report.comparisons, missing_cells=pd.DataFrame())
    setting = Setting("base", metrics_named(), ("medimeta-c",), (), "fixed", related={"blur": ["lora"]})
    table = report_tables(results, setting)["ce_by_corruption"]
    titles = [title.partition(" (n")[0] for title in table.text.columns]
    assert "blur (relatives in tuning)" in titles and "noise" in titles
    assert set(table.numbers["corruption"]) == {"blur", "noise"}

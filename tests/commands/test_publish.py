"""Results side by side: a site of several runs, the refusal of what can't be compared, and how two runs differ."""

import json
import re
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner

from robustmedclip.benchmark import benchmark
from robustmedclip.commands import command_line
from robustmedclip.reporting.provenance import obstacles

pytestmark = pytest.mark.slow

LABELS = np.arange(24) % 2


def images(seed: int) -> np.ndarray:
    pixels = np.random.default_rng(seed).integers(0, 90, (24, 32, 32, 1), np.uint8)
    pixels[LABELS == 1] += 99
    return pixels


def by_level(level: float):
    return lambda batch: np.stack([level - batch[:, 0, 0, 0].astype(float), 0.0 * batch[:, 0, 0, 0]], axis=1)


def write(folder: Path, models: dict, seed: int = 0, **changed) -> Path:
    """A project with finished results, as a run stores them: a version of each entry."""
    result = benchmark(models, images(seed), LABELS, ["dark", "bright"], corruptions=["pixelate"], resamples=50)
    result.save(folder / "flat")
    for file in (folder / "flat").iterdir():
        target = folder / "data/08_reporting" / file.name / "2026-01-01T00.00.00.000Z" / file.name
        target.parent.mkdir(parents=True)
        file.rename(target)
        if file.name == "provenance.json":
            content = json.loads(target.read_text())
            content["weights"] = {name: [f"{name}-hash"] for name in content["weights"]}
            content["parameters"] = {"seeds": [0], **changed}
            target.write_text(json.dumps(content))
    return folder


@pytest.fixture(scope="module")
def runs(tmp_path_factory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("runs")
    return {
        "here": write(folder / "here", {"base": by_level(40), "good": by_level(95)}),
        "there": write(folder / "there", {"base": by_level(40), "fair": by_level(50)}, tolerated_points=3),
        "elsewhere": write(folder / "elsewhere", {"base": by_level(40), "good": by_level(95)}, seed=1),
    }


def call(*arguments: object):
    return CliRunner().invoke(command_line, list(map(str, arguments)))


def test_models_of_two_runs_are_ranked_together_each_with_its_weights_and_run(runs, tmp_path):
    done = call("publish", runs["here"], runs["there"], tmp_path / "site")
    assert done.exit_code == 0, done.output
    board = pd.read_csv(tmp_path / "site/leaderboard.csv")
    assert board["model"].tolist() == ["good", "fair", "base"]
    assert board["run"].tolist() == ["here", "there", "here"] and board["place"].tolist() == [1, 2, 3]
    assert board["weights"].tolist() == ["good-hash", "fair-hash", "base-hash"]
    page = (tmp_path / "site/index.html").read_text()
    assert "good-hash" in page and "2026-01-01" in page
    assert "<script" not in page and page.count("https://") == 0
    assert (tmp_path / "site/runs/there/report.html").exists()


def test_a_site_is_made_again_in_its_place_and_nothing_else_is_replaced(runs, tmp_path):
    assert call("publish", runs["here"], tmp_path / "site").exit_code == 0
    assert call("publish", runs["there"], tmp_path / "site").exit_code == 0
    assert "fair" in pd.read_csv(tmp_path / "site/leaderboard.csv")["model"].tolist()
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis/text.tex").write_text("mine")
    refused = call("publish", runs["here"], tmp_path / "thesis")
    assert refused.exit_code == 1 and "no site of an earlier call" in refused.output
    assert "a folder with text.tex" in refused.output and (tmp_path / "thesis/text.tex").exists()
    (tmp_path / "site/CNAME").write_text("robust.example")
    refused = call("publish", runs["here"], tmp_path / "site")
    assert refused.exit_code == 1 and "a folder with CNAME" in refused.output
    assert (tmp_path / "site/CNAME").exists() and sorted(path.name for path in tmp_path.iterdir()) == ["site", "thesis"]


def test_results_in_the_place_of_a_forgotten_site_stay(runs, tmp_path):
    saved = benchmark({"base": by_level(40)}, images(0), LABELS, ["dark", "bright"], corruptions=["pixelate"])
    saved.save(tmp_path / "saved")
    project = shutil.copytree(runs["there"], tmp_path / "project")
    for last in (tmp_path / "saved", project, project / "data/08_reporting"):
        before = {path: path.read_bytes() for path in last.rglob("*") if path.is_file()}
        refused = call("publish", runs["here"], last)
        assert refused.exit_code == 1 and "a project or the results of one" in refused.output
        assert before == {path: path.read_bytes() for path in last.rglob("*") if path.is_file()}


def test_an_old_site_stays_where_the_new_one_cannot_take_its_place(runs, tmp_path, monkeypatch):
    assert call("publish", runs["here"], tmp_path / "site").exit_code == 0
    rename, failures = Path.rename, [OSError("Too many links")]

    def rename_but_once(path: Path, target: Path) -> Path:
        if target == tmp_path / "site" and failures:
            raise failures.pop()
        return rename(path, target)

    monkeypatch.setattr(Path, "rename", rename_but_once)
    assert call("publish", runs["there"], tmp_path / "site").exit_code == 1
    assert "good" in (tmp_path / "site/index.html").read_text() and [*tmp_path.iterdir()] == [tmp_path / "site"]


def test_runs_of_other_images_are_refused_by_name(runs, tmp_path):
    refused = call("publish", runs["here"], runs["elsewhere"], tmp_path / "site")
    assert refused.exit_code == 1 and "images: other images or labels" in refused.output
    assert not (tmp_path / "site").exists()


def test_an_mce_of_the_error_is_not_ranked_with_one_of_another_metric():
    result = {"protocol": "fixed", "baseline": "base", "images": {}, "weights": {"base": ["base-hash"]}}
    assert obstacles(result, result | {"mce_of": "error"}) == []
    assert obstacles(result, result | {"mce_of": "1 - AUROC"}) == ["mCE: made of error and of 1 - AUROC"]


def test_a_folder_without_a_run_is_refused(tmp_path):
    refused = call("publish", tmp_path, tmp_path / "site")
    assert refused.exit_code == 1 and "holds no finished run" in refused.output


def test_two_runs_are_compared_by_settings_hashes_and_figures(runs):
    done = call("compare", runs["here"], runs["there"])
    assert done.exit_code == 0, done.output
    assert "can stand in one table" in done.output
    assert "parameters.tolerated_points" in done.output and "In there alone: fair" in done.output
    assert "0.0 [0.0, 0.0]" in done.output


def test_runs_that_differ_in_images_are_compared_with_the_reason(runs):
    done = call("compare", runs["here"], runs["elsewhere"])
    assert "can't stand in one table" in done.output and "images.images.hash" in done.output


def test_a_run_that_was_not_the_last_is_named_by_its_version(runs):
    done = call("compare", f"{runs['here']}@2026-01-01T00.00.00.000Z", runs["here"])
    assert done.exit_code == 0 and "No setting, version or hash differs" in done.output
    refused = call("compare", f"{runs['here']}@2025-01-01T00.00.00.000Z", runs["here"])
    assert refused.exit_code == 1 and "holds no finished run" in refused.output


def test_compared_projects_of_one_name_are_told_apart_by_their_paths(runs, tmp_path):
    theirs = shutil.copytree(runs["there"], tmp_path / "theirs/here")
    done = call("compare", runs["here"], theirs)
    assert f"In {runs['here']} alone: good\nIn {theirs} alone: fair" in done.output
    (heading,) = re.findall("^model .*", done.output, re.MULTILINE)
    assert heading.split() == ["model", "figure", str(runs["here"]), str(theirs), "difference"]

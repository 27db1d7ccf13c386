"""The how-to pages: five things of a user's own, added by YAML alone, and the benchmark that runs with them."""

import re
import sys
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path

import pandas as pd
import pytest
import yaml
from projects import Project
from shown import blocks

pytestmark = pytest.mark.slow

PAGES = ("source", "suite", "model-format", "method", "metric")
PLAN = {
    "seeds": [0],
    "baseline": "phantom_vit",
    "models": {"phantom_vit": {"source": {"type": "open_clip", "path": "package:models/phantom_vit"}}},
}


def merged(first: dict, second: dict) -> dict:
    both = {
        key: merged(first[key], second[key]) for key in first.keys() & second.keys() if isinstance(first[key], dict)
    }
    return {**first, **second, **both}


@pytest.fixture(scope="module")
def project(tmp_path_factory) -> Iterator[Project]:
    """A project whose plan is what the pages say, after ``kedro run --pipeline benchmark``."""
    project, plan = Project(tmp_path_factory.mktemp("extension")), PLAN
    for page in PAGES:
        for code in blocks(f"docs/how-to/{page}.md", "python"):
            if match := re.match(r"# (my_study/\w+\.py)\n", code):
                (project.folder / "src" / match[1]).parent.mkdir(parents=True, exist_ok=True)
                (project.folder / "src" / match[1]).write_text(code)
        for settings in blocks(f"docs/how-to/{page}.md", "yaml"):
            plan = merged(plan, yaml.safe_load(settings))
    project.configure(plan)
    with pytest.MonkeyPatch.context() as patched:
        patched.syspath_prepend(project.folder / "src")
        import_module("my_study.model_format").write_example(project.folder / "data/06_models/my_model.npz")
        done = project.run("--pipelines", "benchmark")
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    yield project
    for name in [name for name in sys.modules if name.partition(".")[0] == "my_study"]:
        del sys.modules[name]


def entry(project: Project, name: str) -> Path:
    return project.newest(f"data/08_reporting/{name}/*/{name}")


def test_the_leaderboard_has_a_model_of_a_users_format_and_one_of_a_users_method(project):
    board = pd.read_csv(entry(project, "leaderboard.csv"))
    assert {"my_model", "my_model_nearest_mean_k10", "phantom_vit", "phantom_vit_nearest_mean_k10"} == set(
        board["model"]
    )
    assert board["missed"].between(0, 100).all() and board["corrupted_missed"].between(0, 100).all()


def test_the_metrics_are_of_a_users_source_under_a_users_suite(project):
    metrics = pd.read_csv(entry(project, "metrics.csv"), keep_default_na=False, na_values=[""])
    assert {"stripes", "all"} == set(metrics["data_set"])
    assert {"clean", "all", "dead_columns", "median_blur", "contrast"} == set(metrics["corruption"])
    missed = metrics[(metrics["metric"] == "missed") & (metrics["corruption"] == "dead_columns")]
    assert len(missed) and missed[["value", "low", "high"]].notna().all(axis=None)


def test_the_report_shows_them(project):
    for name in ("report.md", "report.html"):
        text = entry(project, name).read_text()
        for word in (
            "stripes",
            "dead_columns",
            "missed findings",
            "nearest_mean",
            "my_model",
            "my_study.suite.MY_SUITE",
        ):
            assert word in text, (name, word)
    assert "Synthetic phantoms" in entry(project, "report.md").read_text()

"""What a stranger does first: install the wheel, lay out a project in an empty folder, add things of their own by the
how-to pages, and run it."""

import os
import re
import subprocess
import sys
import sysconfig
import zipfile
from pathlib import Path

import pandas as pd
import pytest
import yaml
from projects import ROOT
from shown import blocks

pytestmark = pytest.mark.slow

#: Blocks what only pipelines need, and imports the rest.
CORE = """
import sys

class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in ("kedro", "kedro_datasets", "kedro_mlflow", "mlflow", "dask", "distributed"):
            raise ModuleNotFoundError(name)

sys.meta_path.insert(0, Absent())
for room in ("adaptation.methods", "corruptions", "images", "metrics", "models", "phantoms", "reporting"):
    __import__(f"robustmedclip.{room}")
"""
EXAMPLES = [f"docs/how-to/{page}.md" for page in ("source", "suite", "model-format", "method", "metric")]
#: To which the YAML of the examples is added.
PLAN = {
    "seeds": [0],
    "models": {"phantom_vit": {"source": {"type": "open_clip", "path": "package:models/phantom_vit"}}},
    "baseline": "phantom_vit",
}


def tried(*command: object, cwd: Path) -> subprocess.CompletedProcess:
    """What a command prints and returns, in an environment that knows nothing of this checkout."""
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    words = list(map(str, command))
    return subprocess.run(words, cwd=cwd, env=environment, capture_output=True, text=True, check=False)


def done(*command: object, cwd: Path) -> str:
    """What a command prints; it has to succeed."""
    ended = tried(*command, cwd=cwd)
    assert ended.returncode == 0, ended.stdout[-3000:] + ended.stderr[-3000:]
    return ended.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory) -> Path:
    """The wheel, built of this checkout."""
    folder = tmp_path_factory.mktemp("wheel")
    pip = (sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation")
    done(*pip, "--wheel-dir", folder, ROOT, cwd=folder)
    (built,) = folder.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def python(wheel, tmp_path_factory) -> Path:
    """Python of a new environment with the wheel, which finds the dependencies where they are installed already."""
    folder = tmp_path_factory.mktemp("environment")
    done(sys.executable, "-m", "venv", "--without-pip", folder, cwd=folder)
    python = folder / ("Scripts/python.exe" if sys.platform == "win32" else "bin/python")
    done(sys.executable, "-m", "pip", "--python", python, "install", "--quiet", "--no-deps", wheel, cwd=folder)
    code = "import sysconfig; print(sysconfig.get_path('purelib'))"
    Path(done(python, "-c", code, cwd=folder).strip(), "dependencies.pth").write_text(sysconfig.get_path("purelib"))
    return python


@pytest.fixture(scope="module")
def project(python, tmp_path_factory) -> Path:
    """A project that the installed command has laid out, in an empty folder."""
    folder = tmp_path_factory.mktemp("empty")
    assert "ready" in done(python.with_name("robustmedclip"), "new", "my-study", cwd=folder)
    return folder / "my-study"


def test_the_wheel_has_the_configuration_and_nothing_of_its_builders_own(wheel):
    names = zipfile.ZipFile(wheel).namelist()
    listed = done("git", "ls-files", "conf", cwd=ROOT).split() if (ROOT / ".git").exists() else []
    assert {f"robustmedclip/template/{name}" for name in listed} <= set(names)
    private = ("robustmedclip/template/data", "robustmedclip/template/conf/local")
    template = [name for name in names if name.startswith(private)]
    assert len(template) == 9 and all(name.endswith(".gitkeep") for name in template)


def test_a_new_project_has_configuration_empty_layers_a_plan_and_a_package(project):
    files = {path.relative_to(project).as_posix() for path in project.rglob("*") if path.is_file()}
    shipped = [path for path in (ROOT / "conf").rglob("*.yml") if "local" not in path.parts]
    assert {path.relative_to(ROOT).as_posix() for path in shipped} <= files
    assert {"conf/local/benchmark.yml", "pyproject.toml", ".gitignore", "src/my_study/__init__.py"} <= files
    assert len([name for name in files if name.startswith("data/")]) == len(list((ROOT / "data").glob("[0-9]*")))


def test_the_plan_of_a_new_project_is_the_default_one_until_it_is_changed(project):
    assert yaml.safe_load((project / "conf/local/benchmark.yml").read_text()) is None


def test_a_project_is_not_laid_out_over_files(python, project):
    ended = tried(python.with_name("robustmedclip"), "new", "my-study", cwd=project.parent)
    assert ended.returncode == 1 and "choose a folder that is empty" in ended.stderr


def test_the_core_is_imported_without_kedro_and_mlflow(python, project):
    done(python, "-c", CORE, cwd=project)


def merged(first: dict, second: dict) -> dict:
    both = {
        key: merged(first[key], second[key]) for key in first.keys() & second.keys() if isinstance(first[key], dict)
    }
    return {**first, **second, **both}


@pytest.fixture(scope="module")
def extended(python, project) -> Path:
    """The project after a benchmark with the files and the YAML of all pages on adding something of one's own."""
    plan, lines = PLAN, []
    for page in EXAMPLES:
        for code in blocks(page, "python"):
            if match := re.match(r"# (my_study/\w+\.py)\n", code):
                (project / "src" / match[1]).write_text(code)
            elif code.startswith("from my_study."):
                lines.append(code)
        for settings in blocks(page, "yaml"):
            plan = merged(plan, yaml.safe_load(settings))
    (project / "conf/local/benchmark.yml").write_text(yaml.safe_dump(plan))
    done(python, "-c", "\n".join(["import sys; sys.path.insert(0, 'src')", *lines]), cwd=project)
    done(python, "-m", "kedro", "run", "--pipeline", "benchmark", cwd=project)
    return project


def entry(project: Path, name: str) -> Path:
    (file,) = project.glob(f"data/08_reporting/{name}/*/{name}")
    return file


def test_the_leaderboard_has_a_model_of_a_users_format_and_one_of_a_users_method(extended):
    board = pd.read_csv(entry(extended, "leaderboard.csv"))
    models = {"my_model", "my_model_nearest_mean_k10", "phantom_vit", "phantom_vit_nearest_mean_k10"}
    assert models == set(board["model"])
    assert board["missed"].between(0, 100).all() and board["corrupted_missed"].between(0, 100).all()


def test_the_metrics_are_of_a_users_source_under_a_users_suite(extended):
    metrics = pd.read_csv(entry(extended, "metrics.csv"), keep_default_na=False, na_values=[""])
    assert {"stripes", "all"} == set(metrics["data_set"])
    assert {"clean", "all", "dead_columns", "median_blur", "contrast"} == set(metrics["corruption"])
    missed = metrics[(metrics["metric"] == "missed") & (metrics["corruption"] == "dead_columns")]
    assert len(missed) and missed[["value", "low", "high"]].notna().all(axis=None)


def test_the_report_shows_them(extended):
    for name in ("report.md", "report.html"):
        text = entry(extended, name).read_text(encoding="utf-8")
        for word in (
            "stripes",
            "dead_columns",
            "missed findings",
            "nearest_mean",
            "my_model",
            "my_study.suite.MY_SUITE",
        ):
            assert word in text, (name, word)
    assert "Synthetic phantoms" in entry(extended, "report.md").read_text(encoding="utf-8")
    assert (extended / "data/08_reporting/latest.html").exists()


@pytest.mark.full  # Kedro builds in an environment of its own, for which it asks the package index
def test_kedro_package_makes_a_wheel_and_the_configuration(tmp_path):
    done("git", "clone", "--quiet", ROOT, tmp_path / "clone", cwd=tmp_path)
    done(sys.executable, "-m", "kedro", "package", cwd=tmp_path / "clone")
    assert {path.suffix for path in (tmp_path / "clone/dist").iterdir()} == {".whl", ".gz"}

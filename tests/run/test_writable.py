"""What will be written is checked before any work, and named."""

import os
from pathlib import Path

import pytest
from projects import Project

from robustmedclip.errors import InputError
from robustmedclip.run import writable
from robustmedclip.run.config import ConfigError, data_place
from robustmedclip.run.writable import place_problems, tracking_places


@pytest.fixture
def read_only(monkeypatch):
    """Makes a folder read-only; root may write wherever the disk allows it, so that modes alone don't tell."""

    def make(folder: Path) -> None:
        access = os.access
        monkeypatch.setattr(
            writable.os, "access", lambda path, mode: not Path(path).is_relative_to(folder) and access(path, mode)
        )

    return make


def test_places_are_named_with_the_folder_that_cannot_be_written_to(tmp_path, read_only):
    read_only(tmp_path / "there")
    (tmp_path / "there").mkdir()
    places = {
        "logits": tmp_path / "there/data/logits",
        "features": tmp_path / "there/data/features",
        "x": tmp_path / "y",
    }
    (problem,) = place_problems(places)
    assert problem.startswith(f"logits, features: the folder {tmp_path / 'there'} can't be written to: work in a copy")


@pytest.mark.parametrize("name", ["data [x]", "data*", "what?"])
def test_a_folder_whose_name_is_a_pattern_is_named(tmp_path, name):
    (problem,) = place_problems({"logits": tmp_path / name / "logits"})
    assert f"the name of the folder {tmp_path / name} has the character" in problem and "rename the folder" in problem


def test_blanks_and_other_characters_are_no_problem(tmp_path):
    assert place_problems({"logits": tmp_path / "my project #1 50% {x} é/logits"}) == []


def test_the_places_of_mlflow_are_those_on_this_machine(tmp_path):
    def places(uri: str, artifacts: str | None = None) -> set[Path]:
        experiment = {"create_experiment_kwargs": {"artifact_location": artifacts}} if artifacts else {}
        settings = {"server": {"mlflow_tracking_uri": uri}, "tracking": {"experiment": experiment}}
        return set(tracking_places(settings, tmp_path).values())

    database, artifacts = tmp_path / "a b/mlflow.db", tmp_path / "a b/mlartifacts"
    assert places(f"sqlite:///{database}", artifacts.as_uri()) == {database, artifacts}
    assert places("mlruns") == {tmp_path / "mlruns"}
    assert places("https://tracking.example", "s3://bucket/artifacts") == set()
    assert tracking_places({}, tmp_path) == {}


@pytest.mark.slow
def test_a_read_only_project_is_named_before_mlflow_is_asked(tmp_path, read_only):
    project = Project(tmp_path)
    (tmp_path / "mlflow.db").unlink()
    project.configure({"data_sets": {"squares": project.draw_squares()}, "adaptations": {}})
    read_only(tmp_path)
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(InputError, match=f"mlflow.db of MLflow, mlartifacts of MLflow: the folder {tmp_path} can't be"):
        project.run_here("ingestion")
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.slow
def test_a_read_only_data_folder_is_named_before_anything_is_done(tmp_path, read_only):
    project = Project(tmp_path)
    project.configure({"data_sets": {"squares": project.draw_squares()}, "adaptations": {}})
    (tmp_path / "data").mkdir()
    read_only(tmp_path / "data")
    with pytest.raises(InputError, match=f"card, examples, pool, test: the folder {tmp_path}/data can't be written to"):
        project.run_here("ingestion")


@pytest.mark.slow
def test_a_project_whose_path_is_a_pattern_is_refused_in_a_line(tmp_path):
    (tmp_path / "my [x] project").mkdir()
    project = Project(tmp_path / "my [x] project")
    done = project.run("--pipelines", "ingestion")
    said = " ".join((done.stdout + done.stderr).split())
    assert done.returncode == 1 and "Traceback" not in said
    assert f"the name of the folder {project.folder} has the character '['" in said


@pytest.mark.slow
def test_a_project_with_blanks_in_its_path_runs(tmp_path):
    (tmp_path / "my project").mkdir()
    project = Project(tmp_path / "my project")
    project.configure({"data_sets": {"squares": project.draw_squares()}, "adaptations": {}})
    done = project.run("--pipelines", "ingestion")
    assert done.returncode == 0, done.stdout + done.stderr
    assert len(project.versions()) == 4


@pytest.mark.parametrize(
    ("value", "place"),
    [("data", "data"), ("../disk/ ", "../disk"), ("/mnt/big", "/mnt/big"), ("memory://bucket/x/", "memory://bucket/x")],
)
def test_data_may_lie_in_any_folder_and_at_any_address_that_a_library_knows(value, place):
    assert data_place(value) == place


def test_data_may_lie_in_a_users_home(monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    assert data_place("~/study") == f"{tmp_path}/study"


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("", "expected a folder or a URL such as s3://bucket/prefix, found ''"),
        (None, "expected a folder or a URL"),
        ("/", "expected a folder or a URL"),
        ("s3:/bucket", "found 's3:/bucket'"),
        ("s3://", "found 's3://'"),
        ("runs[1]", "the name of the folder runs[1] has the character '['"),
        ("cloud://bucket", "cloud://bucket can't be used (Protocol not known: cloud)"),
    ],
)
def test_a_place_for_data_that_cannot_be_used_is_named(value, message):
    with pytest.raises(ConfigError) as error:
        data_place(value)
    assert "globals.yml: data: " in error.value.message and message in error.value.message

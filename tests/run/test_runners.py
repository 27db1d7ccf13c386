"""Runners under which results would not be what they say are refused by name."""

import pytest
from projects import Project

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("runner", ["ParallelRunner", "ThreadRunner"])
def test_a_runner_that_loses_or_mixes_results_is_refused_by_name_before_anything_is_done(tmp_path, runner):
    project = Project(tmp_path)
    done = project.run("--pipelines", "ingestion", "--runner", runner)
    said = " ".join((done.stdout + done.stderr).split())
    assert done.returncode == 1 and "Traceback" not in said
    assert f"The runner {runner} can't be used" in said and "Use SequentialRunner" in said
    assert "MLflow" not in said.partition("Error: ")[2] and not project.stored()

"""Runners under which results would not be what they say are refused by name."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("runner", ["ParallelRunner", "ThreadRunner"])
def test_a_runner_that_loses_or_mixes_results_is_refused_by_name_before_anything_is_done(runner):
    command = [sys.executable, "-m", "kedro", "run", "--pipelines", "ingestion", "--runner", runner]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    said = " ".join((done.stdout + done.stderr).split())
    assert done.returncode == 1 and "Traceback" not in said
    assert f"The runner {runner} can't be used" in said and "Use SequentialRunner" in said
    assert "MLflow" not in said

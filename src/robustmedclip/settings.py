"""Kedro's settings of the project."""

import os

from robustmedclip.run.catalog import FingerprintedCatalog
from robustmedclip.run.config import BenchmarkConfigLoader
from robustmedclip.run.fingerprint_hook import FingerprintHook
from robustmedclip.run.plan_hook import PlanHook
from robustmedclip.run.preflight import PreflightHook
from robustmedclip.run.progress_hook import ProgressHook
from robustmedclip.run.report_hook import ReportHook
from robustmedclip.run.runner_hook import RunnerHook
from robustmedclip.run.session import BenchmarkSession
from robustmedclip.run.tracking_hook import TrackingHook

# Nobody is told of a run unless its user wants it: MLflow would send to its makers what is called, and how often.
os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
# Git may be absent, as in a container, of which MLflow's library would tell a page at every run.
os.environ.setdefault("GIT_PYTHON_REFRESH", "quiet")

CONFIG_LOADER_CLASS = BenchmarkConfigLoader
CONFIG_LOADER_ARGS = {
    "base_env": "base",
    "default_run_env": "local",
    "config_patterns": {
        "parameters": ["parameters*", "parameters*/**", "**/parameters*", "benchmark*"],
        "mlflow": ["mlflow*", "mlflow*/**", "**/mlflow*"],
        "distributed": ["distributed*"],
    },
}
SESSION_CLASS = BenchmarkSession
DATA_CATALOG_CLASS = FingerprintedCatalog
# Kedro calls the hooks that are to be tried first from the last to the first: before a pipeline runs, RunnerHook,
# FingerprintHook, PreflightHook, TrackingHook; when there is a context, PreflightHook, TrackingHook, PlanHook.
HOOKS = (PlanHook(), TrackingHook(), PreflightHook(), FingerprintHook(), ProgressHook(), ReportHook(), RunnerHook())

"""Kedro's settings of the project."""

from robustmedclip.run.catalog import FingerprintedCatalog
from robustmedclip.run.config import BenchmarkConfigLoader
from robustmedclip.run.hooks import FingerprintHook, PreflightHook, ProgressHook, TrackingHook
from robustmedclip.run.plan_hook import PlanHook
from robustmedclip.run.runner_hook import RunnerHook

CONFIG_LOADER_CLASS = BenchmarkConfigLoader
CONFIG_LOADER_ARGS = {
    "base_env": "base",
    "default_run_env": "local",
    "config_patterns": {"parameters": ["parameters*", "parameters*/**", "**/parameters*", "benchmark*"]},
}
DATA_CATALOG_CLASS = FingerprintedCatalog
# Kedro calls the hooks that are to be tried first from the last to the first: RunnerHook before all others.
HOOKS = (PlanHook(), PreflightHook(), FingerprintHook(), TrackingHook(), ProgressHook(), RunnerHook())

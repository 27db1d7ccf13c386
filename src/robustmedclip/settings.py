"""Kedro's settings of the project."""

from robustmedclip.run.catalog import FingerprintedCatalog
from robustmedclip.run.config import BenchmarkConfigLoader, project_root, project_uri
from robustmedclip.run.hooks import FingerprintHook, PreflightHook, ProgressHook, TrackingHook

CONFIG_LOADER_CLASS = BenchmarkConfigLoader
CONFIG_LOADER_ARGS = {
    "base_env": "base",
    "default_run_env": "local",
    "config_patterns": {"parameters": ["parameters*", "parameters*/**", "**/parameters*", "benchmark*"]},
    "custom_resolvers": {"project_root": project_root, "project_uri": project_uri},
}
DATA_CATALOG_CLASS = FingerprintedCatalog
HOOKS = (PreflightHook(), FingerprintHook(), TrackingHook(), ProgressHook())

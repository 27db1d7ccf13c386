"""The order in which hooks are called, which results depend on."""

from kedro.framework.session import KedroSession
from kedro.framework.startup import bootstrap_project
from projects import ROOT


def calls(hook: str) -> list[str]:
    """The plug-ins that have a hook, in the order of their calls; pluggy calls the last of its list first."""
    bootstrap_project(ROOT)
    manager = KedroSession.create(ROOT)._hook_manager
    return [
        type(implementation.plugin).__name__ for implementation in reversed(getattr(manager.hook, hook).get_hookimpls())
    ]


def in_order(names: list[str], *wanted: str) -> bool:
    return [name for name in names if name in wanted] == list(wanted)


def test_before_a_run_runners_are_refused_fingerprints_set_and_inputs_checked_before_mlflow_opens_its_run():
    names = calls("before_pipeline_run")
    assert in_order(
        names, "RunnerHook", "FingerprintHook", "PreflightHook", "TrackingHook", "MlflowHook", "TrackingHook"
    )
    assert in_order(names, "FingerprintHook", "PreflightHook", "ProgressHook")


def test_places_are_checked_and_pipelines_made_before_mlflow_makes_its_database():
    names = calls("after_context_created")
    assert in_order(names, "PreflightHook", "TrackingHook", "MlflowHook")
    assert in_order(names, "PlanHook", "MlflowHook")


def test_results_are_logged_before_mlflow_closes_its_run():
    assert in_order(calls("after_pipeline_run"), "TrackingHook", "MlflowHook")
    assert in_order(calls("on_pipeline_error"), "TrackingHook", "MlflowHook")

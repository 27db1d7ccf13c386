"""Sessions of other environments in one process have plans and pipelines of their own."""

from pathlib import Path

import pytest
from kedro.framework.project import pipelines
from kedro.framework.session import KedroSession
from kedro.framework.startup import bootstrap_project

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("order", [("base", "methods"), ("methods", "base")])
def test_two_sessions_see_each_its_own_plan(order):
    bootstrap_project(ROOT)
    sessions = {env: KedroSession.create(ROOT, env=env) for env in ("base", "methods")}
    contexts = {}
    for env in order:
        contexts[env] = sessions[env].load_context()
        tuned = {model.cell for model in contexts[env].config_loader.plan.tuned_models}
        fitted = [node for node in pipelines["tuning"].nodes if node.short_name == "fit"]
        assert {node.namespace.partition(".")[2] for node in fitted} == tuned
        assert any(cell.startswith("phantom_vit_linear_probe") for cell in tuned) == (env == "methods")
    plans = {env: context.config_loader.plan for env, context in contexts.items()}
    assert plans["base"].seeds == (0,) and plans["methods"].seeds == (0, 1, 2, 3, 4)
    assert contexts["base"].config_loader.plan is plans["base"]

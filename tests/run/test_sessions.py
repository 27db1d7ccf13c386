"""Sessions of other environments in one process have plans and pipelines of their own."""

import pytest
import yaml
from kedro.framework.project import configure_project, pipelines
from kedro.framework.session import KedroSession
from kedro.framework.startup import bootstrap_project
from projects import Project

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("order", [("base", "probes"), ("probes", "base")])
def test_two_sessions_see_each_its_own_plan(tmp_path, order):
    project = Project(tmp_path)
    probe = {"method": "linear-probe", "models": "all", "fractions": [0.1]}
    (tmp_path / "conf/probes").mkdir()
    plan = {"adaptations": {"linear_probe": probe}, "seeds": [0, 1, 2]}
    (tmp_path / "conf/probes/benchmark.yml").write_text(yaml.safe_dump(plan))
    bootstrap_project(project.folder)
    sessions = {env: KedroSession.create(project.folder, env=env) for env in ("base", "probes")}
    contexts = {}
    for env in order:
        contexts[env] = sessions[env].load_context()
        tuned = {model.namespace for model in contexts[env].config_loader.plan.tuned_models}
        fitted = [node for node in pipelines["tuning"].nodes if node.short_name == "fit"]
        assert {node.namespace.partition(".")[2] for node in fitted} == tuned
        assert any(name.startswith("phantom_vit.linear_probe") for name in tuned) == (env == "probes")
    plans = {env: context.config_loader.plan for env, context in contexts.items()}
    assert plans["base"].seeds == (0,) and plans["probes"].seeds == (0, 1, 2)
    assert contexts["base"].config_loader.plan is plans["base"]
    configure_project("robustmedclip")

"""What a run says of options by which no node can be chosen."""

import shlex

import pytest
from kedro.framework.cli import project
from kedro.pipeline import Node, Pipeline
from projects import Project

from robustmedclip.pipelines import overview
from robustmedclip.run.selection import command, selection_problems


def node(name: str, namespace: str, source: str, target: str) -> Node:
    return Node(lambda value: value, source, target, name=name, namespace=namespace)


INGESTION = Pipeline([node("ingest", f"ingestion.{name}", f"raw-{name}", f"test-{name}") for name in ("oct", "cells")])
SCORING = Pipeline(
    [node("score", f"evaluation.vit.{name}", f"test-{name}", f"logits-{name}") for name in ("oct", "cells")]
)
PIPELINES = {"ingestion": INGESTION, "evaluation": SCORING, "tuning": Pipeline([]), "benchmark": INGESTION + SCORING}


@pytest.mark.parametrize(
    "options, problem",
    [
        ({"pipeline_names": ["ingestoin"]}, "--pipelines: unknown 'ingestoin'; did you mean 'ingestion'?"),
        ({"pipeline_name": "ingestoin"}, "--pipelines: unknown 'ingestoin'; did you mean 'ingestion'?"),
        ({"tags": ("x",)}, "--tags: unknown 'x'; there are none: choose by --pipelines, --namespaces or --nodes"),
        (
            {"node_names": ("score",)},
            "--nodes: unknown 'score'; did you mean 'evaluation.vit.cells.score'? (2 names end in this)",
        ),
        ({"namespaces": ["evaluation.vti"]}, "--namespaces: unknown 'evaluation.vti'; did you mean 'evaluation.vit'?"),
        ({"to_outputs": ["logits-otc"]}, "--to-outputs: unknown 'logits-otc'; did you mean 'logits-oct'?"),
        (
            {"pipeline_names": ["ingestion"], "from_nodes": ["zzz"]},
            "--from-nodes: unknown 'zzz'; known are ingestion.cells.ingest, ingestion.oct.ingest",
        ),
        (
            {"namespaces": ["ingestion"], "node_names": ["evaluation.vit.oct.score"]},
            "--nodes, --namespaces: no node meets all of them; leave one out",
        ),
        (
            {"pipeline_names": ["tuning"]},
            "tuning: nothing is to do under this plan, for no adaptation in it is trained",
        ),
    ],
)
def test_a_choice_that_nothing_meets_is_named_with_what_was_probably_meant(options, problem):
    (line,) = selection_problems(options, PIPELINES)
    assert line.startswith(problem)


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"pipeline_names": ["tuning", "evaluation"]},
        {"namespaces": ["evaluation.vit"], "to_outputs": ["logits-oct"]},
        {"node_names": ["ingestion.oct.ingest"], "tags": ()},
    ],
)
def test_a_choice_that_nodes_meet_is_no_problem(options):
    assert selection_problems(options, PIPELINES) == []


def test_every_name_is_reported_at_once():
    assert len(selection_problems({"node_names": ["a", "b"], "to_outputs": ["c"]}, PIPELINES)) == 3


@pytest.mark.slow
def test_a_run_ends_in_the_message_alone(tmp_path):
    project = Project(tmp_path)
    project.configure({"data_sets": {"squares": project.draw_squares()}, "adaptations": {}})
    for arguments, message in {
        ("--pipelines", "evalution"): "unknown 'evalution'; did you mean 'evaluation'?",
        ("--runner", "robustmedclip.run.DaskRuner"): "did you mean 'robustmedclip.run.DaskRunner'?",
        ("--runner", "DaskRuner"): "unknown runner 'DaskRuner'; did you mean 'DaskRunner'?",
        ("--runner", "kedro.runner.SequentalRunner"): "did you mean 'kedro.runner.SequentialRunner'?",
        ("--runner", "robustmedclip.errors.InputError"): "robustmedclip.errors.InputError is no runner",
        ("--runner-params", "wokers=2"): "unexpected keyword argument 'wokers'",
        ("--env", "metods"): "There is no environment 'metods'",
        ("--params", "seeed=3"): "unknown 'seeed'; did you mean 'seeds'?",
        ("--pipeline", "tuning"): "tuning: nothing is to do under this plan",
        ("--tags", "x"): "--tags: unknown 'x'",
    }.items():
        done = project.run(*arguments)
        said = " ".join((done.stdout + done.stderr).split())
        assert done.returncode == 1 and message in said and "Traceback" not in said
    assert not list(tmp_path.glob("data/**/*"))


def test_the_overview_is_not_run():
    pipelines = {"overview": overview.create_pipeline()}
    (problem,) = selection_problems({"pipeline_names": ["overview"]}, pipelines)
    assert "kedro run --pipeline benchmark" in problem


@pytest.mark.parametrize(
    "line",
    [
        "kedro run --pipelines benchmark",
        "kedro run --env methods --pipelines evaluation,reporting --params 'a.b=1,c=x y' --only-missing-outputs",
        "kedro run --pipelines benchmark --tags a,b --nodes n --from-nodes f --to-nodes t --namespaces evaluation.vit "
        "--from-inputs i --to-outputs o --load-versions metrics:2026-01-02T03.04.05.678Z",
    ],
)
def test_a_run_can_be_said_as_the_command_that_it_was(line):
    options = project.run.make_context("run", shlex.split(line)[2:]).params
    assert command(options | {"pipeline_names": options["pipelines"], "runtime_params": options["params"]}) == line

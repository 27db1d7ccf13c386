"""Which nodes can run, in which order, and what follows from one that fails."""

from kedro.pipeline import Node, Pipeline

from robustmedclip.pipelines.bind import without
from robustmedclip.run.distributed.schedule import Schedule, longest_paths


def nothing(*_):
    return None


def node(name: str, inputs: list[str], outputs: list[str], *kinds: str) -> Node:
    return Node(nothing, inputs, outputs, name=name, tags=without(*kinds))


#: Two models are scored on what is drawn; the report may lack either's logits.
DRAW, TUNE = node("draw", ["raw"], ["images"]), node("tune", ["images"], ["adapter"])
FIRST, SECOND = node("first", ["images"], ["logits-a"]), node("second", ["adapter"], ["logits-b"])
METRICS = node("metrics", ["logits-a", "logits-b", "images"], ["metrics"], "logits")
PAGE = node("page", ["metrics"], ["page"])
PIPELINE = Pipeline([DRAW, TUNE, FIRST, SECOND, METRICS, PAGE])
SECONDS = {DRAW: 1, TUNE: 5, FIRST: 2, SECOND: 2, METRICS: 1, PAGE: 1}


def run_all(schedule: Schedule, failing: set[Node]) -> list[str]:
    ran = []
    while ready := schedule.ready():
        for one in ready:
            ran.append(one.name)
            if one in failing:
                schedule.failed(one, "it is too hard")
            else:
                schedule.finished(one)
    return ran


def test_nodes_run_when_their_inputs_are_made_the_longest_way_to_the_end_first():
    assert longest_paths(PIPELINE, SECONDS)[DRAW] == 10
    schedule = Schedule(PIPELINE, SECONDS)
    assert run_all(schedule, set()) == ["draw", "tune", "first", "second", "metrics", "page"]
    assert not schedule.failures and not schedule.incomplete and schedule.may_pass


def test_what_needs_a_failed_node_does_not_run_and_all_else_does():
    schedule = Schedule(PIPELINE, SECONDS)
    assert run_all(schedule, {TUNE}) == ["draw", "tune", "first"]
    assert schedule.failures == {TUNE: "it is too hard"} and not schedule.may_pass
    assert {one.name for one in schedule.given_up} == {"second", "metrics", "page"}


def test_where_nodes_may_fail_the_report_is_made_without_them_and_known_as_incomplete():
    schedule = Schedule(PIPELINE, SECONDS, allowed_failures=1)
    assert run_all(schedule, {TUNE}) == ["draw", "tune", "first", "metrics", "page"]
    assert schedule.lacks(METRICS) == {"logits-b"} and schedule.incomplete == {"metrics", "page"}
    assert schedule.may_pass


def test_a_report_that_lacks_more_than_it_may_is_not_made():
    schedule = Schedule(PIPELINE, SECONDS, allowed_failures=1)
    assert run_all(schedule, {DRAW}) == ["draw"]
    assert not schedule.may_pass


def test_more_failures_than_are_allowed_fail_the_run():
    schedule = Schedule(PIPELINE, SECONDS, allowed_failures=1)
    assert "metrics" not in run_all(schedule, {FIRST, TUNE})
    assert not schedule.may_pass

"""Two nodes at a time, each in a process: real processes, and nodes that take no time."""

import logging
import os
import signal
import time
from multiprocessing.process import BaseProcess
from multiprocessing.util import Finalize
from pathlib import Path
from types import SimpleNamespace

import pytest
from kedro.framework.hooks import hook_impl
from kedro.framework.hooks.manager import _create_hook_manager
from kedro.framework.project import pipelines
from kedro.framework.session import KedroSession
from kedro.framework.startup import bootstrap_project
from kedro.io import MemoryDataset
from kedro.io.core import Version
from kedro.pipeline import Node, Pipeline
from kedro_datasets.json import JSONDataset

from robustmedclip.errors import InputError
from robustmedclip.io import TrainingCheckpointDataset
from robustmedclip.run import processes, two_nodes_runner
from robustmedclip.run.catalog import FingerprintedCatalog
from robustmedclip.run.estimates import estimated_seconds
from robustmedclip.run.processes import Processes, elsewhere, prepare_processes
from robustmedclip.run.two_nodes_runner import TwoNodesRunner

ROOT = Path(__file__).parents[2]


class Spy:
    """Hooks that note where they are called."""

    def __init__(self):
        self.calls, self.rows = [], []

    @hook_impl
    def before_node_run(self, node, inputs):
        self.calls.append(("before", node.name, os.getpid(), dict(inputs)))
        if "checkpoint-model" in inputs:
            inputs["checkpoint-model"].listeners.append(self.rows.append)

    @hook_impl
    def after_node_run(self, node):
        self.calls.append(("after", node.name, os.getpid(), None))

    @hook_impl
    def on_node_error(self, node, error):
        self.calls.append(("error", node.name, os.getpid(), str(error)))


@pytest.fixture(scope="module", autouse=True)
def imports():
    """The processes of these tests import torch once for all."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(processes._Prepared, "is_so", False)
        prepare_processes()
        yield


@pytest.fixture
def run(tmp_path, monkeypatch):
    """A function that runs nodes whose outputs are JSON files, and gives the catalog and the calls of hooks."""
    monkeypatch.setattr(two_nodes_runner, "_LONG", 0)
    monkeypatch.setattr(two_nodes_runner, "cores", lambda: 2)

    def run(*nodes, plan="a plan"):
        pipeline, hooks, spy = Pipeline(nodes), _create_hook_manager(), Spy()
        hooks.register(spy)
        version = Version(None, "2026-01-01T00.00.00.000Z")
        entries = {
            name: JSONDataset(filepath=str(tmp_path / f"{name}.json"), version=version)
            for name in pipeline.all_outputs()
        }
        catalog = FingerprintedCatalog(
            entries
            | {
                "params:plan": MemoryDataset(plan),
                "checkpoint-model": TrainingCheckpointDataset(filepath=str(tmp_path / "adapter")),
            }
        )
        catalog.fingerprints = {name: f"{name} of {plan}" for name in pipeline.all_outputs()}
        runner = TwoNodesRunner()
        runner.prepare(SimpleNamespace(project_path=ROOT))
        try:
            runner._run(pipeline, catalog, hooks, version.save)
        finally:
            run.spy = spy
        return catalog

    return run


def node(function, inputs, outputs):
    return Node(function, inputs, outputs, name=f"{function.__name__}-{outputs}")


def process_of(*_):
    return os.getpid()


def who_and_when(*_):
    started = time.time()
    time.sleep(0.5)
    return [os.getpid(), started, time.time()]


def copy(value, *_):
    logging.getLogger("robustmedclip.test").warning("copying")
    return value


def train(checkpoint):
    checkpoint.record({"epoch": 1, "training_loss": 0.5})
    return "trained"


def leave_at_the_end(path, _):
    Finalize(None, Path(path).touch, exitpriority=0)
    return path


def fail(plan):
    raise InputError(f"{plan} can't be done")


def stumble(plan):
    return plan / 2


def die(plan):
    os.kill(os.getpid(), signal.SIGKILL)


def sleep(plan):
    time.sleep(60)


def test_two_nodes_run_at_a_time_in_processes_of_their_own_and_what_needs_both_after_them(run, caplog):
    nodes = [node(who_and_when, "params:plan", name) for name in "ab"] + [node(copy, ["a", "b"], "c")]
    catalog = run(*nodes)
    (first, *times), (second, *others) = catalog.load("a"), catalog.load("b")
    assert len({first, second, os.getpid()}) == 3
    assert max(times[0], others[0]) < min(times[1], others[1])
    assert catalog.load("c") == [first, *times]
    assert {call[2] for call in run.spy.calls} == {os.getpid()}
    assert run.spy.calls[0][3] == {"params:plan": "a plan"} and run.spy.calls[-1][:2] == ("after", "copy-c")
    assert "copying" in caplog.messages


def test_a_process_goes_on_with_what_its_last_node_has_made_or_read(run):
    catalog = run(
        *(node(who_and_when, "params:plan", model) for model in "ab"),
        *(node(who_and_when, model, f"{model}{number}") for number in (1, 2) for model in "ab"),
    )
    for model in "ab":
        assert len({catalog.load(name)[0] for name in (model, f"{model}1", f"{model}2")}) == 1


def test_after_a_training_and_for_the_report_of_an_evaluation_a_process_begins_afresh(run):
    def in_stage(stage, inputs, output):
        return Node(process_of, inputs, output, name=output, namespace=stage)

    catalog = run(
        in_stage("evaluation", "params:plan", "a"),
        in_stage("tuning", ["a", "checkpoint-model"], "b"),
        in_stage("evaluation", "b", "c"),
        in_stage("evaluation", "c", "d"),
        in_stage("reporting", "d", "e"),
    )
    a, b, c, d, e = map(catalog.load, "abcde")
    assert a == b and c == d
    assert len({b, c, e}) == 3


def test_a_process_that_is_replaced_ends_by_itself_so_that_nothing_of_the_system_is_left_over(run, tmp_path):
    mark = tmp_path / "ended"
    run(node(leave_at_the_end, ["params:plan", "checkpoint-model"], "a"), node(copy, "a", "b"), plan=str(mark))
    assert mark.exists()


def test_if_one_process_cannot_be_started_the_one_before_it_ends(monkeypatch):
    began, start = [], BaseProcess.start

    def start_one(process):
        if began:
            raise OSError("no more processes")
        start(process)
        began.append(process)

    monkeypatch.setattr(BaseProcess, "start", start_one)
    with pytest.raises(OSError, match="no more processes"), Processes(2, ROOT, 1):
        pass
    assert not began[0].is_alive()


def test_rows_of_a_training_are_told_while_it_runs(run):
    run(node(train, "checkpoint-model", "a"))
    assert run.spy.rows == [{"epoch": 1, "training_loss": 0.5}]


@pytest.mark.parametrize(
    ("function", "kind", "said"),
    [
        (fail, InputError, "a plan can't be done"),
        (stumble, RuntimeError, "in stumble"),
        (die, InputError, "--runner SequentialRunner"),
    ],
)
def test_a_node_that_fails_ends_the_run_with_its_error_and_the_other_process_at_once(run, function, kind, said):
    started = time.monotonic()
    with pytest.raises(kind, match=said):
        run(node(sleep, "params:plan", "a"), node(function, "params:plan", "b"))
    assert run.spy.calls[-1][:2] == ("error", f"{function.__name__}-b")
    assert time.monotonic() - started < 30


def test_a_short_run_and_one_whose_nodes_cannot_leave_this_process_have_no_other(run, monkeypatch):
    assert run(Node(lambda plan: os.getpid(), "params:plan", "a", name="a")).load("a") == os.getpid()
    monkeypatch.setattr(two_nodes_runner, "_LONG", 90)
    assert run(node(who_and_when, "params:plan", "b")).load("b")[0] == os.getpid()


def warn_and_tell(word):
    logging.getLogger("robustmedclip.test").warning("telling %s", word)
    return word, os.getpid()


def test_what_needs_torch_is_asked_elsewhere_with_its_log_and_its_errors(caplog):
    word, process = elsewhere(warn_and_tell, "this")
    assert (word, process != os.getpid()) == ("this", True)
    assert [record.getMessage() for record in caplog.records] == ["telling this"]
    with pytest.raises(InputError, match="that can't be done"):
        elsewhere(fail, "that")
    with pytest.raises(InputError, match="that ran die died"):
        elsewhere(die, None)


def test_nodes_that_wait_begin_before_hooks_are_told_of_the_last(run):
    run(node(who_and_when, "params:plan", "a"), node(who_and_when, "a", "b"))
    assert [call[:2] for call in run.spy.calls] == [
        ("before", "who_and_when-a"),
        ("before", "who_and_when-b"),
        ("after", "who_and_when-a"),
        ("after", "who_and_when-b"),
    ]


def test_the_default_benchmark_is_a_long_run():
    bootstrap_project(ROOT)
    with KedroSession.create(ROOT) as session:
        catalog = session.load_context().catalog
        seconds = estimated_seconds(pipelines["benchmark"].nodes, catalog)
    assert sum(seconds.values()) > two_nodes_runner._LONG

"""Nodes that run on the workers of a Dask cluster: real processes, and nodes that take no time."""

import json
import os
import shlex
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from types import SimpleNamespace

import pytest
from kedro.framework.hooks import hook_impl
from kedro.framework.hooks.manager import _create_hook_manager
from kedro.io import MemoryDataset
from kedro.io.core import Version
from kedro.pipeline import Node, Pipeline
from kedro_datasets.json import JSONDataset
from platforms import posix_only

from robustmedclip.errors import InputError
from robustmedclip.io import TrainingCheckpointDataset
from robustmedclip.io.versioned import AtomicDataset
from robustmedclip.pipeline_registry import pipelines_of
from robustmedclip.pipelines.bind import RUNS_NETWORK, bind, without
from robustmedclip.plan.reading import read_plan
from robustmedclip.run import DaskRunner
from robustmedclip.run.catalog import FingerprintedCatalog
from robustmedclip.run.distributed.clusters import PRELOAD, LocalCluster, RunningCluster, SlurmCluster
from robustmedclip.run.distributed.settings import Distributed, read_distributed
from robustmedclip.run.distributed.worker import run_node
from robustmedclip.run.estimates import function_name

pytestmark = pytest.mark.slow

pytest.importorskip("distributed")

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def client():
    """Three workers: two with a GPU each, as far as Dask knows, and one without."""
    cluster = LocalCluster(workers=3, threads=1)
    patch = pytest.MonkeyPatch()
    patch.setattr("robustmedclip.run.distributed.clusters.visible_gpus", lambda: ["0", "1"])
    with cluster.client(ROOT) as client:
        patch.undo()
        client.wait_for_workers(3)
        yield client


class Spy:
    """Hooks that note where they are called."""

    def __init__(self):
        self.calls = []

    @hook_impl
    def before_node_run(self, node, inputs):
        self.calls.append(("before", node.name, os.getpid(), dict(inputs)))

    @hook_impl
    def after_node_run(self, node):
        self.calls.append(("after", node.name, os.getpid(), None))

    @hook_impl
    def on_node_error(self, node, error):
        self.calls.append(("error", node.name, os.getpid(), str(error)))


class Run:
    """A run of nodes whose outputs are JSON files, versioned, with fingerprints."""

    def __init__(self, folder: Path, client, version: str, **settings):
        self.folder, self.version, self.spy = folder, version, Spy()
        self._cluster = RunningCluster(address=client.scheduler.address)
        self.runner = DaskRunner()
        self.runner._settings = Distributed(**settings).model_copy(update={"cluster": self._cluster})
        self.runner._project = ROOT

    def __call__(self, nodes, plan="", **datasets) -> FingerprintedCatalog:
        pipeline, hooks = Pipeline(nodes), _create_hook_manager()
        hooks.register(self.spy)
        entries = {
            name: JSONDataset(filepath=str(self.folder / f"{name}.json"), version=Version(None, self.version))
            for name in pipeline.all_outputs()
        }
        self.catalog = FingerprintedCatalog(entries | {"params:plan": MemoryDataset(plan)} | datasets)
        self.catalog.fingerprints = {name: f"{name} of {plan}" for name in pipeline.all_outputs()}
        for name in entries:  # as the preflight does, by which Kedro believes to know the newest version
            self.catalog.exists(name)
        self.runner._run(pipeline, self.catalog, hooks, self.version)
        return self.catalog


@pytest.fixture
def run(tmp_path, client):
    client.wait_for_workers(3)  # those that a test has killed come again
    return lambda version="2026-01-01T00.00.00.000Z", **settings: Run(tmp_path, client, version, **settings)


def write(plan, *_):
    return f"made of {plan}"


def with_settings(plan, **settings):
    return plan


def copy(value, *_):
    return f"copy of {value}"


def who_and_when(seconds, *_):
    started = time.time()
    time.sleep(seconds)
    return [os.getpid(), started, time.time()]


def node(function, inputs, outputs, name, stage="stage", **options):
    return Node(function, inputs, outputs, name=name, namespace=stage, **options)


CHAIN = [node(write, "params:plan", "a", "first", "one"), node(copy, "a", "b", "second", "two")]


def test_a_worker_reads_what_this_run_has_made_where_an_older_version_of_another_plan_lies(run):
    for version, plan in [("2026-01-01T00.00.00.000Z", "old plan"), ("2026-01-02T00.00.00.000Z", "new plan")]:
        catalog = run(version)(CHAIN, plan)
        assert catalog.load("b") == f"copy of made of {plan}"


def test_workers_know_the_project_and_one_that_does_not_says_how_it_is_started(client, monkeypatch):
    def package():
        from kedro.framework import project

        return project.PACKAGE_NAME

    assert {*client.run(package).values()} == {"robustmedclip"}
    monkeypatch.setattr("kedro.framework.project.PACKAGE_NAME", None)
    assert f"--preload {PRELOAD}" in run_node(CHAIN[0], FingerprintedCatalog(), None)


def page_faults_of_a_buffer_used_again(megabytes=8, times=20):
    """How often a process gets a page from the system, on average, for a buffer of a size that it has just freed."""
    import resource

    import numpy as np

    before = 0
    for turn in range(times):
        if turn == 1:
            before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
        np.full(megabytes * 2**20, turn, np.uint8)
    return (resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before) / (times - 1)


@pytest.mark.skipif(sys.platform != "linux", reason="glibc's allocator")
def test_workers_keep_the_memory_of_a_freed_tensor_for_the_next(client):
    pages = 8 * 2**20 / os.sysconf("SC_PAGE_SIZE")
    faults = client.run(page_faults_of_a_buffer_used_again)
    assert max(faults.values()) < 0.1 * pages


def test_hooks_are_called_in_the_driver_alone_with_the_parameters_and_mlflow_is_not_in_workers(client, run):
    one = run()
    one(CHAIN, "plan")
    assert [call[:3] for call in one.spy.calls] == [
        (when, name, os.getpid()) for name in ("one.first", "two.second") for when in ("before", "after")
    ]
    assert one.spy.calls[0][3] == {"params:plan": "plan"}
    assert not any(client.run(lambda: "mlflow" in sys.modules).values())


def note_preflights():
    """Let a process note every preflight that it makes."""
    from robustmedclip.run.preflight import PreflightHook

    noted = []
    PreflightHook.before_pipeline_run = lambda *_, **__: noted.append(1)
    sys.modules["noted_preflights"] = noted


def noted_preflights():
    return len(sys.modules["noted_preflights"])


def test_workers_trust_the_preflight_of_the_driver(client, run):
    client.run(note_preflights)
    run()([Node(copy, "params:plan", "first", name="first"), Node(copy, "first", "second", name="second")])
    assert {*client.run(noted_preflights).values()} == {0}


def test_what_workers_save_has_its_fingerprint_and_checksums(run):
    catalog = run()(CHAIN, "plan")
    assert catalog.exists("a") and catalog.exists("b")
    for name in ("a", "b"):
        (record,) = (Path(catalog["a"]._filepath).parent / f"{name}.json").rglob(".fingerprint")
        assert json.loads(record.read_text())["blake2b"].keys() == {f"{name}.json"}


def test_a_node_of_a_stage_on_gpus_has_one_for_itself_and_no_worker_without_gets_any(client, run):
    numbers = range(6)
    one = run()
    trainings = [node(who_and_when, "params:plan", f"t{i}", f"t{i}", "tuning", tags=RUNS_NETWORK) for i in numbers]
    others = [node(who_and_when, "params:plan", f"o{i}", f"o{i}", "ingestion") for i in numbers]
    catalog = one([*trainings, *others], 0.05)
    with_gpu = {
        worker["pid"]
        for worker in client.run(lambda dask_worker: {"pid": os.getpid(), **dask_worker.state.total_resources}).values()
        if worker.get("GPU")
    }
    spans = [catalog.load(f"t{i}") for i in numbers]
    assert len(with_gpu) == 2 and {pid for pid, *_ in spans} <= with_gpu
    for pid in with_gpu:
        of_gpu = sorted(span[1:] for span in spans if span[0] == pid)
        assert all(end <= start for (_, end), (start, _) in zip(of_gpu, of_gpu[1:], strict=False))


def train(checkpoint, killed):
    """Ten epochs; after the fourth the process is killed, once."""
    import robustmedclip.io.checkpoint as module
    from robustmedclip.adaptation.checkpoint import TrainingState

    module._SECONDS_BETWEEN_CHECKPOINTS = 0
    checkpoint.open("key")
    last = checkpoint.last()
    history = [dict(row) for row in last.history] if last else []
    resumed = len(history)
    for epoch in range(len(history), 10):
        history.append({"epoch": epoch})
        checkpoint.record(history[-1], lambda: TrainingState(history, 0, {}))
        die_once(killed, epoch == 3)
    return [resumed, len(history)]


def die_once(marker, now=True):
    if now and not Path(marker).exists():
        Path(marker).touch()
        os.kill(os.getpid(), signal.SIGKILL)


class DyingWhileWriting(AtomicDataset):
    """Its first writer is killed in the middle."""

    def _write(self, path, data):
        path.write_text("half")
        die_once(f"{self._filepath}.killed")
        path.write_text(data)

    def _read(self, path):
        return path.read_text()


@posix_only
def test_a_killed_worker_costs_its_node_alone_and_a_training_goes_on_after_its_last_epoch(tmp_path, run):
    nodes = [
        node(train, ["checkpoint-x", "params:marker"], "trained", "train", "tuning"),
        node(write, "params:plan", "half", "write"),
        node(copy, "half", "whole", "copy"),
    ]
    half = DyingWhileWriting(filepath=str(tmp_path / "half"), version=Version(None, "2026-01-01T00.00.00.000Z"))
    catalog = run()(
        nodes,
        "plan",
        half=half,
        **{
            "checkpoint-x": TrainingCheckpointDataset(filepath=str(tmp_path / "x")),
            "params:marker": MemoryDataset(str(tmp_path / "trainer killed")),
        },
    )
    assert catalog.load("trained") == [4, 10]
    assert catalog.load("whole") == "copy of made of plan"
    assert (tmp_path / "trainer killed").exists() and (tmp_path / "half.killed").exists()
    assert {file.name for file in (tmp_path / "half").rglob("*") if file.is_file()} == {"half", ".fingerprint"}


def raise_error(log, kind):
    with open(log, "a") as file:
        file.write("tried\n")
    raise {"input": InputError, "other": ValueError}[kind]("it is too hard")


def metrics(first, second):
    return [first, second]


def test_what_fails_for_good_is_named_when_all_else_is_done_and_only_what_a_retry_may_mend_is_tried_again(
    tmp_path, run
):
    logs = {kind: tmp_path / kind for kind in ("input", "other")}
    failing = [node(bind(raise_error, kind=kind), f"params:{kind}", f"logits-{kind}", kind) for kind in logs]
    after = [
        node(metrics, ["logits-input", "a"], "m", "metrics", tags=without("logits")),
        node(copy, "logits-other", "c", "needs_it"),
    ]
    given = {f"params:{kind}": MemoryDataset(str(log)) for kind, log in logs.items()}
    one = run(retries=1)
    with pytest.raises(InputError) as caught:
        one([*CHAIN, *failing, *after], "plan", **given)
    message = caught.value.message
    assert "Failed: 2 nodes" in message and "stage.input: it is too hard" in message
    assert "stage.other: ValueError: it is too hard" in message and "--only-missing-outputs" in message
    assert "stage.metrics" in message and "stage.needs_it" in message
    assert one.catalog.load("b") == "copy of made of plan"
    assert [log.read_text().count("tried") for log in logs.values()] == [1, 2]


def test_within_the_allowed_failures_what_may_lack_an_input_is_made_without_it_and_is_stale(tmp_path, run):
    failing = node(bind(raise_error, kind="input"), "params:log", "logits-x", "score")
    after = node(metrics, ["logits-x", "a"], "m", "metrics", tags=without("logits"))
    log = {"params:log": MemoryDataset(str(tmp_path / "log"))}
    catalog = run(allowed_failures=1)([*CHAIN, failing, after], "plan", **log)
    assert catalog.load("m") == [None, "made of plan"]
    assert catalog.exists("a") and not catalog.exists("m")


def test_what_lies_in_memory_between_nodes_is_refused_by_name(run):
    with pytest.raises(InputError, match="a: these lie in the memory"):
        run()(CHAIN, a=MemoryDataset())


def test_a_resource_that_no_worker_offers_is_named(run):
    with pytest.raises(InputError, match="no worker offers TPU; offered are GPU, NODE"):
        run(resources={"one": {"TPU": 1}})(CHAIN, "plan")


def test_what_can_not_be_sent_to_a_worker_is_named(run):
    with pytest.raises(InputError, match="one.first can't be sent"):
        run()([node(bind(with_settings, lock=threading.Lock()), "params:plan", "a", "first", "one")])


@pytest.fixture
def scheduler(tmp_path):
    """A scheduler in a process of its own, which gives a node up when one worker died, and a worker; their client."""
    from distributed import Client

    file, running = tmp_path / "scheduler.json", []
    environment = {**os.environ, "DASK_DISTRIBUTED__SCHEDULER__ALLOWED_FAILURES": "0"}
    environment["PYTHONPATH"] = os.pathsep.join(sys.path)
    cluster = [str(file), "--no-dashboard"]
    commands = (
        ["scheduler", "--host", "127.0.0.1", "--port", "0", "--scheduler-file", *cluster],
        ["worker", "--nthreads", "1", "--preload", PRELOAD, "--scheduler-file", *cluster],
    )
    for command in commands:
        call = [sys.executable, "-m", "dask", *command]
        running.append(subprocess.Popen(call, cwd=ROOT, env=environment, start_new_session=True))
        while not file.exists():
            time.sleep(0.1)
    with Client(scheduler_file=str(file)) as client:
        client.wait_for_workers(1)
        yield client
    for process in reversed(running):
        os.killpg(process.pid, signal.SIGTERM)
        process.wait()


def die(log, times):
    """Kill the process that runs it, so many times."""
    with open(log, "a") as file:
        file.write("tried\n")
    if Path(log).read_text().count("tried") <= times:
        os.kill(os.getpid(), signal.SIGKILL)
    return times


@posix_only
def test_retries_hold_for_a_scheduler_that_runs_already_whatever_its_own_setting(tmp_path, scheduler):
    given = {f"params:{name}": MemoryDataset(str(tmp_path / name)) for name in ("once", "always")}
    dying = [
        node(bind(die, times=1), "params:once", "a", "once", "one"),
        node(bind(die, times=9), "params:always", "b", "always", "one"),
    ]
    one = Run(tmp_path, scheduler, "2026-01-01T00.00.00.000Z", retries=1)
    with pytest.raises(InputError, match="all others are done:\n.*one.always: the workers that ran it died"):
        one(dying, **given)
    assert one.catalog.load("a") == 1
    assert (tmp_path / "always").read_text().count("tried") == 2


def context(**files):
    return SimpleNamespace(config_loader=files, project_path=ROOT)


SLURM = {
    "type": "slurm",
    "workers": 8,
    "cores": 8,
    "memory": "32 GB",
    "walltime": "08:00:00",
    "queue": "gpu",
    "account": "robust",
}


@pytest.mark.parametrize("address", ["sqlite:////somewhere/mlflow.db", "mlruns", "file:///somewhere/mlruns"])
def test_a_store_in_files_is_refused_where_workers_are_elsewhere_with_what_to_do(address):
    mlflow = {"server": {"mlflow_tracking_uri": address}}
    with pytest.raises(InputError, match="mlflow_tracking_uri: http://"):
        DaskRunner().prepare(context(distributed={"cluster": SLURM}, mlflow=mlflow))
    DaskRunner().prepare(context(distributed={"cluster": {"type": "local"}}, mlflow=mlflow))
    server = {"server": {"mlflow_tracking_uri": "http://tracking:5000"}}
    DaskRunner().prepare(context(distributed={"cluster": SLURM}, mlflow=server))


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"cluster": {"type": "slrum"}}, "cluster.type: unknown 'slrum'; did you mean 'slurm'?"),
        ({"cluster": {"wokers": 2}}, "cluster: unknown 'wokers'; did you mean 'workers'?"),
        ({"cluster": {"workers": 0}}, "cluster.workers: expected an integer of 1 or more, found 0"),
        ({"cluster": {"type": "address"}}, "cluster: missing address"),
        ({"cluster": 3}, "cluster: expected a type with its settings, found 3"),
        ({"retry": 2}, "unknown 'retry'; did you mean 'retries'?"),
        ({"resources": {"tuning": 1}}, "resources: expected stages mapped to resources"),
        ({"resources": {"tunning": {"GPU": 1}}}, "resources: unknown 'tunning'; did you mean 'tuning'?"),
        ({"allowed_failures": -1}, "allowed_failures: expected an integer of 0 or more"),
    ],
)
def test_a_wrong_setting_is_named_with_what_was_meant(settings, said):
    with pytest.raises(InputError) as caught:
        read_distributed(settings)
    assert said in caught.value.message


def test_settings_of_the_command_line_replace_those_of_the_file():
    runner = DaskRunner(cluster={"workers": 3})
    runner.prepare(context(distributed={"cluster": {"type": "local", "threads": 2}, "retries": 1}))
    assert (runner._settings.cluster, runner._settings.retries) == (LocalCluster(workers=3, threads=2), 1)


PLAN = {
    "data_sets": {"oct": {"modality": "OCT", "source": {"type": "folder", "filepath": "oct"}}},
    "corruptions": {"suite": "medimeta-c", "names": ["contrast"]},
    "models": {"phantom_vit": {"source": {"type": "open_clip", "path": "package:models/phantom_vit"}}},
    "methods": {"lora": {"type": "lora"}, "linear-probe": {"type": "linear_probe"}},
    "adaptations": {
        "lora": {"method": "lora", "models": "all", "fractions": [0.1]},
        "probe": {"method": "linear-probe", "models": "all", "fractions": [0.1]},
    },
    "shards": 2,
    "templates": ["{class_name}"],
    "seeds": [0],
    "baseline": "phantom_vit",
}


def test_nodes_that_run_a_network_ask_for_a_gpu_where_workers_offer_any_and_no_other_does():
    stages = pipelines_of(read_plan(PLAN), ["phantom_vit"])
    nodes = (stages["benchmark"] + stages["calibration"] + stages["pretraining"]).nodes
    settings, gpus = Distributed(), frozenset({"GPU"})
    asking = [each for each in nodes if settings.resources_of(each, gpus) == {"GPU": 1}]
    assert {function_name(each) for each in asking} == {
        *("encode_shots", "fit", "encode", "encode_and_score", "score", "fit_temperatures", "measure_likeness"),
        "pretrain_model",
    }
    others = {function_name(each) for each in nodes if each not in asking}
    assert others >= {"join_features", "join_logits", "fit_head", "score"}
    heads = [each for each in nodes if function_name(each) == "score" and each not in asking]
    assert heads and all(any(name.startswith("head") for name in each.inputs) for each in heads)
    assert not any(settings.resources_of(each, frozenset()) for each in nodes)


def test_of_a_stage_that_is_to_have_gpus_only_nodes_that_run_a_network_take_one_and_all_take_other_resources():
    settings, offered = Distributed(resources={"stage": {"GPU": 1, "SSD": 2}}), frozenset({"GPU", "SSD"})
    for tags, taken in (({RUNS_NETWORK}, {"GPU": 1, "SSD": 2}), (set(), {"SSD": 2})):
        assert settings.resources_of(node(write, "params:plan", "a", "first", tags=tags), offered) == taken


def test_a_job_of_slurm_asks_for_its_gpu_and_memory_and_starts_a_worker_that_knows_the_project(tmp_path):
    pytest.importorskip("dask_jobqueue")
    cluster = read_distributed({"cluster": SLURM}).cluster
    assert isinstance(cluster, SlurmCluster)
    with cluster.jobs(tmp_path) as jobs:
        lines = jobs.job_script().splitlines()
    for line in ("-p gpu", "-A robust", "--cpus-per-task=8", "--mem=30G", "-t 08:00:00", "--gres=gpu:1"):
        assert f"#SBATCH {line}" in lines
    assert f"cd {tmp_path}" in lines
    (worker,) = [line for line in lines if "dask_worker" in line or "dask worker" in line]
    for option in ("--nthreads 1", "--resources GPU=1", f"--preload {PRELOAD}", "--memory-limit"):
        assert option in worker


def test_a_job_of_slurm_finds_a_project_and_a_python_whose_paths_have_blanks(tmp_path, monkeypatch):
    pytest.importorskip("dask_jobqueue")
    monkeypatch.setattr("sys.executable", "/my tools/bin/python")
    project = tmp_path / "my project's"
    project.mkdir()
    with read_distributed({"cluster": SLURM}).cluster.jobs(project) as jobs:
        words = [shlex.split(line) for line in jobs.job_script().splitlines()]
    assert ["cd", str(project)] in words
    for option, end in (("-e", "err"), ("-o", "out")):
        assert ["#SBATCH", option, f"{project}/logs/dask-worker-%J.{end}"] in words
    assert [line[0] for line in words if "distributed.cli.dask_worker" in line] == ["/my tools/bin/python"]
    assert [path.name for path in project.iterdir()] == ["logs"]

"""What the scheduling of a run costs: the graph of the study, its nodes asleep for as long as they are estimated."""

import time
from contextlib import contextmanager
from functools import partial

import pytest
from kedro.framework.hooks.manager import _NullPluginManager
from kedro.framework.startup import bootstrap_project
from kedro.io import AbstractDataset
from kedro.pipeline import Node, Pipeline
from projects import ROOT

from robustmedclip.pipeline_registry import pipelines_of
from robustmedclip.run import DaskRunner
from robustmedclip.run.catalog import FingerprintedCatalog
from robustmedclip.run.config import BenchmarkConfigLoader
from robustmedclip.run.distributed.clusters import Cluster
from robustmedclip.run.distributed.schedule import longest_paths
from robustmedclip.run.distributed.settings import Distributed
from robustmedclip.run.distributed.worker import NODE
from robustmedclip.run.estimates import estimated_seconds
from robustmedclip.settings import CONFIG_LOADER_ARGS

#: Test images of the study's data sets: of MedMNIST's as released, of MedIMeta's a tenth of all.
IMAGES = {
    "aml": 1836,
    "fundus": 320,
    "mammo_calc": 187,
    "mammo_mass": 170,
    "pneumonia": 586,
    "oct": 10931,
    "pbc": 1709,
    "bloodmnist": 3421,
    "breastmnist": 156,
    "octmnist": 1000,
    "pneumoniamnist": 624,
    "retinamnist": 400,
}
#: Seconds that a run would take if no worker ever waited.
IDEAL = 40


class Nothing(AbstractDataset):
    """An entry that is there and holds nothing."""

    def load(self):
        return None

    def save(self, data):
        pass

    def _describe(self):
        return {}


class Threads(Cluster):
    """Workers that are threads of this process."""

    workers: int

    @contextmanager
    def _started(self, project):
        from distributed import LocalCluster

        with LocalCluster(
            n_workers=self.workers,
            threads_per_worker=1,
            processes=False,
            dashboard_address=None,
            resources={NODE: 1},
            memory_limit=None,  # which each would compare with all that this process has
        ) as cluster:
            yield cluster


def sleep(seconds, *inputs, outputs):
    time.sleep(seconds)
    return [0] * outputs


def asleep(node, seconds):
    """A node that sleeps in place of what it does."""
    function = partial(sleep, seconds, outputs=len(node.outputs))
    function.__name__ = node.func.__name__
    return Node(function, node.inputs, node.outputs, name=node.name.rpartition(".")[2], namespace=node.namespace)


@pytest.fixture(scope="module")
def study():
    bootstrap_project(ROOT)
    config = BenchmarkConfigLoader(str(ROOT / "conf"), env="paper", **CONFIG_LOADER_ARGS)
    return pipelines_of(config.plan, [])["benchmark"]


@pytest.mark.parametrize(("workers", "least"), [(1, 0.8), (8, 0.9), (64, 0.8)])
def test_workers_seldom_wait(benchmark, monkeypatch, study, workers, least):
    monkeypatch.setattr("robustmedclip.run.estimates.test_shape", lambda name, *_: (IMAGES[name],))
    estimated = estimated_seconds(study.nodes, FingerprintedCatalog())
    ideal = max(sum(estimated.values()) / workers, *longest_paths(study, estimated).values())
    pipeline = Pipeline([asleep(node, IDEAL / ideal * estimated[node]) for node in study.nodes])
    catalog = FingerprintedCatalog({name: Nothing() for name in pipeline.datasets()})
    runner = DaskRunner()
    runner._settings, runner._project = Distributed().model_copy(update={"cluster": Threads(workers=workers)}), ROOT
    makespans = []

    def run():
        began = time.monotonic()
        runner._run(pipeline, catalog, _NullPluginManager())
        makespans.append(time.monotonic() - began)

    benchmark.pedantic(run, rounds=1)
    benchmark.extra_info.update(nodes=len(study.nodes), workers=workers, ideal=IDEAL, reached=IDEAL / makespans[0])
    assert IDEAL / makespans[0] >= least

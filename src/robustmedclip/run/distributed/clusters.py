"""The clusters that a run can be spread over: each is what ``cluster`` of ``distributed.yml`` says of its type.

A worker is a process that runs one node at a time: trainings in threads would share torch's random numbers.
"""

import logging
import os
import shlex
import sys
from abc import abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlparse

from robustmedclip.adaptation.methods.settings import Count, Flag
from robustmedclip.parallel import cores
from robustmedclip.plan.schema import Entry, Text

if TYPE_CHECKING:
    from distributed import Client

#: The resource of workers with a GPU, by which nodes ask for one.
GPU = "GPU"
PRELOAD = "robustmedclip.run.distributed.worker"
#: A worker with torch, a model and the images that it works on.
_BYTES_PER_WORKER = 4e9
#: The directives of Slurm for what a job prints, and how the files end.
_STREAMS = (("-e", "err"), ("-o", "out"))


class Cluster(Entry):
    """A cluster, started or joined by :meth:`client`."""

    @property
    def is_local(self) -> bool:
        """Whether all of its workers run on this machine."""
        return False

    @contextmanager
    def client(self, project: Path) -> Iterator["Client"]:
        """A client of the cluster, which is closed with it.

        Parameters
        ----------
        project : Path
            Folder of the project that the workers are to know.
        """
        from distributed import Client

        messages = logging.getLogger("distributed")
        messages.setLevel(logging.WARNING)
        with self._started(project) as cluster, Client(cluster) as client:
            yield client
            messages.setLevel(logging.CRITICAL)  # of connections that end

    def heal(self, client: "Client") -> None:
        """Replace workers that are gone for good, where it is not done elsewhere."""

    @abstractmethod
    def _started(self, project: Path) -> Any:
        """A cluster of Dask's, which ends with its context."""


class LocalCluster(Cluster):
    """Processes on this machine: one per GPU; without a GPU, one per core, as far as the memory allows.

    ``threads`` is how many cores a worker uses, ``memory`` the most that it may take before it is ended and started
    anew, such as ``8 GB``.
    """

    workers: Count | None = None
    threads: Count | None = None
    memory: Text | None = None

    @property
    def is_local(self) -> bool:
        return True

    def _started(self, project: Path) -> Any:
        import dask
        from distributed import Nanny, Scheduler, SpecCluster

        # A nanny starts its worker anew; it is not to be given up because that takes long on a busy machine.
        dask.config.set({"distributed.deploy.lost-worker-timeout": "10 minutes"})
        gpus = visible_gpus()
        workers = self.workers or len(gpus) or min(cores(), max(1, int(_memory() / _BYTES_PER_WORKER)))
        threads = self.threads or max(1, cores() // workers)
        options = {
            "nthreads": 1,
            "memory_limit": self.memory or 0,
            "preload": [PRELOAD],
            "preload_argv": [[str(project), "--threads", str(threads)]],
            "dashboard": False,
        }
        of_each = [{**options, **_on_gpu(gpus, worker)} for worker in range(workers)]
        return SpecCluster(
            workers={worker: {"cls": Nanny, "options": options} for worker, options in enumerate(of_each)},
            scheduler={"cls": Scheduler, "options": {"host": "127.0.0.1", "port": 0, "dashboard": False}},
        )

    def heal(self, client: "Client") -> None:
        client.cluster.scale(len(client.cluster.worker_spec))


class CudaCluster(Cluster):
    """A process per GPU of this machine, by dask-cuda, which also binds each to the cores beside its GPU."""

    workers: Count | None = None
    memory: Text | None = None

    @property
    def is_local(self) -> bool:
        return True

    def _started(self, project: Path) -> Any:
        from dask_cuda import LocalCUDACluster

        return LocalCUDACluster(
            n_workers=self.workers,
            threads_per_worker=1,
            memory_limit=self.memory or 0,
            resources={GPU: 1},
            preload=[PRELOAD],
            preload_argv=[[str(project)]],
        )


class SlurmCluster(Cluster):
    """Jobs of Slurm with a worker each.

    ``workers`` is how many jobs are kept; one that ends, at its ``walltime`` say, is followed by another. ``gpu`` is
    the directive by which a job gets a GPU, or null. ``directives`` are further ones, ``setup`` lines of the script
    before the worker starts.
    """

    workers: Count
    cores: Count
    memory: Text
    walltime: Text = "24:00:00"
    gpu: Text | None = "--gres=gpu:1"
    queue: Text | None = None
    account: Text | None = None
    interface: Text | None = None
    directives: tuple[Text, ...] = ()
    setup: tuple[Text, ...] = ()

    def jobs(self, project: Path) -> Any:
        """A cluster of dask-jobqueue that has no jobs yet."""
        import dask
        from dask_jobqueue import SLURMCluster

        (project / "logs").mkdir(exist_ok=True)
        # Slurm reads quotes in directives as a shell does; dask-jobqueue writes none.
        logs = [f"{option} {shlex.quote(f'{project}/logs/dask-worker-%J.{end}')}" for option, end in _STREAMS]
        return SLURMCluster(
            queue=self.queue,
            account=self.account,
            walltime=self.walltime,
            cores=1,
            processes=1,
            job_cpu=self.cores,
            memory=self.memory,
            interface=self.interface,
            python=dask.config.get("jobqueue.slurm.python") or shlex.quote(sys.executable),
            job_extra_directives=[*logs, *([self.gpu] if self.gpu else []), *self.directives],
            job_script_prologue=[*self.setup, f"cd {shlex.quote(str(project))}"],
            worker_extra_args=[*(["--resources", f"{GPU}=1"] if self.gpu else []), "--preload", PRELOAD],
        )

    @contextmanager
    def _started(self, project: Path) -> Iterator[Any]:
        with self.jobs(project) as cluster:
            cluster.scale(self.workers)
            yield cluster

    def heal(self, client: "Client") -> None:
        client.cluster.scale(self.workers)


class KubernetesCluster(Cluster):
    """Pods with a worker each, by the operator of dask-kubernetes.

    ``image`` has this project as its working directory, and data lie on an object store. ``cpu`` and ``memory`` are
    those of a pod, and ``gpu`` says whether it gets one.
    """

    workers: Count
    image: Text
    namespace: Text | None = None
    cpu: Count = 1
    memory: Text = "8Gi"
    gpu: Flag = True
    environment: dict[str, str] = {}

    def _started(self, project: Path) -> Any:
        from dask_kubernetes.operator import KubeCluster, make_cluster_spec

        of_each = {"cpu": str(self.cpu), "memory": self.memory, **({"nvidia.com/gpu": "1"} if self.gpu else {})}
        specification = make_cluster_spec(
            name="robustmedclip",
            image=self.image,
            n_workers=self.workers,
            env=self.environment,
            worker_command=[
                *("dask", "worker", "--nthreads", "1", "--preload", PRELOAD),
                *(["--resources", f"{GPU}=1"] if self.gpu else []),
            ],
        )
        (container,) = specification["spec"]["worker"]["spec"]["containers"]
        container["resources"] = {"requests": of_each, "limits": of_each}  # the scheduler needs no GPU
        return KubeCluster(custom_cluster_spec=specification, namespace=self.namespace)


class RunningCluster(Cluster):
    """A cluster that runs already, at the ``address`` of its scheduler; its workers are started with our preload."""

    address: Text

    @property
    def is_local(self) -> bool:
        return urlparse(self.address).hostname in ("localhost", "127.0.0.1", "::1")

    @contextmanager
    def _started(self, project: Path) -> Iterator[str]:
        yield self.address


#: What ``type`` says.
CLUSTERS: dict[str, type[Cluster]] = {
    "local": LocalCluster,
    "cuda": CudaCluster,
    "slurm": SlurmCluster,
    "kubernetes": KubernetesCluster,
    "address": RunningCluster,
}


def visible_gpus() -> list[str]:
    """The GPUs that this process may use, as ``CUDA_VISIBLE_DEVICES`` names them."""
    import torch

    named = [name for name in os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",") if name]
    return (named or [str(number) for number in range(torch.cuda.device_count())])[: torch.cuda.device_count()]


def _on_gpu(gpus: list[str], worker: int) -> dict[str, Any]:
    """What a worker that has a GPU of its own is started with besides."""
    if worker >= len(gpus):
        return {}
    return {"resources": {GPU: 1}, "env": {"CUDA_VISIBLE_DEVICES": gpus[worker]}}


def _memory() -> int:
    """Bytes of memory that are free."""
    import psutil

    return int(psutil.virtual_memory().available)

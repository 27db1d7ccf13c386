"""Runs in which workers, the scheduler or the driver are killed end, in the same bytes as one that is left alone.

They take minutes: ``pytest -n 0 --benchmark-only tests/benchmarks/test_chaos.py``.
"""

import hashlib
import os
import random
import re
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
from projects import Project

RUNNER = ("--runner", "robustmedclip.run.DaskRunner")
KILLS = 20
#: Two models that are tuned with two seeds, for long enough to be hit.
PLAN = {
    "corruptions": {"suite": "medimeta-c", "names": ["gaussian_noise", "contrast"]},
    "adaptations": {
        "robust_lora": {
            "method": "robust-lora",
            "models": "all",
            "fractions": [0.2],
            "epochs": 60,
            "keep": "best_epoch",
            "corruptions": None,
        }
    },
    "seeds": [0, 1],
}


def project(folder: Path) -> Project:
    folder.mkdir()
    made = Project(folder)
    made.configure({"data_sets": {"squares": made.draw_squares(200)}, **PLAN})
    return made


def start(project: Project, *arguments: str) -> subprocess.Popen:
    with (project.folder / "log").open("ab") as log:
        command = [sys.executable, "-m", "kedro", "run", "--pipeline", "benchmark", *arguments]
        return subprocess.Popen(
            command, cwd=project.folder, stdout=log, stderr=log, env={**os.environ, "COLUMNS": "200"}
        )


def workers(driver: subprocess.Popen) -> list[psutil.Process]:
    """The processes of workers that a driver has started."""
    try:
        return [child for child in psutil.Process(driver.pid).children() if "spawn_main" in " ".join(child.cmdline())]
    except psutil.Error:
        return []


def results(project: Project) -> dict[str, str]:
    """Hashes of the newest version of each adapter, history, logits and table, by path without version."""
    hashes = {}
    for place in ("06_models", "07_model_output", "08_reporting/metrics.csv", "08_reporting/leaderboard.csv"):
        for file in sorted((project.folder / "data" / place).rglob("*")):
            if file.is_file() and not file.name.startswith("."):
                name = re.sub(r"/\d{4}-\d\d-\d\dT[\d.]+Z", "", str(file.relative_to(project.folder)))
                hashes[name] = hashlib.sha256(file.read_bytes()).hexdigest()
    return hashes


def check(project: Project, expected: dict[str, str]) -> None:
    """The same bytes, no half-written version, and no run of MLflow that is open or stray."""
    assert results(project) == expected
    data = project.folder / "data"
    versions = {path.parent for path in data.rglob("*") if re.fullmatch(r"\d{4}-\d\d-\d\dT[\d.]+Z", path.parent.name)}
    assert versions and all((version / ".fingerprint").is_file() for version in versions)
    assert not [path for path in data.rglob(".*partial-*") if not path.name.endswith(".safetensors")]
    with sqlite3.connect(project.folder / "mlflow.db") as database:
        runs = database.execute("select name, status from runs").fetchall()
    children = [name for name, _ in runs if name != "benchmark"]
    assert not [name for name, status in runs if status == "RUNNING"]
    assert len(set(children)) == len(children) == 6


@pytest.fixture(scope="module")
def expected(tmp_path_factory) -> dict[str, str]:
    alone = project(tmp_path_factory.mktemp("alone") / "project")
    assert start(alone).wait() == 0
    return results(alone)


def test_workers_are_killed(benchmark, tmp_path, expected):
    rng, killed, tunings, runs = random.Random(0), 0, 0, 0

    def run():
        nonlocal killed, tunings, runs
        while killed < KILLS:
            chaotic = project(tmp_path / f"run-{runs}")
            runs += 1
            driver = start(chaotic, *RUNNER, "--runner-params=cluster.workers=2,cluster.threads=1,retries=30")
            while driver.poll() is None:
                time.sleep(rng.uniform(3, 12))
                log = (chaotic.folder / "log").read_text()
                if (alive := workers(driver)) and killed < KILLS and "[1/" in log:
                    rng.choice(alive).send_signal(signal.SIGKILL)
                    killed += 1
                    is_tuning = "] few_shot:" in log and log.count("tuning ·") < 4
                    tunings += is_tuning
            assert driver.returncode == 0, (chaotic.folder / "log").read_text()[-5000:]
            check(chaotic, expected)

    benchmark.pedantic(run, rounds=1)
    benchmark.extra_info.update(kills=killed, while_tuning=tunings, runs=runs)
    assert tunings >= 3


def wait_for(text: str, log: Path, process: subprocess.Popen) -> None:
    while text not in log.read_text():
        assert process.poll() is None, log.read_text()[-5000:]
        time.sleep(0.2)


def test_the_driver_is_killed(benchmark, tmp_path, expected):
    halted = project(tmp_path / "project")
    local = (*RUNNER, "--runner-params=cluster.workers=2,cluster.threads=1")

    def run():
        driver = start(halted, *local)
        wait_for("tuning ·", halted.folder / "log", driver)
        orphans = workers(driver)
        driver.kill()
        assert not psutil.wait_procs(orphans, timeout=20)[1]
        assert start(halted, *local, "--only-missing-outputs").wait() == 0

    benchmark.pedantic(run, rounds=1)
    assert results(halted) == expected


def test_the_scheduler_is_killed(benchmark, tmp_path, expected):
    halted, port = project(tmp_path / "project"), 28786
    address = f"tcp://127.0.0.1:{port}"
    dask = [sys.executable, "-m", "dask"]
    options = {"cwd": halted.folder, "stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}

    def run():
        scheduler = subprocess.Popen(
            [*dask, "scheduler", "--host", "127.0.0.1", "--port", str(port), "--no-dashboard"], **options
        )
        worker = ["worker", address, "--nthreads", "1", "--preload", "robustmedclip.run.distributed.worker"]
        started = [subprocess.Popen([*dask, *worker, "--no-dashboard"], **options) for _ in range(2)]
        try:
            driver = start(halted, *RUNNER, f"--runner-params=cluster.type=address,cluster.address={address}")
            wait_for("tuning ·", halted.folder / "log", driver)
            scheduler.kill()
            assert driver.wait(120) == 1
        finally:
            for process in started:
                process.terminate()
        said = " ".join((halted.folder / "log").read_text().split())
        assert "The scheduler is gone" in said and "--only-missing-outputs" in said
        assert start(halted, "--only-missing-outputs").wait() == 0

    benchmark.pedantic(run, rounds=1)
    assert results(halted) == expected

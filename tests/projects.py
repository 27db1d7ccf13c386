"""A project in a folder of a test's own, and what a user does with it."""

import atexit
import io
import os
import shlex
import shutil
import subprocess
import sys
import traceback
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, chdir, contextmanager, nullcontext, redirect_stderr, redirect_stdout
from functools import cache
from pathlib import Path
from sqlite3 import Connection
from tempfile import mkdtemp
from typing import IO, Any
from unittest.mock import patch

import click
import mlflow
import numpy as np
import pandas as pd
import yaml
from kedro.framework.cli.cli import KedroCLI
from kedro.framework.project import pipelines as project_pipelines
from kedro.framework.session import KedroSession
from kedro.framework.startup import bootstrap_project
from PIL import Image
from sqlalchemy import event
from sqlalchemy.engine import Engine

from robustmedclip.commands import commands
from robustmedclip.run.tracking_database import create_database

ROOT = Path(__file__).parents[1]
CLASSES = ["dark square", "bright square"]


@event.listens_for(Engine, "connect")
def wait_for_no_disk(connection: Connection, _: object) -> None:
    """MLflow commits after every value, and SQLite waits for the disk each time, for the case that power fails."""
    connection.execute("PRAGMA synchronous = OFF")


def save_nothing(figure: object, file: str | IO[bytes], **_: object) -> None:
    """In place of a figure."""
    with nullcontext(file) if hasattr(file, "write") else open(file, "wb") as stream:
        stream.write(b"figure")


def without_figures() -> AbstractContextManager:
    """Runs in this process make their figures and draw none, which is up to half of the time of a report."""
    return patch("matplotlib.figure.Figure.savefig", save_nothing)


@cache
def empty_database() -> Path:
    """MLflow's database without runs, made once for all projects of this process."""
    path = Path(mkdtemp(prefix="robustmedclip-")) / "mlflow.db"
    atexit.register(shutil.rmtree, path.parent)
    create_database(path)
    return path


class Project:
    """The configuration of this project without that of a user, and its package; as yet without data."""

    def __init__(self, folder: Path):
        self.folder = folder
        folder.mkdir(exist_ok=True)
        shutil.copytree(ROOT / "conf", folder / "conf", ignore=shutil.ignore_patterns("local"))
        for name in ("pyproject.toml", ".telemetry"):
            shutil.copy(ROOT / name, folder)
        shutil.copy(empty_database(), folder)
        (folder / "conf/local").mkdir()
        (folder / "src").mkdir()
        (folder / "src/robustmedclip").symlink_to(ROOT / "src/robustmedclip")

    def copy(self, folder: Path) -> "Project":
        """The same project with all its data in a folder that doesn't exist yet."""
        shutil.copytree(self.folder, folder, symlinks=True)
        twin = object.__new__(Project)
        twin.folder = folder
        return twin

    def configure(self, plan: dict[str, Any]) -> None:
        """Write the plan of the environment ``local``."""
        (self.folder / "conf/local/benchmark.yml").write_text(yaml.safe_dump(plan))

    def track(self, address: str, experiment: str) -> None:
        """Track runs at an address, in an experiment."""
        settings = yaml.safe_load((ROOT / "conf/base/mlflow.yml").read_text())
        settings["server"] = {"mlflow_tracking_uri": address}
        settings["tracking"]["experiment"] = {"name": experiment}
        (self.folder / "conf/local/mlflow.yml").write_text(yaml.safe_dump(settings))

    def draw_squares(self, count: int = 60, size: int = 40) -> dict[str, Any]:
        """Draw dark and bright squares; returns their entry in the plan."""
        rng, rows = np.random.default_rng(0), []
        (self.folder / "squares").mkdir(exist_ok=True)
        for index in range(count):
            pixels = rng.integers(0, 60, (size, size), np.uint8) + np.uint8(190 * (index % 2))
            Image.fromarray(pixels).save(self.folder / f"squares/{index}.png")
            rows.append((f"{index}.png", CLASSES[index % 2]))
        pd.DataFrame(rows, columns=["file", "label"]).to_csv(self.folder / "squares/labels.csv", index=False)
        source = {"type": "robustmedclip.io.FolderDataset", "filepath": "squares"}
        return {"modality": "drawing", "classes": CLASSES, "source": source}

    def call(self, *words: str) -> subprocess.CompletedProcess:
        """What a command of Kedro prints and returns, in this process: in a tenth of the time that a new one takes."""

        def command() -> None:
            if words[0] in commands.list_commands(click.Context(commands)):
                bootstrap_project(self.folder)
                commands(list(words), prog_name="kedro")
            else:
                KedroCLI(self.folder)(list(words), prog_name="kedro")

        return self._called(command)

    def run(self, *arguments: str) -> subprocess.CompletedProcess:
        """What ``kedro run`` prints and returns, in this process."""
        return self.call("run", *arguments)

    def check(self, *arguments: str) -> subprocess.CompletedProcess:
        """What ``kedro check`` prints and returns, in this process."""
        return self.call("check", *arguments)

    def run_here(self, *pipelines: str, **filters: Any) -> None:
        """``kedro run`` in this process, with its errors."""
        with self._in_use():
            bootstrap_project(self.folder)
            with KedroSession.create(self.folder) as session:
                session.run(pipeline_names=list(pipelines), **filters)

    def run_apart(self, *arguments: str, prefix: str = "") -> subprocess.CompletedProcess:
        """``kedro run`` in a process of its own."""
        command = [sys.executable, "-m", "kedro", "run", *arguments]
        return subprocess.run(
            ["bash", "-c", prefix + shlex.join(command)] if prefix else command,
            cwd=self.folder,
            capture_output=True,
            text=True,
            check=False,
            env={**os.environ, "COLUMNS": "200"},
        )

    def _called(self, command: Callable[[], object]) -> subprocess.CompletedProcess:
        output, errors, status = io.StringIO(), io.StringIO(), 0
        with self._in_use(), redirect_stdout(output), redirect_stderr(errors):
            try:
                command()
            except SystemExit as end:
                status = int(end.code or 0)
            except BaseException:
                traceback.print_exc()
                status = 1
        return subprocess.CompletedProcess([], status, output.getvalue(), errors.getvalue())

    @contextmanager
    def _in_use(self) -> Iterator[None]:
        """The working directory is the project's inside; what a run leaves in a process is gone afterwards."""
        tracking, path = mlflow.get_tracking_uri(), list(sys.path)
        try:
            with chdir(self.folder), patch.dict(os.environ, COLUMNS="200"):
                yield
        finally:
            sys.path[:] = path
            mlflow.set_tracking_uri(tracking)
            project_pipelines.configure("robustmedclip.pipeline_registry")

    def newest(self, pattern: str) -> Path:
        """The newest version of what is stored."""
        return max(self.folder.glob(pattern), key=lambda path: path.parent.name)

    def stored(self) -> list[Path]:
        """All that runs have stored; the checksums of what they have read are none of it."""
        return list(self.folder.glob("data/[!.]*"))

    def versions(self) -> set[str]:
        """Every finished version."""
        return {str(path.relative_to(self.folder)) for path in self.folder.glob("data/**/.fingerprint")}

"""A project in a folder of a test's own, and what a user does with it."""

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import yaml
from kedro.framework.session import KedroSession
from kedro.framework.startup import bootstrap_project
from PIL import Image

ROOT = Path(__file__).parents[1]
CLASSES = ["dark square", "bright square"]


class Project:
    """The configuration of this project without that of a user, and its package; as yet without data."""

    def __init__(self, folder: Path):
        self.folder = folder
        shutil.copytree(ROOT / "conf", folder / "conf", ignore=shutil.ignore_patterns("local"))
        for name in ("pyproject.toml", ".telemetry"):
            shutil.copy(ROOT / name, folder)
        (folder / "conf/local").mkdir()
        (folder / "src").mkdir()
        (folder / "src/robustmedclip").symlink_to(ROOT / "src/robustmedclip")

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

    def run(self, *arguments: str, prefix: str = "") -> subprocess.CompletedProcess:
        """``kedro run`` in a process of its own."""
        return self.python("kedro run", *arguments, prefix=prefix)

    def python(self, module: str, *arguments: str, prefix: str = "") -> subprocess.CompletedProcess:
        """``python -m`` in a process of its own."""
        command = f"{prefix}exec {sys.executable} -m {module} {' '.join(arguments)}"
        return subprocess.run(
            ["bash", "-c", command],
            cwd=self.folder,
            capture_output=True,
            text=True,
            check=False,
            env={**os.environ, "COLUMNS": "200", "HF_HUB_OFFLINE": "1"},
        )

    def run_here(self, *pipelines: str, **filters: Any) -> None:
        """``kedro run`` in this process."""
        bootstrap_project(self.folder)
        with KedroSession.create(self.folder) as session:
            session.run(pipeline_names=list(pipelines), **filters)

    def newest(self, pattern: str) -> Path:
        """The newest version of what is stored."""
        return max(self.folder.glob(pattern), key=lambda path: path.parent.name)

    def versions(self) -> set[str]:
        """Every finished version."""
        return {str(path.relative_to(self.folder)) for path in self.folder.glob("data/**/.fingerprint")}

"""What of the code makes results stale, and what doesn't."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import robustmedclip

pytestmark = pytest.mark.slow

STAGES = ("ingestion", "few_shot", "corruption", "tuning", "evaluation", "reporting")
CODE = """
from robustmedclip.run.code_hash import code_hash
for stage in %r:
    print(stage, code_hash([f"robustmedclip.pipelines.{stage}.nodes"]))
print("own", code_hash(["my_study.method"]))
"""


@pytest.fixture
def package(tmp_path):
    """A copy of the package, and a module of a user's own beside it."""
    copy = tmp_path / "robustmedclip"
    shutil.copytree(
        Path(robustmedclip.__file__).parent, copy, ignore=shutil.ignore_patterns("*.safetensors", "__pycache__")
    )
    (tmp_path / "my_study").mkdir()
    (tmp_path / "my_study/method.py").write_text("from my_study import constants\n")
    (tmp_path / "my_study/constants.py").write_text("RATE = 1\n")
    return copy


def stale(package: Path, file: str, old: str, new: str) -> set[str]:
    """The stages that a change of a file makes stale."""
    path = package / file
    root = package if package.name == "robustmedclip" else package / "robustmedclip"
    before, text = hashes(root), path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))
    after = hashes(root)
    return {name for name in before if before[name] != after[name]}


def hashes(package: Path) -> dict[str, str]:
    environment = {**os.environ, "PYTHONPATH": str(package.parent), "PYTHONDONTWRITEBYTECODE": "1"}
    command = [sys.executable, "-c", CODE % (STAGES,)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True, cwd=package.parent)
    return dict(line.split() for line in done.stdout.splitlines())


def test_comments_docstrings_and_layout_make_nothing_stale(package):
    assert not stale(package, "models/preprocessing.py", '"""From uint8', '"""Out of uint8')
    assert not stale(package, "models/preprocessing.py", "RESIZE_MODES", "# a comment\nRESIZE_MODES")
    assert not stale(package, "images/sets.py", "return len(self.labels)", "return len(\n    self.labels\n)")


def test_a_constant_of_the_models_makes_evaluation_stale_and_not_ingestion(package):
    changed = stale(package, "models/preprocessing.py", "0.48145466", "0.5")
    assert {"evaluation", "tuning"} <= changed and not {"ingestion", "few_shot", "corruption"} & changed


def test_code_that_all_stages_reach_makes_all_stale(package):
    assert set(STAGES) <= stale(package, "images/sets.py", "len(self.class_names) < 2", "len(self.class_names) < 3")


def test_code_of_a_users_own_counts_with_what_it_imports(package):
    assert stale(package.parent, "my_study/constants.py", "RATE = 1", "RATE = 2") == {"own"}

"""What of the code makes results stale, and what doesn't."""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
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


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """A copy of the package, and a module of a user's own beside it."""
    folder = tmp_path_factory.mktemp("copy")
    shutil.copytree(
        Path(robustmedclip.__file__).parent,
        folder / "robustmedclip",
        ignore=shutil.ignore_patterns("*.safetensors", "__pycache__"),
    )
    (folder / "my_study").mkdir()
    (folder / "my_study/method.py").write_text("from my_study import constants\n")
    (folder / "my_study/constants.py").write_text("RATE = 1\n")
    return folder


@pytest.fixture(scope="module")
def before(folder) -> dict[str, str]:
    return hashes(folder)


@pytest.fixture
def stale(folder, before) -> Callable[..., set[str]]:
    """The stages that changes make stale: of a file, a text and what takes its place; afterwards they are undone."""

    def stages(*changes: tuple[str, str, str]) -> set[str]:
        texts = {folder / file: (folder / file).read_text() for file, *_ in changes}
        for file, old, new in changes:
            text = (folder / file).read_text()
            assert old in text
            (folder / file).write_text(text.replace(old, new, 1))
        after = hashes(folder)
        for path, text in texts.items():
            path.write_text(text)
        return {name for name in before if before[name] != after[name]}

    return stages


def hashes(folder: Path) -> dict[str, str]:
    environment = {**os.environ, "PYTHONPATH": str(folder), "PYTHONDONTWRITEBYTECODE": "1"}
    command = [sys.executable, "-c", CODE % (STAGES,)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True, cwd=folder)
    return dict(line.split() for line in done.stdout.splitlines())


def test_comments_docstrings_and_layout_make_nothing_stale(stale):
    comment = ("robustmedclip/models/preprocessing.py", "RESIZE_MODES", "# a comment\nRESIZE_MODES")
    docstring = ("robustmedclip/models/preprocessing.py", '"""From uint8', '"""Out of uint8')
    layout = ("robustmedclip/images/sets.py", "return len(self.labels)", "return len(\n    self.labels\n)")
    assert not stale(comment, docstring, layout)


def test_a_constant_of_the_models_makes_evaluation_stale_and_not_ingestion(stale):
    changed = stale(("robustmedclip/models/preprocessing.py", "0.48145466", "0.5"))
    assert {"evaluation", "tuning"} <= changed and not {"ingestion", "few_shot", "corruption"} & changed


def test_code_that_all_stages_reach_makes_all_stale(stale):
    file = "robustmedclip/images/sets.py"
    assert set(STAGES) <= stale((file, "len(self.class_names) < 2", "len(self.class_names) < 3"))


def test_code_of_a_users_own_counts_with_what_it_imports(stale):
    assert stale(("my_study/constants.py", "RATE = 1", "RATE = 2")) == {"own"}

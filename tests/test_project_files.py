"""The files around the code: containers that are sound, workflows and forms that can be read."""

import re
import subprocess
import sys
import tomllib
from importlib.util import find_spec
from pathlib import Path

import pytest
import yaml
from platforms import posix_only
from projects import ROOT

SETTINGS = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
EXTRAS = SETTINGS["project"]["optional-dependencies"]


@pytest.mark.skipif(sys.platform != "linux", reason="hadolint is installed on Linux alone")
def test_the_dockerfile_is_free_of_what_hadolint_finds():
    linter = Path(sys.executable).with_name("hadolint")
    done = subprocess.run([linter, ROOT / "Dockerfile"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


@posix_only
def test_both_containers_take_their_base_and_torch_by_argument_and_run_the_benchmark():
    docker = (ROOT / "Dockerfile").read_text(encoding="utf-8")
    assert "ARG BASE=" in docker and "ARG TORCH_INDEX=" in docker
    assert 'CMD ["kedro", "run", "--pipeline", "benchmark"]' in docker
    parts = re.split(r"^%(\w+)\n", (ROOT / "Apptainer.def").read_text(encoding="utf-8"), flags=re.MULTILINE)
    sections = dict(zip(parts[1::2], parts[2::2], strict=True))
    assert {"arguments", "files", "post", "environment", "runscript", "test"} == sections.keys()
    given = {line.strip().partition("=")[0] for line in sections["arguments"].split()}
    assert set(re.findall(r"{{ (\w+) }}", parts[0] + sections["post"])) == given
    assert "kedro run --pipeline benchmark" in sections["runscript"]
    for name in ("post", "runscript"):
        checked = subprocess.run(["bash", "-n"], input=sections[name], capture_output=True, text=True, check=False)
        assert checked.returncode == 0, checked.stderr


@pytest.mark.parametrize("name", ["Dockerfile", "Apptainer.def"])
def test_the_extras_of_a_container_exist(name):
    (extras,) = re.findall(r"{wheel}\[([\w,]+)\]", (ROOT / name).read_text(encoding="utf-8"))
    assert set(extras.split(",")) <= EXTRAS.keys()


def test_workflows_forms_and_citation_can_be_read():
    files = [*(ROOT / ".github").rglob("*.yml"), ROOT / "CITATION.cff", ROOT / ".pre-commit-config.yaml"]
    assert len(files) == 6
    for file in files:
        assert isinstance(yaml.safe_load(file.read_text(encoding="utf-8")), dict), file


def test_the_hooks_have_the_ruff_of_the_tests():
    (hooks,) = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text(encoding="utf-8"))["repos"]
    ruff = {name for hook in hooks["hooks"] for name in hook["additional_dependencies"] if name.startswith("ruff")}
    assert ruff and ruff <= set(EXTRAS["test"])


@pytest.mark.full  # the hooks are installed from the package index
@pytest.mark.skipif(find_spec("pre_commit") is None, reason="pre-commit is for developers")
def test_the_hooks_find_nothing():
    done = subprocess.run(
        [sys.executable, "-m", "pre_commit", "run", "--all-files"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_oldest_python_is_the_first_that_is_tested():
    jobs = yaml.safe_load((ROOT / ".github/workflows/tests.yml").read_text(encoding="utf-8"))["jobs"]
    oldest = SETTINGS["project"]["requires-python"].removeprefix(">=")
    assert jobs["newest"]["strategy"]["matrix"]["python"][0] == oldest
    setup = next(step for step in jobs["lowest"]["steps"] if "setup-python" in step.get("uses", ""))
    assert setup["with"]["python-version"] == oldest

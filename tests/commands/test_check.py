"""``kedro check``: what it says, and that it leaves nothing behind."""

import os
import subprocess
import sys
import tomllib
from importlib import import_module

import click
import pytest
from projects import ROOT, Project

from robustmedclip.run.contents import Contents

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def project(tmp_path_factory) -> Project:
    project = Project(tmp_path_factory.mktemp("project"))
    project.configure({"data_sets": {"squares": project.draw_squares()}, "adaptations": {}})
    return project


def test_it_names_what_is_present_and_writes_nothing_in_mlflow_neither(project):
    before = sorted(project.folder.rglob("*"))
    done = project.check()
    assert done.returncode == 0, done.stderr
    lines = {" ".join(line.split()) for line in done.stdout.splitlines() if line.startswith(("raw ", "model "))}
    assert lines == {"raw squares present train 42, test 18; 40 x 40 x 1; 2 classes"} | {
        f"model {name} there, not loaded" for name in ("phantom_vit", "phantom_resnet")
    }
    assert [path for path in sorted(project.folder.rglob("*")) if "__pycache__" not in path.parts] == before


def test_a_damaged_image_is_named_and_the_status_is_1(project):
    image = project.folder / "squares/7.png"
    content = image.read_bytes()
    image.write_bytes(content[:40])
    done = project.check()
    image.write_bytes(content)
    assert done.returncode == 1
    assert "raw squares" in done.stdout and "damaged" in done.stdout and "7.png" in done.stdout


def test_an_image_that_is_not_what_was_first_taken_is_named(project):
    image = project.folder / "squares/7.png"
    Contents(project.folder).checksums("raw-squares", [str(project.folder / "squares")])
    content, status = image.read_bytes(), image.stat()
    image.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    os.utime(image, ns=(status.st_atime_ns, status.st_mtime_ns))
    done = project.check()
    image.write_bytes(content)
    assert done.returncode == 1 and f"'raw squares' is probably damaged: {image} (taken on" in done.stdout


def test_parameters_and_environments_are_those_of_a_run(project):
    assert "protocol: " in project.check("--params", "protocol=x").stderr
    assert "There is no environment 'nowhere'" in project.check("--env", "nowhere").stderr


def test_the_parameter_of_earlier_releases_leads_to_the_command(project):
    done = project.run("--params", "check_only=true")
    assert done.returncode == 1 and "it is a command now: kedro check" in " ".join(done.stderr.split())


def test_a_traceback_is_shown_on_request(project, monkeypatch):
    assert "Traceback" not in project.check("--env", "nowhere").stderr
    monkeypatch.setenv("ROBUSTMEDCLIP_TRACEBACK", "1")
    shown = project.check("--env", "nowhere").stderr
    assert "Traceback" in shown and shown.rstrip().splitlines()[-1].startswith("Error: There is no environment")


def test_kedro_lists_the_commands_without_importing_torch_or_mlflow():
    entry_points = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["entry-points"]
    module, _, name = entry_points["kedro.project_commands"]["robustmedclip"].partition(":")
    group = getattr(import_module(module), name)
    assert isinstance(group, click.Group) and set(group.list_commands(None)) == {
        "check",
        "compare",
        "import-model",
        "publish",
    }
    code = "from robustmedclip.__main__ import main; main()"
    script = f"import sys; sys.argv[1:] = ['--help']\ntry:\n  {code}\nfinally:\n  print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=False)
    assert "import-model  Turn a published model into one local FOLDER" in done.stdout
    assert not {"torch", "mlflow"} & set(done.stdout.split())


def test_outside_of_a_project_it_says_so(tmp_path):
    command = [sys.executable, "-m", "robustmedclip", "check"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 1 and "There is no project in" in done.stderr

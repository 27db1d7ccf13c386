"""What ``robustmedclip new`` says."""

import shlex
from pathlib import Path

from click.testing import CliRunner

from robustmedclip.commands import command_line


def test_the_command_to_begin_with_can_be_typed_whatever_the_folder_is_called(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    done = CliRunner().invoke(command_line, ["new", "Über Studie"])
    assert done.exit_code == 0, done.output
    _, folder, *rest = shlex.split(done.output.splitlines()[-1])
    assert Path(folder, "conf/local/benchmark.yml").exists() and rest[:3] == ["&&", "kedro", "run"]


def test_a_project_does_not_take_the_name_of_an_installed_package(tmp_path, monkeypatch):
    """Its own package would be imported in place of the other."""
    monkeypatch.chdir(tmp_path)
    done = CliRunner().invoke(command_line, ["new", "medmnist"])
    assert done.exit_code == 1 and "A project can't be called 'medmnist', a package of Python" in done.output
    assert not list(tmp_path.iterdir())

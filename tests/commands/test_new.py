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

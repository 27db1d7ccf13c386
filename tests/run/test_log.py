"""How the log is shown where nobody sees a terminal."""

import logging

import pytest
from kedro.logging import RichHandler

from robustmedclip.run.log import show_log


@pytest.fixture
def root(monkeypatch):
    handler = RichHandler()
    handler.name = "rich"
    root = logging.getLogger()
    monkeypatch.setattr(root, "handlers", [handler])
    return root


def test_a_long_line_of_a_log_is_not_broken_and_other_packages_are_heard_from_warnings_on(root, capsys):
    show_log()
    show_log()
    for name, level in [("robustmedclip.run", "INFO"), ("kedro_mlflow", "INFO"), ("kedro_mlflow", "WARNING")]:
        record = logging.LogRecord(name, getattr(logging, level), "", 0, f"{name} {level} {'x' * 200}", None, None)
        root.handle(record)
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 2 and lines[0].endswith("x" * 200) and "kedro_mlflow WARNING" in lines[1]

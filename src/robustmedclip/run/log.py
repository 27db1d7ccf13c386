"""How the log is shown: messages alone on a terminal, whole lines with their time elsewhere."""

import logging
import sys

from rich import get_console
from rich.text import Text

_STYLES = {logging.WARNING: "yellow", logging.ERROR: "red", logging.CRITICAL: "red"}


def on_terminal() -> bool:
    """Whether somebody sees what is written, as it is written."""
    return sys.stdout.isatty()


def show_log() -> None:
    """Replace the handler ``rich`` of ``conf/logging.yml`` by one that breaks no table, path or line of a log.

    Other packages are heard from warnings on: some of them set the level of their loggers themselves.
    """
    root = logging.getLogger()
    for handler in [handler for handler in root.handlers if handler.name == "rich"]:
        root.removeHandler(handler)
        root.addHandler(_handler())


def _handler() -> logging.Handler:
    handler = _Terminal() if on_terminal() else _WholeLines()
    handler.addFilter(_is_of_interest)
    return handler


class _Terminal(logging.Handler):
    """Writes messages above the bar of a run, wrapped between words; paths and tables stay whole."""

    def emit(self, record: logging.LogRecord) -> None:
        """Write a message."""
        try:
            text = Text(self.format(record), style=_STYLES.get(record.levelno, ""))
            get_console().print(text, overflow="ignore", no_wrap="\n" in text.plain, crop=False)
        except Exception:
            self.handleError(record)


class _WholeLines(logging.Handler):
    """Writes to what is the standard output then, of which a process may have several in a row."""

    def __init__(self) -> None:
        super().__init__()
        self.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s", "%Y-%m-%d %H:%M:%S"))

    def emit(self, record: logging.LogRecord) -> None:
        """Write a line."""
        try:
            sys.stdout.write(f"{self.format(record)}\n")
            sys.stdout.flush()
        except Exception:
            self.handleError(record)


def _is_of_interest(record: logging.LogRecord) -> bool:
    return record.levelno >= logging.WARNING or record.name.startswith("robustmedclip")

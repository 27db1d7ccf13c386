"""How the log is shown: as Kedro does on a terminal; whole lines in a file, however long they are."""

import logging
import sys


def show_log() -> None:
    """Let the log keep lines whole where there is no terminal, and leave out what other packages only tell.

    It is about the handler ``rich`` of ``conf/logging.yml``. Other packages are heard from warnings on: some of them
    set the level of their loggers themselves.
    """
    root = logging.getLogger()
    for handler in [handler for handler in root.handlers if handler.name == "rich"]:
        if sys.stdout.isatty():
            handler.addFilter(_is_of_interest)
        else:
            root.removeHandler(handler)
            root.addHandler(_plain_handler())


class _WholeLines(logging.Handler):
    """Writes to what is the standard output then, of which a process may have several in a row."""

    def emit(self, record: logging.LogRecord) -> None:
        """Write a line."""
        try:
            sys.stdout.write(f"{self.format(record)}\n")
            sys.stdout.flush()
        except Exception:
            self.handleError(record)


def _plain_handler() -> logging.Handler:
    handler = _WholeLines()
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s", "%Y-%m-%d %H:%M:%S"))
    handler.addFilter(_is_of_interest)
    return handler


def _is_of_interest(record: logging.LogRecord) -> bool:
    return record.levelno >= logging.WARNING or record.name.startswith("robustmedclip")

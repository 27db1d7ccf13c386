"""The bar of a run on a terminal."""

import atexit
import logging
import time

from rich import get_console
from rich.progress import BarColumn, Progress, Task, TaskProgressColumn, TextColumn
from rich.table import Column
from rich.text import Text

from robustmedclip import progress
from robustmedclip.progress import duration

_TITLE = Column(ratio=1, no_wrap=True, overflow="ellipsis")


class LiveBar:
    """A line that says what runs now, how much is done, and how long the rest of the run takes.

    While it is shown, long nodes don't count their own steps in the log.
    """

    def __init__(self) -> None:
        self._progress = Progress(
            TextColumn("{task.description}", table_column=_TITLE, markup=False),
            BarColumn(bar_width=12),
            TaskProgressColumn(),
            _TimeLeft("", table_column=Column(no_wrap=True, min_width=17)),
            console=get_console(),
            refresh_per_second=2,
            transient=True,
            expand=True,
        )
        self._task = self._progress.add_task("", total=1.0, end=None)

    def start(self) -> None:
        """Show it; the cursor comes back even if the run is interrupted."""
        atexit.register(self.stop)
        logging.getLogger(progress.__name__).setLevel(logging.WARNING)
        self._progress.start()

    def show(self, title: str) -> None:
        """Say what runs now."""
        self._progress.update(self._task, description=title)

    def advance(self, done: float, seconds_left: float | None) -> None:
        """Show the fraction that is done, which never falls, and until when the rest takes."""
        done = max(done, self._progress.tasks[self._task].completed)
        end = None if seconds_left is None else time.monotonic() + seconds_left
        self._progress.update(self._task, completed=done, end=end)

    def stop(self) -> None:
        """Take it away."""
        atexit.unregister(self.stop)
        logging.getLogger(progress.__name__).setLevel(logging.NOTSET)
        self._progress.stop()


class _TimeLeft(TextColumn):
    """How long it is until the end that was last estimated."""

    def render(self, task: Task) -> Text:
        """What is left now."""
        end = task.fields["end"]
        left = 0.0 if end is None else end - time.monotonic()
        return Text(f"about {duration(left)} left" if left >= 1 else "")

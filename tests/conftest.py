"""What all tests share."""

import gc
import inspect
import os
import sys

# Two processes with several threads each stall each other.
if "PYTEST_XDIST_WORKER" in os.environ:
    os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ["HF_HUB_OFFLINE"] = "1"

# Where it is set, as in many containers, each process that a test starts compiles the whole package again.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
sys.dont_write_bytecode = False

# By default Python looks for garbage after 700 new objects, for a sixth of the time of all tests. While tests are
# collected there is none.
gc.set_threshold(100_000, 10, 10)
gc.disable()


def stack_without_source(context: int = 0) -> list[inspect.FrameInfo]:
    """``inspect.stack``, which Kedro's settings ask for the file of the outermost caller, as it is in the code: Python
    would go through all modules for the source of each."""
    frame, frames = inspect.currentframe(), []
    while frame := frame.f_back:
        code = frame.f_code
        frames.append(inspect.FrameInfo(frame, code.co_filename, frame.f_lineno, code.co_name, None, None))
    return frames


inspect.stack = stack_without_source

import hypothesis  # noqa: E402
import pytest  # noqa: E402

import robustmedclip.models  # noqa: E402, F401 - lets open_clip and peft be imported beside a CPU build of torch

# The same examples in every run; --hypothesis-profile=default draws others.
hypothesis.settings.register_profile("repeatable", deadline=None, derandomize=True)
hypothesis.settings.load_profile("repeatable")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Slow files first, whole runs before all: short ones fill the gaps when one of the processes has no other left."""
    slow = {item.path for item in items if item.get_closest_marker("slow")}
    items.sort(key=lambda item: (item.path not in slow, len(item.path.parts)))


def pytest_collection_finish() -> None:
    """Look for garbage among what tests make, and not among modules and tests."""
    gc.freeze()
    gc.enable()


def pytest_sessionfinish() -> None:
    """Keep pytest and Python from looking for garbage among millions of objects, six times, before a process ends."""
    gc.freeze()

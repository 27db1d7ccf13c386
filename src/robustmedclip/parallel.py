"""What work shares a machine by: threads and their results in order, a bounded number of steps ahead; and memory."""

import ctypes
import gc
import os
import sys
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import TypeVar

T = TypeVar("T")
R = TypeVar("R")


def cores() -> int:
    """How many cores this process is to use: ``OMP_NUM_THREADS``, else all that it may use."""
    if (threads := os.environ.get("OMP_NUM_THREADS", "")).isdecimal() and int(threads) > 0:
        return int(threads)
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@contextmanager
def in_one_thread() -> Iterator[None]:
    """Let torch and linear algebra work in one thread inside.

    Threads share out sums, such as those of gradients, of updates of convolutions and of the logits of many classes.
    How many there are changes the order of the terms, and so the last bits.
    """
    import torch
    from threadpoolctl import threadpool_limits

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with threadpool_limits(1):
            yield
    finally:
        torch.set_num_threads(threads)


def return_freed_memory() -> None:
    """Give the system the memory back that was freed, which glibc else keeps for what comes next."""
    if sys.platform == "linux" and hasattr(libc := ctypes.CDLL(None), "malloc_trim"):
        libc.malloc_trim(0)


@contextmanager
def without_garbage_collection() -> Iterator[None]:
    """Look for no garbage inside, where modules are imported, which are none: it takes a third of their time."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


def map_ahead(
    function: Callable[[T], R], items: Iterable[T], workers: int, begin: Callable[[], object] | None = None
) -> Iterator[R]:
    """``map(function, items)``, in order, in `workers` threads, at most that many results ahead of the consumer.

    Items are taken one by one in the consumer's thread, while the threads work on those before. Each thread begins with
    a call of `begin`.
    """
    pending: deque[Future[R]] = deque()
    with ThreadPoolExecutor(workers, initializer=begin) as pool:
        for item in items:
            pending.append(pool.submit(function, item))
            if len(pending) > workers:
                yield pending.popleft().result()
        while pending:
            yield pending.popleft().result()

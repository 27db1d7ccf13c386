"""Work in threads: in order, bounded, and with errors that surface."""

import gc
import threading
import time

import pytest

from robustmedclip.parallel import map_ahead, without_garbage_collection


@pytest.mark.parametrize("workers", [1, 3])
def test_results_come_in_order_however_long_each_takes(workers):
    def slow_first(item):
        time.sleep(0.02 if item == 0 else 0)
        return item * item, threading.current_thread()

    results, threads = zip(*map_ahead(slow_first, range(9), workers), strict=True)
    assert list(results) == [item * item for item in range(9)]
    assert threading.main_thread() not in threads


def test_items_are_taken_as_they_are_needed():
    items = iter(range(100))
    for consumed, _ in enumerate(map_ahead(str, items, 2)):
        assert items.__length_hint__() >= 97 - consumed


def test_an_error_in_a_thread_reaches_the_consumer():
    results = map_ahead(int, ["1", "x", "3"], 1)
    assert next(results) == 1
    with pytest.raises(ValueError, match="'x'"):
        next(results)


@pytest.mark.parametrize("was_enabled", [True, False])
def test_garbage_is_collected_afterwards_only_where_it_was_before(was_enabled):
    try:
        (gc.enable if was_enabled else gc.disable)()
        with pytest.raises(KeyError), without_garbage_collection():
            assert not gc.isenabled()
            raise KeyError
        assert gc.isenabled() == was_enabled
    finally:
        gc.enable()

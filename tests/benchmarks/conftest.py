"""Prints, after the tables of pytest-benchmark, how many times faster than the reference we are, and memory peaks."""

import pytest
from subjects import NAMES, load

from robustmedclip.models.interface import VisionLanguageModel


@pytest.fixture(scope="session", params=NAMES)
def name(request) -> str:
    return request.param


@pytest.fixture(scope="session")
def model(name) -> VisionLanguageModel:
    return load(name)


@pytest.hookimpl(trylast=True)
def pytest_terminal_summary(terminalreporter, config):
    session = getattr(config, "_benchmarksession", None)
    for benchmark in session.benchmarks if session else ():
        if (peak := benchmark.extra_info.get("peak memory, GB")) is not None:
            terminalreporter.write_line(f"{benchmark.name:<60} peak memory {peak:.2f} GB")
    groups: dict[str, dict[str, float]] = {}
    for benchmark in session.benchmarks if session else ():
        if benchmark.has_error:
            continue
        sides = groups.setdefault(benchmark.group, {})
        sides[(benchmark.params or {}).get("side", benchmark.name)] = benchmark.stats.min
    compared = {group: sides for group, sides in groups.items() if {"ours", "reference"} <= sides.keys()}
    if not compared:
        return
    terminalreporter.section("ours beside the reference, best round")
    for group, sides in compared.items():
        ours, reference = 1000 * sides["ours"], 1000 * sides["reference"]
        terminalreporter.write_line(f"{group:<60} {ours:10.1f} ms {reference:10.1f} ms {reference / ours:8.1f} x")

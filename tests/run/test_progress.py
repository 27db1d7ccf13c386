"""What a run says of its progress."""

import io
import logging
from types import SimpleNamespace

import pytest
import rich
from kedro.io import DataCatalog
from kedro.pipeline import Node, Pipeline
from rich.console import Console

from robustmedclip.plan.amounts import fraction_label, labelled_fraction
from robustmedclip.run.estimates import Durations, usual_seconds
from robustmedclip.run.live_bar import LiveBar
from robustmedclip.run.log import show_log
from robustmedclip.run.progress_hook import ProgressHook


def fit(*inputs):
    return 0


def encode(*inputs):
    return 0


def node(function, model: str, name: str, stage: str = "evaluation") -> Node:
    return Node(function, f"model-{model}", name, name=name, namespace=f"{stage}.{model}.zero-shot")


@pytest.fixture
def hook():
    hook, loader = ProgressHook(), SimpleNamespace(plan=SimpleNamespace(evaluated_models=[]))
    loader.plan.evaluated_models = [
        SimpleNamespace(namespace=f"{base}.zero-shot", name=base, attributes={"adaptation": "zero-shot"})
        for base in ("vit", "resnet")
    ]
    hook.after_context_created(SimpleNamespace(config_loader=loader))
    return hook


def test_a_log_has_a_line_per_stage_and_model_and_none_per_node(hook, caplog):
    models = [node(encode, model, f"{model}-{part}") for model in ("vit", "resnet") for part in "ab"]
    others = [Node(fit, "x", name, name=name, namespace=f"ingestion.{name}") for name in ("oct", "cells")]
    pipeline = Pipeline([*models, *others])
    with caplog.at_level(logging.INFO):
        hook.before_pipeline_run({"only_missing_outputs": False}, pipeline, DataCatalog())
        for each in [*others, *models]:
            hook.before_node_run(each)
            hook.after_node_run(each, {})
    parts = [message.partition(":")[0] for message in caplog.messages]
    assert parts == ["[1/3] ingestion", "[2/3] evaluation · vit", "[3/3] evaluation · resnet"]


def test_a_node_counts_when_its_outputs_are_saved(hook, caplog):
    each = node(encode, "vit", "logits")
    with caplog.at_level(logging.INFO):
        hook.before_pipeline_run({"only_missing_outputs": False}, Pipeline([each]), DataCatalog())
        hook.before_node_run(each)
        hook.after_node_run(each, {"logits": 0})
        assert not caplog.messages
        hook.after_dataset_saved("logits", each)
    assert len(caplog.messages) == 1


def test_the_rest_of_a_run_is_estimated_by_how_slow_functions_and_models_were():
    encoding = {model: node(encode, model, f"encode-{model}") for model in ("vit", "resnet")}
    fitting = {model: node(fit, model, f"fit-{model}", "tuning") for model in ("vit", "resnet")}
    durations = Durations({each: usual_seconds(each) for each in (*encoding.values(), *fitting.values())})
    assert durations.rest(1) is None
    for each, seconds in [(encoding["vit"], 40), (encoding["resnet"], 10), (fitting["resnet"], 20)]:
        durations.add(each, seconds)
    assert durations.rest(70) == pytest.approx(80, rel=0.02)  # the ViT takes four times as long in both
    assert durations.rest(35) == pytest.approx(40, rel=0.02)  # two at a time


@pytest.mark.parametrize("fraction", [0.1, 0.005, 0.07])
def test_the_label_of_a_fraction_tells_it(fraction):
    assert labelled_fraction(fraction_label(fraction)) == pytest.approx(fraction)
    assert labelled_fraction("4shot") is None


def test_a_terminal_shows_one_bar_with_what_runs_and_how_long_the_rest_takes(monkeypatch):
    screen = io.StringIO()
    monkeypatch.setattr("rich._console", Console(file=screen, force_terminal=True, width=80))
    bar = LiveBar()
    bar.start()
    bar.show("evaluation · phantom_resnet_robust_lora_k10")
    bar.advance(0.5, 90.4)
    bar.stop()
    assert "evaluation · phantom_resnet_robust_lora" in screen.getvalue() and "50%" in screen.getvalue()
    assert "about 90 s left" in screen.getvalue()


def test_a_terminal_keeps_paths_and_tables_whole(monkeypatch):
    screen, root = io.StringIO(), logging.getLogger()
    monkeypatch.setattr("rich._console", Console(file=screen, width=40))
    monkeypatch.setattr("robustmedclip.run.log.on_terminal", lambda: True)
    handler = logging.NullHandler()
    handler.name = "rich"
    monkeypatch.setattr(root, "handlers", [handler])
    show_log()
    for message in (f"The report: /{'x' * 60}.html", f"a\n{'y ' * 30}"):
        root.handle(logging.LogRecord("robustmedclip", logging.INFO, "", 0, message, None, None))
    assert rich.get_console().file is screen
    assert f"/{'x' * 60}.html\n" in screen.getvalue() and "y " * 29 in screen.getvalue()

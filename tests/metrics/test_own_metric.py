"""A metric of a user's own: the example of the how-to, from a module outside the package."""

import re
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from robustmedclip.errors import InputError
from robustmedclip.images.conditions import CLEAN, Condition
from robustmedclip.metrics import METRICS, Metric, metrics_named, score_benchmark, summary
from robustmedclip.metrics.logits import Logits

CONDITIONS = (CLEAN, *(Condition("noise", severity) for severity in range(1, 6)))


@pytest.fixture
def missed(tmp_path, monkeypatch) -> Iterator[str]:
    """Dotted path of the metric that the how-to shows."""
    text = (Path(__file__).parents[2] / "docs/how-to/metric.md").read_text()
    code = re.search(r"```python\n# my_study/metric.py\n(.*?)```", text, re.DOTALL).group(1)
    (tmp_path / "my_study").mkdir()
    (tmp_path / "my_study/metric.py").write_text(code)
    monkeypatch.syspath_prepend(tmp_path)
    yield "my_study.metric.MISSED"
    for module in ("my_study", "my_study.metric"):
        sys.modules.pop(module, None)


def runs() -> list[Logits]:
    """Of ten images of two classes, as many of class 1 are called 0 as the severity says; the tuned model is better."""
    labels = np.arange(10) % 2
    predicted = np.stack([np.where(np.arange(10) < 2 * condition.severity, 0, labels) for condition in CONDITIONS])
    of_model = {"base": predicted, "tuned": np.where(np.arange(10) < 2, labels, predicted)}
    return [
        Logits(
            model=model,
            data_set="oct",
            modality="OCT",
            class_names=("normal", "ill"),
            conditions=CONDITIONS,
            logits=np.eye(2, dtype=np.float32)[classes],
            labels=labels,
            sample_ids=np.arange(10).astype(str),
            attributes={"base": "base", "adaptation": "lora", "seed": 0 if model == "tuned" else None},
        )
        for model, classes in of_model.items()
    ]


def test_it_has_a_row_for_every_condition_with_an_interval(missed):
    metrics = metrics_named([*METRICS, missed])
    table, _, of_seeds = score_benchmark(runs(), "base", metrics=metrics, resamples=100)
    rows = table[(table["metric"] == "missed") & (table["model"] == "base") & (table["data_set"] == "oct")]
    values = rows.set_index(["corruption", rows["severity"].fillna(0).astype(int)])["value"]
    assert values["clean", 0] == 0 and values["noise", 3] == 30 and values["all", 0] == 30
    assert ((rows["low"] <= rows["value"]) & (rows["value"] <= rows["high"])).all()
    assert summary(of_seeds, metrics)["corrupted_missed"] == 20 and summary(of_seeds, metrics)["clean_missed"] == 0


def test_it_can_be_chosen_alone(missed):
    assert [metric.name for metric in metrics_named([missed])] == ["error", "balanced_accuracy", "missed"]
    assert [metric.name for metric in metrics_named()] == list(METRICS)


def test_what_it_says_of_itself_does_not_change_with_the_process(missed):
    (*_, metric) = metrics_named([missed])
    assert "0x" not in repr(metric)


def metric(**changes) -> Metric:
    fields = {
        "name": "missed",
        "title": "missed",
        "unit": "",
        "higher_is_better": True,
        "bounds": (0, 1),
        "decimals": 1,
        "source": "",
        "values": lambda logits, labels, clean: np.zeros(3),
    }
    return Metric(**fields | changes)


@pytest.mark.parametrize(
    ("chosen", "message"),
    [
        (["aurocc"], "unknown metric 'aurocc'; did you mean 'auroc'"),
        (["auroc", "auroc"], "Two metrics are called 'auroc'"),
        (["numpy.mean"], "'numpy.mean' is no robustmedclip.metrics.Metric"),
        (["no_such_package.METRIC"], "no module 'no_such_package'"),
        ([metric(name="mce_of_mine")], "can't be called 'mce_of_mine'"),
        ([metric(name="error")], "can't be called 'error'"),
    ],
)
def test_a_wrong_choice_is_said_in_words(chosen, message):
    with pytest.raises(InputError, match=message):
        metrics_named(chosen)


def test_a_metric_that_makes_no_sense_is_refused():
    with pytest.raises(InputError, match="can't be called 'My metric'"):
        metric(name="My metric")
    with pytest.raises(InputError, match="bounds of the metric 'missed'"):
        metric(bounds=(1, 0))


def test_values_of_another_shape_are_refused():
    with pytest.raises(
        InputError, match=r"'missed' gives values of the shape \(3,\) .*expected one per image, \(6, 10\)"
    ):
        score_benchmark(runs(), "base", metrics=metrics_named([metric()]), resamples=0)

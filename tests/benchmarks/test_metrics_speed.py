"""Every score of the default benchmark with 2,000 resamples, beside mCE alone in a plain loop over 20."""

import numpy as np
import pytest

from robustmedclip.images.conditions import CLEAN, Condition
from robustmedclip.metrics import is_correct, mce, resample_counts, score_benchmark
from robustmedclip.metrics.logits import Logits

IMAGES, CORRUPTIONS = 100, 7
CONDITIONS = (CLEAN, *(Condition(f"corruption {c}", s) for c in range(CORRUPTIONS) for s in range(1, 6)))
MODELS = [f"model {i}" for i in range(10)]
DATA_SETS = {"blood": 8, "breast": 2, "chest": 2, "fundus": 5, "oct": 4}


@pytest.fixture(scope="module")
def logits() -> list[Logits]:
    rng = np.random.default_rng(0)
    runs = []
    for model in MODELS:
        for data_set, classes in DATA_SETS.items():
            labels = np.arange(IMAGES) % classes
            values = np.eye(classes)[labels] + rng.normal(size=(len(CONDITIONS), IMAGES, classes))
            names, ids = tuple(map(str, range(classes))), np.arange(IMAGES).astype(str)
            runs.append(Logits(model, data_set, data_set, names, CONDITIONS, values.astype(np.float32), labels, ids))
    return runs


@pytest.mark.benchmark(group="intervals of 10 models on 5 data sets")
def test_mce_in_a_loop_over_20_resamples(benchmark, logits):
    def loop() -> list[np.ndarray]:
        samples = []
        for run in logits:
            wrong = ~is_correct(run.logits[1:], run.labels)
            for counts in resample_counts(0, run.data_set, 20, IMAGES):
                images = np.repeat(np.arange(IMAGES), counts)
                errors = wrong[:, images].mean(-1).reshape(CORRUPTIONS, 5)
                samples.append(mce(errors, errors))
        return samples

    benchmark.pedantic(loop, rounds=3, warmup_rounds=1)


@pytest.mark.benchmark(group="intervals of 10 models on 5 data sets")
def test_every_score_with_2000_resamples(benchmark, logits):
    benchmark.pedantic(lambda: score_benchmark(logits, MODELS[0]), rounds=3, warmup_rounds=1)

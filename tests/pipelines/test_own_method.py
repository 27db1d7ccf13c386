"""A method from a module outside the package, by its dotted path alone."""

import inspect
from pathlib import Path

import nearest_mean
import numpy as np
import pandas as pd
import pytest
from kedro.io import DataCatalog, MemoryDataset
from kedro.runner import SequentialRunner
from small_benchmark import PHANTOM
from test_controls import FLOAT32, FOLDER, phantoms

from robustmedclip.adaptation.checkpoint import Checkpoint
from robustmedclip.images.conditions import CLEAN, Condition
from robustmedclip.models.open_clip import load_open_clip
from robustmedclip.pipelines import evaluation, tuning
from robustmedclip.pipelines.corruption.nodes import corrupt_test_set
from robustmedclip.pipelines.evaluation.nodes import encode
from robustmedclip.pipelines.few_shot.leakage import find_duplicates
from robustmedclip.pipelines.few_shot.nodes import draw_few_shots
from robustmedclip.plan.problems import PlanError
from robustmedclip.plan.reading import read_plan

HOW_TO = Path(__file__).parents[2] / "docs/how-to/method.md"
PARAMETERS = {
    "data_sets": {"oct": {"modality": "OCT", "source": PHANTOM}},
    "corruptions": {"suite": "medimeta-c", "names": ["contrast"]},
    "templates": ["{class_name}"],
    "models": {"vit": {"source": {"type": "open_clip", "path": str(FOLDER)}}},
    "methods": {"nearest-mean": {"type": "nearest_mean.NearestClassMean", "sharpness": 30}},
    "adaptations": {"nearest": {"method": "nearest-mean", "models": ["vit"], "fractions": [0.4]}},
    "seeds": [3],
    "baseline": "vit",
}


def test_it_is_fitted_and_scored_by_the_nodes_of_every_method():
    plan, model, pool = (
        read_plan(PARAMETERS),
        load_open_clip(f"local-dir:{FOLDER}"),
        phantoms("oct", "pool", 90),
    )
    settings = {"suite": "medimeta-c", "dataset": None, "grey": "native", "storage": "on_the_fly"}
    conditions = (CLEAN, Condition("contrast", 3))
    test = corrupt_test_set(phantoms("oct", "test", 40), {"seed": 0}, conditions=conditions, **settings)
    few_shots = draw_few_shots(find_duplicates(), pool, fraction=0.4, seed=3)
    features = encode(model, test, FLOAT32, name="vit")
    inputs = {
        "model-vit": model,
        "pool-oct": pool,
        "few_shots-k40_s3": few_shots,
        "checkpoint-vit_nearest_k40_s3": Checkpoint(),
        "features-vit-oct": features,
        "corrupted-oct": test,
        "params:evaluation": FLOAT32,
    }
    catalog = DataCatalog({name: MemoryDataset(value, copy_mode="assign") for name, value in inputs.items()})
    nodes = tuning.create_pipeline(plan) + evaluation.create_pipeline(plan).to_outputs("logits-vit_nearest_k40_s3-oct")
    SequentialRunner().run(nodes, catalog)

    shots = pool.subset(np.flatnonzero(np.isin(pool.sample_ids, few_shots.query("role == 'training'")["sample_id"])))
    labelled = model.encode_image(model.preprocess(shots.images)).numpy()
    means = np.stack([labelled[shots.labels == label].mean(0) for label in range(len(shots.class_names))])
    distances = np.square(features.rows[:, None] - means).sum(-1).reshape(2, 40, -1)
    logits = catalog.load("logits-vit_nearest_k40_s3-oct")
    np.testing.assert_array_equal(logits.logits.argmax(-1), distances.argmin(-1))
    assert logits.attributes["method"] == "nearest-mean"
    assert isinstance(catalog.load("history-vit_nearest_k40_s3"), pd.DataFrame)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"type": "nearest_mean.NearestClassMaen"}, "methods.nearest-mean.type: there is no method"),
        ({"sharpnes": 3}, "unknown 'sharpnes'; did you mean 'sharpness'?"),
        ({"sharpness": -1}, "methods.nearest-mean.sharpness: expected a number of 0 or more, found -1"),
    ],
)
def test_its_settings_are_checked_as_those_of_every_method(change, message):
    methods = {"nearest-mean": PARAMETERS["methods"]["nearest-mean"] | change}
    with pytest.raises(PlanError) as error:
        read_plan(PARAMETERS | {"methods": methods})
    assert message in str(error.value)


def test_the_how_to_is_this_very_method():
    code = inspect.getsource(nearest_mean).partition('"""\n\n')[2]
    assert code in HOW_TO.read_text()

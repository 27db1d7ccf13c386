"""Few-shot images are encoded once for all heads that look at them alike."""

from collections import Counter

import numpy as np
import pytest
from kedro.io import DataCatalog, MemoryDataset
from kedro.runner import SequentialRunner
from small_benchmark import PHANTOM
from test_controls import FLOAT32, FOLDER, phantoms

from robustmedclip.adaptation.checkpoint import Checkpoint
from robustmedclip.adaptation.task import Task
from robustmedclip.io import ShotFeaturesDataset
from robustmedclip.models.open_clip import load_open_clip
from robustmedclip.pipelines import tuning
from robustmedclip.pipelines.few_shot.leakage import find_duplicates
from robustmedclip.pipelines.few_shot.nodes import chosen, draw_few_shots
from robustmedclip.plan.reading import read_plan

pytestmark = pytest.mark.slow

COPIES = {"suite": "imagenet-c", "names": ["fog"], "probability": 1.0}
METHODS = {
    "probe": {"type": "linear_probe"},
    "cache": {"type": "cache"},
    "zs-lp": {"type": "clap", "constraint": 0},
    "ss-text": {"type": "ss_text"},
    "guarded": {"type": "linear_probe", "guard": 0.68},
    "augmented": {"type": "linear_probe", "corruptions": COPIES, "copies": 2},
    "robust": {"type": "robust_probe", "corruptions": COPIES, "guard": 0.68, "copies": 2},
    "ensemble": {
        "type": "robust_ensemble",
        "corruptions": COPIES | {"probability": 0.5},
        "guard": 0.68,
        "copies": 2,
        "epochs": 1,
        "targets": None,
    },
}
PARAMETERS = {
    "data_sets": {"oct": {"modality": "OCT", "source": PHANTOM}},
    "corruptions": {"suite": "medimeta-c", "names": ["contrast"]},
    "templates": ["{class_name}"],
    "models": {"vit": {"source": {"type": "open_clip", "path": str(FOLDER)}}},
    "methods": METHODS,
    "adaptations": {
        name.replace("-", "_"): {"method": name, "models": ["vit"], "fractions": [0.4]} for name in METHODS
    },
    "seeds": [3],
    "baseline": "vit",
}


@pytest.fixture(scope="module")
def plan():
    return read_plan(PARAMETERS)


@pytest.fixture(scope="module")
def nodes(plan):
    return tuning.create_pipeline(plan)


def test_heads_that_look_at_images_alike_share_their_features(plan, nodes):
    """Two choose on validation images, two don't, two look at corrupted copies behind a guard, and two others."""
    encoded = [node for node in nodes.nodes if node.short_name.startswith("encode_shots")]
    readers = {node.namespace: [i for i in node.inputs if i.startswith("shot_features")] for node in nodes.nodes}
    shared = Counter(entry for entries in readers.values() for entry in entries)
    assert len(encoded) == len(shared) == 5 and sorted(shared.values()) == [1, 1, 2, 2, 2]
    assert readers["tuning.vit.probe_k40_s3"] == readers["tuning.vit.cache_k40_s3"]
    assert readers["tuning.vit.zs_lp_k40_s3"] == readers["tuning.vit.ss_text_k40_s3"]
    assert readers["tuning.vit.robust_k40_s3"] == readers["tuning.vit.ensemble_k40_s3"]


def test_heads_have_the_bytes_of_images_that_are_encoded_for_each(tmp_path, plan, nodes):
    model, pool = load_open_clip(f"local-dir:{FOLDER}"), phantoms("oct", "pool", 40)
    few_shots = draw_few_shots(find_duplicates(), pool, fraction=0.4, seed=3)
    inputs = {"model-vit": model, "pool-oct": pool, "few_shots-k40_s3": few_shots, "params:evaluation": FLOAT32}
    inputs["checkpoint-vit_ensemble_k40_s3"] = Checkpoint()
    catalog = DataCatalog({name: MemoryDataset(value, copy_mode="assign") for name, value in inputs.items()})
    for entry in nodes.all_outputs():
        if entry.startswith("shot_features"):
            catalog[entry] = ShotFeaturesDataset(filepath=str(tmp_path / entry))
    SequentialRunner().run(nodes, catalog)
    compared = ("zs_lp", "augmented", "robust", "ensemble")
    for evaluated in (tuned for tuned in plan.tuned_models if tuned.adaptation.name in compared):
        learnt = evaluated.method.learnt_roles
        parts = chosen(pool, few_shots, *learnt), chosen(pool, few_shots, *({"validation"} - set(learnt)))
        task = Task(*parts, templates=("{class_name}",), synonyms={})
        artefact, search = evaluated.method.fit(
            model, [task], seed=3, precision=model.network.visual.proj.dtype, checkpoint=Checkpoint()
        )
        stored = catalog.load(evaluated.artefact)
        heads = [getattr(part, "head", part) for part in (stored, artefact)]
        assert heads[0].content_hash() == heads[1].content_hash() and stored.metadata == artefact.metadata
        seen = len(few_shots) if evaluated.adaptation.name in ("robust", "ensemble") else len(few_shots) // 2
        assert stored.metadata["training_images"] == seen
        history = catalog.load(f"history-{evaluated.cell}")
        np.testing.assert_array_equal(history.columns, list(search[0]))

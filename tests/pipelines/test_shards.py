"""Cells that are split into shards of their conditions."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from kedro.io import DataCatalog, MemoryDataset
from kedro.pipeline import Pipeline
from kedro.runner import SequentialRunner
from small_benchmark import PHANTOM

import robustmedclip.models
from robustmedclip.adaptation.artefacts import Adapter
from robustmedclip.errors import InputError
from robustmedclip.images.corrupted import CorruptedSet
from robustmedclip.images.sets import ImageSet
from robustmedclip.io import FeaturesDataset, LogitsDataset
from robustmedclip.models.inference import in_full_batches
from robustmedclip.models.interface import VisionLanguageModel
from robustmedclip.models.open_clip import load_open_clip
from robustmedclip.models.study_quirks import apply_study_quirks
from robustmedclip.pipelines.corruption.nodes import corrupt_test_set
from robustmedclip.pipelines.evaluation import create_pipeline
from robustmedclip.pipelines.evaluation.nodes import encode, join_features, join_logits, score
from robustmedclip.plan.plan import Plan
from robustmedclip.plan.problems import PlanError
from robustmedclip.plan.reading import read_plan

pytestmark = pytest.mark.slow

FOLDER = Path(robustmedclip.models.__file__).parent
MODELS = {"vit": FOLDER / "phantom_vit", "resnet": FOLDER / "phantom_resnet", "other": FOLDER / "phantom_vit"}
FLOAT32 = {"precision": "float32"}
TUNED = "vit_tuned_k10_s0"
PARAMETERS = {
    "data_sets": {"oct": {"modality": "OCT", "source": PHANTOM}},
    "corruptions": {"suite": "medimeta-c", "names": ["contrast"]},
    "templates": ["{class_name}"],
    "models": {
        name: {
            "source": {"type": "open_clip", "path": str(folder)},
            "authors": ["batch_statistics"] * (name == "resnet"),
        }
        for name, folder in MODELS.items()
    },
    "methods": {"full": {"type": "full"}},
    "adaptations": {"tuned": {"method": "full", "models": ["vit"], "fractions": [0.1]}},
    "seeds": [0],
    "baseline": "vit",
    "protocol": "authors",
    "read_together": True,
}


def plan_of(shards: int) -> Plan:
    return read_plan({**PARAMETERS, "shards": shards})


def dependent_on_place(model: VisionLanguageModel) -> VisionLanguageModel:
    """The model, whose features depend on the place of an image in its pass, as sums in another order do."""
    encode_image = model.network.encode_image
    model.network.encode_image = lambda pixels: encode_image(pixels) + torch.arange(len(pixels))[:, None] / 50
    return model


@pytest.fixture(scope="module")
def inputs() -> dict:
    """Of a plan: a test set whose conditions don't fill up the batches, models, and a tuned encoder."""
    images = ImageSet.validated(
        name="oct",
        split="test",
        modality="OCT",
        class_names=("drusen", "normal"),
        images=np.random.default_rng(0).integers(0, 256, (21, 64, 64, 1), np.uint8),
        labels=np.arange(21, dtype=np.int64) % 2,
        sample_ids=np.array([f"{i:02d}" for i in range(21)]),
    )
    settings = {"suite": "medimeta-c", "dataset": None, "grey": "native", "storage": "on_the_fly"}
    conditions = plan_of(1).data_sets[0].conditions
    models = {name: load_open_clip(f"local-dir:{folder}") for name, folder in MODELS.items()}
    models["resnet"] = apply_study_quirks(models["resnet"], ["batch_statistics"])
    models["other"] = dependent_on_place(models["other"])
    visual = models["vit"].network.get_submodule("visual").state_dict()
    weights = {name: 1.01 * value.numpy() for name, value in visual.items()}
    return {
        **{f"model-{name}": model for name, model in models.items()},
        "corrupted-oct": corrupt_test_set(images, {"seed": 0}, conditions=conditions, **settings),
        f"adapter-{TUNED}": Adapter({}, weights, {"base_model_hash": models["vit"].content_hash()}),
        "params:evaluation": FLOAT32,
    }


def run(inputs: dict, folder: Path, plan: Plan) -> dict[str, bytes]:
    """The files of the features and logits of all conditions."""
    cells = {"features": MODELS, "logits": (*MODELS, TUNED)}
    kinds = {"features": FeaturesDataset, "logits": LogitsDataset}
    entries = {
        f"{kind}-{cell}-oct": kinds[kind](filepath=str(folder / kind / f"{cell}.npz"))
        for kind in cells
        for cell in cells[kind]
    }
    inputs = {name: MemoryDataset(value, copy_mode="assign") for name, value in inputs.items()}
    nodes = [node for node in create_pipeline(plan).nodes if node.short_name != "fit_temperatures"]
    SequentialRunner().run(Pipeline(nodes), DataCatalog({**inputs, **entries}))
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*.npz")}


def test_the_bytes_are_the_same_however_many_shards_there_are(tmp_path, inputs):
    """Of models that read together, of one that normalises by statistics of the images, and of a tuned one."""
    whole = run(inputs, tmp_path / "1", plan_of(1))
    assert len(whole) == 3 + 4
    for shards in (2, 5):
        assert run(inputs, tmp_path / str(shards), plan_of(shards)) == whole


def test_rows_of_a_stream_that_is_cut_out_of_a_longer_one_keep_their_places():
    rows = np.zeros((130, 2), np.float32)
    whole = np.concatenate(list(in_full_batches([rows], lambda batch: batch + np.arange(50)[:, None])))
    for start in (0, 21, 50, 99):
        parts = in_full_batches([rows[start:]], lambda batch: batch + np.arange(50)[:, None], start % 50)
        np.testing.assert_array_equal(np.concatenate(list(parts)), whole[start:])


def test_a_shard_reads_its_conditions_alone(inputs, monkeypatch):
    conditions, read = [], CorruptedSet.read

    def counted(corrupted, condition, batch_size):
        conditions.append(condition)
        return read(corrupted, condition, batch_size)

    monkeypatch.setattr(CorruptedSet, "read", counted)
    encode(inputs["model-vit"], inputs["corrupted-oct"], FLOAT32, name="vit", shard=slice(2, 4))
    assert conditions == list(inputs["corrupted-oct"].conditions[2:4])


def test_one_shard_is_the_graph_without_shards_and_a_namespace_is_the_whole_cell():
    plan = replace(plan_of(3), read_together=False)
    for cell, place, nodes in (
        ("other", "other.zero-shot", ["encode_1", "encode_2", "encode_3", "score"]),
        (TUNED, "vit.tuned_k10_s0", ["score_1", "score_2", "score_3"]),
    ):
        namespace = f"evaluation.{place}.oct"
        chosen = create_pipeline(plan).filter(node_namespaces=[namespace])
        names = [node.name.removeprefix(f"{namespace}.") for node in chosen.nodes]
        assert sorted(name for name in names if "join" not in name) == nodes
        assert f"logits-{cell}-oct" in chosen.outputs()
    whole = {node.name.rpartition(".")[2] for node in create_pipeline(plan_of(1)).nodes}
    assert whole == {"encode", "score", "fit_temperatures"}


def test_a_data_set_may_have_shards_of_its_own_and_at_most_one_per_condition():
    data_set = {**PARAMETERS["data_sets"]["oct"], "shards": 5}
    plan = read_plan({**PARAMETERS, "data_sets": {"oct": data_set, "small": PARAMETERS["data_sets"]["oct"]}})
    assert [one.shards for one in plan.data_sets] == [5, 1]
    lengths = [len(plan.data_sets[0].conditions[part]) for part in plan.data_sets[0].slices]
    assert sum(lengths) == 6 and set(lengths) == {1, 2}
    with pytest.raises(PlanError, match="data_sets.oct: 7 shards are more than its 6 conditions can be split into"):
        plan_of(7)
    with pytest.raises(PlanError, match="shards: expected an integer of 1 or more, found 0"):
        plan_of(0)


def test_shards_that_were_encoded_in_different_precisions_are_refused(inputs):
    model, corrupted = inputs["model-vit"], inputs["corrupted-oct"]
    exact = encode(model, corrupted, FLOAT32, name="vit", shard=slice(0, 1))
    fast = replace(exact, precision="bfloat16")
    with pytest.raises(InputError, match="'oct' were encoded in bfloat16 and float32, by machines of different kinds"):
        join_features(exact, fast)
    facts = {"name": "vit", "attributes": {}, "templates": ["{class_name}"], "synonyms": {}}
    method = read_plan(PARAMETERS).adaptations[0].method
    with pytest.raises(InputError, match="bfloat16 and float32"):
        join_logits(*(score(features, model, method=method, **facts) for features in (exact, fast)))

"""The evaluation: what is kept, in which batches, and how much of it a change of the prompts makes again."""

import copy
import shutil
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from kedro.io import DataCatalog, MemoryDataset
from kedro.io.core import Version
from kedro.runner import SequentialRunner
from model_sources import open_clip_dataset
from small_benchmark import PHANTOM

import robustmedclip.models
from robustmedclip.adaptation.artefacts import Head
from robustmedclip.adaptation.methods import Method
from robustmedclip.adaptation.methods.linear_probe import LinearProbe
from robustmedclip.corruptions.kernels import devices as corruption_devices
from robustmedclip.errors import InputError
from robustmedclip.images.conditions import CLEAN, Condition
from robustmedclip.images.corrupted import CorruptedSet
from robustmedclip.images.pixels import rebatched
from robustmedclip.images.sets import ImageSet
from robustmedclip.io import CorruptedSetDataset, FeaturesDataset, LogitsDataset
from robustmedclip.models.inference import corruption_device
from robustmedclip.models.open_clip import load_open_clip
from robustmedclip.models.open_clip_network import new_open_clip
from robustmedclip.models.preprocessing import CLIP_MEAN, CLIP_STD, Preprocessing
from robustmedclip.models.study_quirks import apply_study_quirks
from robustmedclip.pipelines.corruption.nodes import corrupt_test_set
from robustmedclip.pipelines.evaluation import create_pipeline
from robustmedclip.pipelines.evaluation.nodes import encode, encode_with_each, score
from robustmedclip.plan.plan import Plan
from robustmedclip.plan.reading import read_plan
from robustmedclip.run.catalog import FingerprintedCatalog
from robustmedclip.run.fingerprints import expected_fingerprints

pytestmark = pytest.mark.slow

FOLDER = str(Path(robustmedclip.models.__file__).parent / "phantom_vit")
CONDITIONS = (CLEAN, Condition("contrast", 1), Condition("pixelate", 5))
FLOAT32 = {"precision": "float32"}
PROMPTS = {"templates": ["{class_name}"], "synonyms": {}}


def noise(height: int, width: int) -> ImageSet:
    return ImageSet.validated(
        name="oct",
        split="test",
        modality="OCT",
        class_names=("drusen", "normal"),
        images=np.random.default_rng(0).integers(0, 256, (21, height, width, 1), np.uint8),
        labels=np.arange(21, dtype=np.int64) % 2,
        sample_ids=np.array([f"{i:02d}" for i in range(21)]),
    )


def under_corruptions(images: ImageSet) -> CorruptedSet:
    settings = {"suite": "medimeta-c", "dataset": None, "grey": "native", "storage": "on_the_fly"}
    return corrupt_test_set(images, {"seed": 0}, conditions=CONDITIONS, **settings)


@pytest.fixture(scope="module")
def corrupted():
    return under_corruptions(noise(64, 64))


@pytest.mark.parametrize("sizes", [[], [3], [5, 5], [1, 4, 2, 9, 3], [12, 1]])
def test_batches_are_full_but_for_the_last(sizes):
    rows = np.arange(2 * sum(sizes)).reshape(-1, 2)
    batches = list(rebatched(np.split(rows, np.cumsum(sizes)[:-1]) if sizes else [], 5))
    assert [len(batch) for batch in batches[:-1]] == [5] * (len(batches) - 1)
    np.testing.assert_array_equal(np.concatenate([rows[:0], *batches]), rows)


def test_features_are_those_of_each_image_by_itself(corrupted):
    model = load_open_clip(f"local-dir:{FOLDER}")
    features = encode(model, corrupted, {"precision": "float32"}, name="vit")
    rows = features.rows.reshape(len(CONDITIONS), 21, -1)
    for i, condition in enumerate(CONDITIONS):
        images = np.concatenate(list(corrupted.read(condition, 21)))
        expected = model.encode_image(model.preprocess(images[4:5])).numpy()
        np.testing.assert_allclose(rows[i, 4:5], expected, atol=1e-6)


def test_features_do_not_depend_on_the_number_of_cores(corrupted):
    model, before, rows = load_open_clip(f"local-dir:{FOLDER}"), torch.get_num_threads(), []
    try:
        for cores in (1, 2, 7):
            torch.set_num_threads(cores)
            rows.append(encode(model, corrupted, {"precision": "float32"}, name="vit").rows)
            assert torch.get_num_threads() == cores
    finally:
        torch.set_num_threads(before)
    np.testing.assert_array_equal(rows[1:], rows[:1] * 2)


@pytest.mark.parametrize("kind", ["zero-shot", "head"])
def test_logits_of_many_classes_do_not_depend_on_the_number_of_cores(model, corrupted, kind):
    classes, rng = tuple(f"class {number}" for number in range(19)), np.random.default_rng(0)
    features = replace(encode(model, corrupted, FLOAT32, name="vit"), class_names=classes)
    classifier = {"weight": rng.normal(size=(19, features.rows.shape[-1])).astype(np.float32), "bias": np.zeros(19)}
    metadata = {"base_model_hash": features.weights, "class_names": {"oct": list(classes)}}
    head = Head({"oct": classifier}, metadata) if kind == "head" else None
    method, before, logits = LinearProbe() if head else Method(), torch.get_num_threads(), []
    try:
        for cores in (1, 3):
            torch.set_num_threads(cores)
            of_cores = score(features, model, head, method=method, name="vit", attributes={"base": "vit"}, **PROMPTS)
            logits.append(of_cores.logits)
            assert torch.get_num_threads() == cores
    finally:
        torch.set_num_threads(before)
    np.testing.assert_array_equal(logits[0], logits[1])


def test_bfloat16_gives_features_close_to_float32s(corrupted, monkeypatch):
    monkeypatch.setattr("robustmedclip.models.inference.fast_precision", lambda device: torch.bfloat16)
    model = load_open_clip(f"local-dir:{FOLDER}")
    encode(model, corrupted, {"precision": "auto"}, name="vit")
    assert not torch.is_autocast_enabled("cpu") and not torch.is_inference_mode_enabled()
    exact, fast = (
        encode(model, corrupted, {"precision": precision}, name="vit").rows for precision in ("float32", "auto")
    )
    assert fast.dtype == np.float32
    assert 1e-5 < np.abs(exact - fast).max() < 0.05
    assert np.sum(exact * fast, axis=1).min() > 0.999


def plan_of(*models: str, read_together: bool = False, **prompts) -> Plan:
    return read_plan(
        {
            "data_sets": {"oct": {"modality": "OCT", "source": PHANTOM, **prompts}},
            "corruptions": {"suite": "medimeta-c", "names": "all"},
            "templates": ["{class_name}"],
            "models": {name: {"source": {"type": "open_clip", "path": FOLDER}} for name in models},
            "seeds": [0],
            "baseline": models[0],
            "read_together": read_together,
        }
    )


def test_other_prompts_encode_nothing_again(tmp_path, corrupted, monkeypatch):
    """Of the plan's own nodes, catalog and fingerprints, as ``--only-missing-outputs`` asks."""

    version = Version(None, "2026-01-01T00.00.00.000Z")
    catalog = FingerprintedCatalog(
        {
            "features-vit-oct": FeaturesDataset(filepath=str(tmp_path / "f.npz"), version=version),
            "logits-vit-oct": LogitsDataset(filepath=str(tmp_path / "l.npz"), version=version),
            "model-vit": open_clip_dataset(path=FOLDER),
            "corrupted-oct": MemoryDataset(corrupted),
        }
    )

    def missing(pipeline) -> set[str]:
        catalog.fingerprints = expected_fingerprints(pipeline, lambda name: name)
        return {name for name in pipeline.all_outputs() if not catalog.exists(name)}

    first = create_pipeline(plan_of("vit"))
    assert missing(first) == {"features-vit-oct", "logits-vit-oct"}
    model = catalog.load("model-vit")
    features = encode(model, corrupted, {"precision": "auto"}, name="vit")
    catalog.save("features-vit-oct", features)
    catalog.save(
        "logits-vit-oct",
        score(catalog.load("features-vit-oct"), model, method=Method(), name="vit", attributes={}, **PROMPTS),
    )
    assert missing(first) == set()
    for change in ({"templates": ["a {class_name}"]}, {"synonyms": {"normal": ["healthy"]}}):
        assert missing(create_pipeline(plan_of("vit", **change))) == {"logits-vit-oct"}


@pytest.fixture
def model():
    return load_open_clip(f"local-dir:{FOLDER}")


@pytest.fixture(scope="module")
def other():
    """A model of another input size and width."""
    vision = {"image_size": 32, "patch_size": 16, "width": 32, "head_width": 16, "layers": 1}
    text = {"context_length": 8, "vocab_size": 50, "width": 32, "heads": 2, "layers": 1}
    torch.manual_seed(0)
    network = new_open_clip({"embed_dim": 24, "vision_cfg": vision, "text_cfg": text}).requires_grad_(False).eval()
    return replace(
        load_open_clip(f"local-dir:{FOLDER}"), network=network, preprocess=Preprocessing((32, 32), CLIP_MEAN, CLIP_STD)
    )


@pytest.fixture
def spool(tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    monkeypatch.setattr("robustmedclip.models.features.MOST_IN_MEMORY", 0)
    return tmp_path


@pytest.mark.parametrize("storage", ["on_the_fly", "materialised"])
def test_models_that_read_together_give_the_bytes_of_each_by_itself(tmp_path, corrupted, model, other, storage):
    stored = CorruptedSetDataset(filepath=str(tmp_path / "oct"))
    stored.save(replace(corrupted, storage=storage))
    of_each = encode_with_each(stored.load(), FLOAT32, model, other, names=("vit", "other"))
    for encoder, beside_the_other in zip((model, other), of_each, strict=True):
        alone = encode(encoder, stored.load(), FLOAT32, name="alone")
        paths = [tmp_path / "beside.npz", tmp_path / "alone.npz"]
        for path, features in zip(paths, (beside_the_other, alone), strict=True):
            FeaturesDataset(filepath=str(path)).save(features)
        assert paths[0].read_bytes() == paths[1].read_bytes()
    assert [features.rows.shape[1] for features in of_each] == [96, 24]


def test_models_that_read_together_read_each_condition_once(corrupted, model, other, monkeypatch):
    conditions, read = [], CorruptedSet.read

    def counted(corrupted, condition, batch_size):
        conditions.append(condition)
        return read(corrupted, condition, batch_size)

    monkeypatch.setattr(CorruptedSet, "read", counted)
    encode_with_each(corrupted, FLOAT32, model, other, names=("vit", "other"))
    assert conditions == list(CONDITIONS)


@pytest.mark.skipif(sys.platform != "linux", reason="looks at /proc")
def test_large_features_wait_on_disk_until_they_are_stored_and_leave_nothing(spool, corrupted, model, other):
    def mapped() -> int:
        return sum(str(spool) in line for line in Path("/proc/self/maps").read_text().splitlines())

    of_each = encode_with_each(corrupted, FLOAT32, model, other, names=("vit", "other"))
    assert all(isinstance(part, np.memmap) for features in of_each for part in features.batches())
    assert mapped() == 2
    assert not list(spool.iterdir())
    del of_each
    assert mapped() == 0


def test_small_features_wait_in_memory(tmp_path, corrupted, model, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "none"))
    features = encode(model, corrupted, FLOAT32, name="vit")
    assert type(features.rows) is np.ndarray and features.rows.nbytes > 0


def test_a_temporary_folder_without_space_is_named_before_much_is_encoded(spool, corrupted, model, monkeypatch):
    monkeypatch.setattr("shutil.disk_usage", lambda folder: shutil._ntuple_diskusage(10, 10, 0))
    with pytest.raises(InputError, match=rf"'oct' take 0 MB under {spool} until .* set TMPDIR"):
        encode_with_each(corrupted, FLOAT32, model, names=("vit",))


def test_the_plan_gives_the_same_files_however_its_models_read(tmp_path, corrupted):
    def run(read_together: bool) -> dict[str, bytes]:
        folder = tmp_path / str(read_together)
        catalog = {"corrupted-oct": MemoryDataset(corrupted, copy_mode="assign")}
        for name in ("vit", "resnet"):
            catalog[f"model-{name}"] = open_clip_dataset(path=FOLDER.replace("vit", name))
            catalog[f"features-{name}-oct"] = FeaturesDataset(filepath=str(folder / f"features/{name}.npz"))
            catalog[f"logits-{name}-oct"] = LogitsDataset(filepath=str(folder / f"logits/{name}.npz"))
        catalog = DataCatalog({**catalog, "params:evaluation": MemoryDataset(FLOAT32)})
        pipeline = create_pipeline(plan_of("vit", "resnet", read_together=read_together))
        assert {node.name for node in pipeline.nodes if "encode" in node.name} == (
            {"evaluation.all.oct.encode"}
            if read_together
            else {"evaluation.vit.zero-shot.oct.encode", "evaluation.resnet.zero-shot.oct.encode"}
        )
        SequentialRunner().run(pipeline, catalog)
        return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*.npz")}

    apart, together = run(False), run(True)
    assert apart.keys() == {f"{kind}/{name}.npz" for kind in ("features", "logits") for name in ("vit", "resnet")}
    assert together == apart


@pytest.fixture
def resnet():
    return apply_study_quirks(load_open_clip(f"local-dir:{FOLDER.replace('vit', 'resnet')}"), ["batch_statistics"])


def test_batch_statistics_are_those_of_the_images_of_each_condition(resnet, corrupted):
    features = encode(resnet, corrupted, FLOAT32, name="resnet").rows.reshape(3, 21, -1)
    training = copy.deepcopy(resnet.network)
    training.visual.train()
    for condition, found in zip(CONDITIONS, features, strict=True):
        images = np.concatenate(list(corrupted.read(condition, 8)))
        with torch.no_grad():
            expected = torch.nn.functional.normalize(training.encode_image(resnet.preprocess(images)), dim=-1)
        np.testing.assert_allclose(found, expected, atol=1e-5)


def test_batch_statistics_are_those_of_a_sample_of_many_images(resnet, corrupted, monkeypatch):
    monkeypatch.setattr("robustmedclip.models.batch_norm.STATISTICS_IMAGES", 5)
    few = encode(resnet, corrupted, FLOAT32, name="resnet").rows
    again = encode(resnet, corrupted, FLOAT32, name="resnet").rows
    monkeypatch.undo()
    all_of_them = encode(resnet, corrupted, FLOAT32, name="resnet").rows
    np.testing.assert_array_equal(few, again)
    assert 1e-3 < np.abs(few - all_of_them).max() < 0.5


def test_a_model_with_batch_statistics_reads_by_itself():
    plan = replace(plan_of("vit", "resnet", read_together=True), switches={"resnet": ("batch_statistics",)})
    nodes = {node.name for node in create_pipeline(plan).nodes if "encode" in node.name}
    assert nodes == {"evaluation.all.oct.encode", "evaluation.resnet.zero-shot.oct.encode"}


def test_images_that_are_too_small_to_be_corrupted_are_named_first():
    with pytest.raises(
        InputError, match="Data set 'oct': its images have 24 x 40 px, and corruptions need 28 px on each side"
    ):
        under_corruptions(noise(24, 40))


def test_levels_without_effect_are_warned_of(caplog):
    grey = noise(64, 64)
    settings = {"grey": "native", "storage": "on_the_fly"}
    conditions = (CLEAN, *(Condition("defocus_blur", severity) for severity in range(1, 6)))
    corrupt_test_set(grey, {"seed": 0}, suite="medmnist-c", dataset="octmnist", conditions=conditions, **settings)
    assert "images of 64 x 64 px with 1 channel(s): defocus_blur 1, 2, 3 change nothing" in caplog.text
    caplog.clear()
    for name, says in (("saturate", True), ("contrast", False)):
        conditions = (CLEAN, Condition(name, 5))
        corrupt_test_set(grey, {"seed": 0}, suite="imagenet-c", dataset=None, conditions=conditions, **settings)
        assert ("saturate 5 change nothing" in caplog.text) == says
        caplog.clear()


def scored(model, corrupted):
    features = encode(model, corrupted, {"precision": "float32"}, name="vit")
    return score(features, model, method=Method(), name="vit", attributes={"base": "vit"}, **PROMPTS)


def test_logits_carry_the_hash_of_the_weights_that_made_them(model, corrupted):
    logits = scored(model, corrupted)
    assert logits.logits.shape == (3, 21, 2) and np.isfinite(logits.logits).all()
    assert logits.attributes == {"base": "vit", "weights": model.content_hash(), "precision": "float32"}


@pytest.mark.parametrize("scale", [np.inf, np.nan])
def test_logits_that_are_not_finite_are_refused_with_their_place(model, corrupted, scale):
    broken = replace(model)
    object.__setattr__(broken, "logit_scale", scale)  # a model that is made with such a scale is refused at once
    with pytest.raises(InputError, match=r"'vit' on 'oct' under clean are not finite for 21 of 21 .* 00"):
        scored(broken, corrupted)


def test_a_single_image_that_overflows_is_found(model, corrupted):
    def encode_image(pixels):
        features = encode(pixels)
        return features / (features.new_ones(len(features), 1).index_fill_(0, features.new_tensor([4]).long(), 0))

    encode, model.network.encode_image = model.network.encode_image, encode_image
    with pytest.raises(InputError, match="1 of 21 images, the first of them 04"):
        scored(model, corrupted)


def test_on_a_gpu_images_that_are_not_stored_are_corrupted_there(corrupted, monkeypatch):
    """The processor's second name stands in for the GPU."""
    expected = encode(load_open_clip(f"local-dir:{FOLDER}"), corrupted, FLOAT32, name="vit")
    monkeypatch.setattr("robustmedclip.models.inference.corruption_device", lambda model: "cpu:0")
    monkeypatch.setattr("robustmedclip.corruptions.kernels.devices.check_device", lambda device: None)
    devices, batch = [], corruption_devices.corrupted_batch

    def recorded(*arguments, device, **settings):
        devices.append(device)
        return batch(*arguments, device=device, **settings)

    monkeypatch.setattr(corruption_devices, "corrupted_batch", recorded)
    features = encode(load_open_clip(f"local-dir:{FOLDER}"), corrupted, FLOAT32, name="vit")
    assert devices == ["cpu:0", "cpu:0"]  # contrast and pixelate, a batch each
    np.testing.assert_array_equal(features.rows, expected.rows)


@pytest.mark.parametrize(("device", "expected"), [("cuda:1", "cuda:1"), ("cpu", "cpu"), ("mps", "cpu")])
def test_images_are_corrupted_beside_the_model_on_a_gpu_of_cuda(device, expected):
    assert corruption_device(SimpleNamespace(device=torch.device(device))) == expected

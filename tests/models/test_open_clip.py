"""Shipped and local models: loading, parity with open_clip's own path, errors."""

from pathlib import Path

import numpy as np
import open_clip
import pytest
import torch
from content import content_of
from model_sources import model_dataset, open_clip_dataset
from PIL import Image
from torch.nn import functional as F

import robustmedclip.models
from robustmedclip.errors import InputError
from robustmedclip.models.batch_size import BATCH_SIZE
from robustmedclip.models.inference import image_logits
from robustmedclip.models.interface import zero_shot_classifier
from robustmedclip.models.open_clip import _settings_of, load_open_clip
from robustmedclip.models.preprocessing import CLIP_MEAN

FOLDER = Path(robustmedclip.models.__file__).parent / "phantom_vit"
ROOT = Path(__file__).parents[2]
CLASSES, TEMPLATES = ("drusen", "normal retina"), ("{class_name}", "a {modality} image showing {class_name}")


@pytest.fixture(scope="module")
def images() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (7, 80, 100, 3), np.uint8)


@pytest.mark.parametrize("name", ["phantom_vit", "phantom_resnet"])
def test_logits_equal_open_clips_own(name, images):
    folder = FOLDER.with_name(name)
    model = load_open_clip(f"local-dir:{folder}")
    network, _, transform = open_clip.create_model_and_transforms(f"local-dir:{folder}")
    tokenizer = open_clip.get_tokenizer(f"local-dir:{folder}")
    with torch.inference_mode():
        pixels = torch.stack([transform(Image.fromarray(image)) for image in images])
        image_features = network.eval().encode_image(pixels, normalize=True)
        text_features = network.encode_text(tokenizer([f"{name}" for name in CLASSES]), normalize=True)
        expected = network.logit_scale.exp() * image_features @ text_features.T
    classifier = zero_shot_classifier(model, CLASSES, ["{class_name}"], "OCT")
    pixel_difference = (model.preprocess(images) - pixels).abs().max()
    assert pixel_difference < 2.5 / 255 / min(model.preprocess.std)
    with torch.inference_mode():
        logits = model.logit_scale * model.encode_image(pixels) @ classifier.T
    torch.testing.assert_close(logits, expected, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("name", ["phantom_vit", "phantom_resnet"])
def test_shipped_models_are_small_and_have_a_card(name):
    folder = FOLDER.with_name(name)
    assert (folder / "open_clip_model.safetensors").stat().st_size <= 6_000_000
    card = (folder / "README.md").read_text()
    assert all(word in card for word in ("synthetic phantoms", "kedro run --pipelines pretraining", "hospital"))


def test_logits_do_not_depend_on_the_number_of_images(images):
    model = load_open_clip(f"local-dir:{FOLDER}")
    classifier = zero_shot_classifier(model, CLASSES, TEMPLATES, "OCT")
    many = np.tile(images, (30, 1, 1, 1))
    split = [many[i : i + BATCH_SIZE] for i in range(0, len(many), BATCH_SIZE)]
    together = np.concatenate(list(image_logits(model, classifier, split)))
    alone = np.concatenate(list(image_logits(model, classifier, [images])))
    np.testing.assert_array_equal(together[: len(images)], alone)


def test_a_class_vector_does_not_depend_on_the_other_classes():
    model = load_open_clip(f"local-dir:{FOLDER}")
    both = zero_shot_classifier(model, CLASSES, TEMPLATES, "OCT")
    one = zero_shot_classifier(model, CLASSES[1:], TEMPLATES, "OCT")
    torch.testing.assert_close(both[1:], one, atol=0, rtol=0)
    torch.testing.assert_close(both.norm(dim=1), torch.ones(2))


def test_synonyms_and_templates_are_one_ensemble():
    model = load_open_clip(f"local-dir:{FOLDER}")
    templates = ["a medical image of a {class_name} belonging to {data_set}", "{class_name}, {modality}"]
    synonyms = {"drusen": ["drusen", "yellow deposits"]}
    vectors = zero_shot_classifier(model, CLASSES, templates, "OCT", data_set="oct", synonyms=synonyms)
    prompts = [
        "a medical image of a drusen belonging to oct",
        "a medical image of a yellow deposits belonging to oct",
        "drusen, OCT",
        "yellow deposits, OCT",
    ]
    torch.testing.assert_close(vectors[0], F.normalize(model.encode_text(prompts).mean(0), dim=0))
    torch.testing.assert_close(vectors[1:], zero_shot_classifier(model, CLASSES[1:], templates, "OCT", data_set="oct"))


def test_a_finding_is_scored_against_its_absence_or_against_no_finding():
    """CheXzero's probability of a finding, of the logits of its pair of prompts, is that of the log-odds."""
    model = load_open_clip(f"local-dir:{FOLDER}")
    image = F.normalize(torch.randn(1, model.encode_text(["x"]).shape[1], generator=torch.manual_seed(0)), dim=1)
    findings, synonyms = ["edema", "mass"], {"mass": ["mass", "tumour"]}
    for scoring, absent in {"pair": ["no edema", ("no mass", "no tumour")], "margin": 2 * ["no finding"]}.items():
        vectors = zero_shot_classifier(model, findings, ["{class_name}"], "X-ray", synonyms=synonyms, scoring=scoring)
        for vector, texts in zip(vectors, zip(absent, ["edema", ("mass", "tumour")], strict=True), strict=True):
            pair = [
                F.normalize(model.encode_text([t] if isinstance(t, str) else list(t)).mean(0), dim=0) for t in texts
            ]
            logits = model.logit_scale * image @ torch.stack(pair).T
            expected = logits.softmax(1)[0, 1]
            torch.testing.assert_close((model.logit_scale * image @ vector).sigmoid()[0], expected)


def test_classes_that_the_model_cannot_tell_apart_are_named():
    model = load_open_clip(f"local-dir:{FOLDER}")
    long = (
        "the upper lobe of the left lung, seen from the front in a patient who lies on the right side, "
        "with some contrast"
    )
    for names in (["a tumour", "normal", "A tumour"], [f"{long} and a tumour", "normal", f"{long} and none"]):
        with pytest.raises(
            InputError, match=f"oct: the prompts of '{names[0]}' and '{names[2]}' are the same to phantom_vit"
        ):
            zero_shot_classifier(model, names, ["{class_name}"], "OCT", data_set="oct")


@pytest.mark.parametrize(
    ("name", "mean"),
    [("ViT-B-16-SigLIP", (0.5, 0.5, 0.5)), ("ViT-B-16-quickgelu", CLIP_MEAN), ("RN101-quickgelu", CLIP_MEAN)],
)
def test_a_file_of_weights_is_preprocessed_as_all_weights_of_its_model(name, mean, caplog):
    assert _settings_of(name)["mean"] == mean and not caplog.records


def test_a_guessed_preprocessing_is_said(caplog):
    assert not _settings_of("ViT-L-14")
    assert "doesn't say how ViT-L-14 wants its images: they are prepared as CLIP's" in caplog.text


def test_what_prompts_lack_is_said():
    model = load_open_clip(f"local-dir:{FOLDER}")
    with pytest.raises(ValueError, match="oct: synonyms of 'druse', which is no class; .* 'drusen', 'normal"):
        zero_shot_classifier(model, CLASSES, TEMPLATES, "OCT", data_set="oct", synonyms={"druse": ["x"]})
    with pytest.raises(ValueError, match=r"template has \{data_set\}, which is not given"):
        zero_shot_classifier(model, CLASSES, ["{class_name} {data_set}"], "OCT")


def test_the_content_hash_follows_the_weights():
    model, same = (load_open_clip(f"local-dir:{FOLDER}") for _ in range(2))
    assert model.content_hash() == same.content_hash()
    with torch.no_grad():
        next(same.network.visual.parameters()).view(-1)[0] += 1e-3
    assert model.content_hash() != same.content_hash()


SHIPPED = "src/robustmedclip/models/phantom_vit"
WEIGHTS = f"{SHIPPED}/open_clip_model.safetensors"
CHECKPOINT = {"type": "checkpoint", "layout": "unimedclip", "weights": WEIGHTS, "text": SHIPPED}


@pytest.mark.parametrize(
    "entry",
    [
        {"type": "open_clip", "path": SHIPPED},
        {"type": "open_clip", "model": "ViT-B-32", "pretrained": WEIGHTS, "quick_gelu": True},
        CHECKPOINT,
        {"type": "transformers", "model": SHIPPED, "weights": WEIGHTS},
        {"type": "robustmedclip", "base": CHECKPOINT, "adapter": SHIPPED},
    ],
    ids=["path", "pretrained", "weights and text", "model", "base and adapter"],
)
def test_relative_paths_are_those_from_the_projects_root(tmp_path, monkeypatch, entry):
    content = content_of(model_dataset(entry, root=str(ROOT)))
    monkeypatch.chdir(tmp_path)
    elsewhere = model_dataset(entry, root=str(ROOT))
    assert elsewhere.problems() == []
    assert content_of(elsewhere) == content and all(content[1])


def test_a_path_in_the_package_is_found_wherever_it_is_installed(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    dataset = open_clip_dataset(path="package:models/phantom_vit")
    assert (
        dataset.problems() == []
        and dataset.load().content_hash() == load_open_clip(f"local-dir:{FOLDER}").content_hash()
    )


def test_missing_files_are_found_before_loading(tmp_path):
    assert "there is no" in open_clip_dataset(path=str(tmp_path / "gone")).problems()[0]
    assert (
        "there is no" in open_clip_dataset(model="ViT-B-32", pretrained="models/gone.pt", quick_gelu=True).problems()[0]
    )
    assert "open_clip_config.json" in open_clip_dataset(path=str(tmp_path)).problems()[0]
    assert open_clip_dataset(path=str(FOLDER)).problems() == []
    assert open_clip_dataset(model="ViT-B-32", pretrained="openai").problems() == []

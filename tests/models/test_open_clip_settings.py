"""What a model of open_clip says of its activation, images and tokenizer is followed, asked for, or refused by name."""

import json
import shutil
from pathlib import Path

import numpy as np
import open_clip
import pytest
import torch
import transformers
from model_sources import open_clip_dataset
from open_clip.transform import PreprocessCfg, image_transform_v2
from PIL import Image
from published import write_biomedclip, write_clip, write_text_tower

import robustmedclip.models
from robustmedclip.errors import InputError
from robustmedclip.models.formats import model_format
from robustmedclip.models.open_clip import load_open_clip
from robustmedclip.models.preprocessing import CLIP_MEAN

FOLDER = Path(robustmedclip.models.__file__).parent / "phantom_vit"
CLASSES = ("drusen", "normal retina")
IMAGES = np.random.default_rng(0).integers(0, 256, (3, 80, 100, 3), np.uint8)


@pytest.fixture
def two_activations(tmp_path) -> Path:
    """A file of weights of a small CLIP that open_clip knows as ``tiny`` and, with QuickGELU, as ``tiny-quickgelu``."""
    write_clip(tmp_path / "clip", "vit")
    config = json.loads((tmp_path / "clip/open_clip_config.json").read_text())["model_cfg"]
    for name, quick_gelu in (("tiny", False), ("tiny-quickgelu", True)):
        (tmp_path / f"{name}.json").write_text(json.dumps({**config, "quick_gelu": quick_gelu}))
        open_clip.add_model_config(tmp_path / f"{name}.json")
    return tmp_path / "clip/open_clip_pytorch_model.bin"


def test_an_activation_that_a_file_does_not_say_is_asked_for_before_the_run(tmp_path):
    (tmp_path / "mine.pt").touch()
    settings = {"model": "ViT-B-32", "pretrained": str(tmp_path / "mine.pt")}
    (problem,) = open_clip_dataset(**settings).problems()
    assert "mine.pt doesn't say whether it was trained with the activation QuickGELU" in problem
    assert "'quick_gelu: true'" in problem and "'quick_gelu: false'" in problem
    with pytest.raises(InputError, match="doesn't say whether"):
        model_format({"type": "open_clip", **settings}).load()
    for said in ({"quick_gelu": True}, {"quick_gelu": False}, {"model": "ViT-B-32-quickgelu"}):
        assert open_clip_dataset(**{**settings, **said}).problems() == []
    assert open_clip_dataset(**{**settings, "model": "ViT-B-16-SigLIP"}).problems() == []  # known with one alone


def test_settings_of_the_tokenizer_are_followed(tmp_path):
    """SigLIP's prompts have neither capitals nor points."""
    write_clip(tmp_path / "clip", "vit")
    config = json.loads((tmp_path / "clip/open_clip_config.json").read_text())["model_cfg"]
    config["text_cfg"]["tokenizer_kwargs"] = {"clean": "canonicalize"}
    (tmp_path / "config.json").write_text(json.dumps(config))
    weights = tmp_path / "clip/open_clip_pytorch_model.bin"
    model = open_clip_dataset(config=str(tmp_path / "config.json"), pretrained=str(weights)).load()
    text, length = ["An X-Ray, of pneumonia."], config["text_cfg"]["context_length"]
    expected = open_clip.SimpleTokenizer(context_length=length, clean="canonicalize")(text)
    assert torch.equal(model.tokenize(text), expected)
    assert not torch.equal(expected, open_clip.SimpleTokenizer(context_length=length)(text))


@pytest.mark.parametrize("quick_gelu", [True, False])
def test_weights_of_a_file_have_the_activation_that_is_given(two_activations, quick_gelu):
    name = "tiny-quickgelu" if quick_gelu else "tiny"
    reference = open_clip.create_model(name, pretrained=str(two_activations)).eval()
    model = open_clip_dataset(model="tiny", pretrained=str(two_activations), quick_gelu=quick_gelu).load()
    pixels = torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        expected = reference.encode_image(pixels, normalize=True)
        torch.testing.assert_close(model.encode_image(pixels), expected, atol=1e-5, rtol=1e-4)
    assert model.config["quick_gelu"] is quick_gelu


@pytest.mark.parametrize(
    "settings",
    [{"path": "clip"}, {"model": "ViT-B-32", "pretrained": "openai"}, {"model": "hf-hub:owner/model"}],
    ids=["folder", "tag", "hub"],
)
def test_an_activation_is_not_given_where_it_is_known(settings):
    with pytest.raises(ValueError, match="'quick_gelu' goes with a file of weights"):
        open_clip_dataset(**settings, quick_gelu=True)


def changed_folder(tmp_path: Path, change) -> Path:
    """The shipped model with `change` applied to its ``open_clip_config.json``."""
    folder = Path(shutil.copytree(FOLDER, tmp_path / "model"))
    content = json.loads((folder / "open_clip_config.json").read_text())
    change(content)
    (folder / "open_clip_config.json").write_text(json.dumps(content))
    return folder


@pytest.mark.parametrize(
    "change",
    [
        {"mean": [0.1, 0.2, 0.3], "std": [0.9, 0.8, 0.7]},
        {"mean": 0.4, "std": 0.2},
        {"mean": [0.4], "std": [0.2]},
        {"interpolation": "bilinear"},
        {"resize_mode": "squash"},
        {"resize_mode": "longest", "fill_color": 200},
        {"mean": None, "std": None, "resize_mode": None},
        {"size": 64},
        {"size": [64, 64]},
    ],
    ids=json.dumps,
)
def test_settings_of_the_images_are_followed_as_open_clip_does(tmp_path, change):
    folder = changed_folder(tmp_path, lambda content: content["preprocess_cfg"].update(change))
    preprocess = load_open_clip(f"local-dir:{folder}").preprocess
    known = json.loads((folder / "open_clip_config.json").read_text())["preprocess_cfg"]
    given = {name: value[0] if isinstance(value, list) and len(value) == 1 else value for name, value in known.items()}
    given = {name: value for name, value in given.items() if value is not None and name != "size"}
    transform = image_transform_v2(PreprocessCfg(size=preprocess.size, **given), is_train=False)
    pixels = torch.stack([transform(Image.fromarray(image)) for image in IMAGES])
    assert (preprocess(IMAGES) - pixels).abs().max() < 2.5 / 255 / min(preprocess.std)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"do_normalize": False}, "do_normalize are not known"),
        ({"rescale": 2}, "rescale are not known"),
        ({"size": 65}, "'size' is 65, and the network takes images of 64 x 64 px"),
        ({"mean": [0.5, 0.5]}, "mean.* is .*one number"),
        ({"std": 0}, "std"),
        ({"std": [0.5, "a", 0.5]}, "one number"),
        ({"fill_color": 300}, "fill_color is 300"),
        ({"fill_color": [0, 0, 0]}, "fill_color is"),
        ({"interpolation": "random"}, "interpolation is 'random'"),
    ],
    ids=str,
)
def test_settings_of_the_images_that_can_not_be_followed_are_refused_by_name(tmp_path, change, message):
    folder = changed_folder(tmp_path, lambda content: content["preprocess_cfg"].update(change))
    with pytest.raises(InputError, match=message):
        load_open_clip(f"local-dir:{folder}")


@pytest.mark.parametrize("keys", [("preprocess_cfg",), ("preprocess_cfg", "mean")], ids=".".join)
def test_a_normalisation_that_a_folder_does_not_say_is_said(tmp_path, caplog, keys):
    def change(content):
        *outside, last = keys
        for key in outside:
            content = content[key]
        del content[last]

    model = load_open_clip(f"local-dir:{changed_folder(tmp_path, change)}")
    assert model.preprocess.mean == CLIP_MEAN
    assert "doesn't say how it wants its images normalised: as CLIP's, it is assumed" in caplog.text


@pytest.mark.parametrize(
    "content",
    [
        "{",
        "[]",
        '{"added_tokens_decoder": {"0": 5}}',
        '{"tokenizer_class": 3}',
        '{"pad_token": null}',
        '{"model_max_length": "x"}',
    ],
)
def test_a_changed_tokenizer_is_refused_with_its_files_or_gives_the_same_tokens(tmp_path, content):
    write_text_tower(tmp_path / "bert")
    write_biomedclip(tmp_path / "model", tmp_path / "bert")
    file = tmp_path / "model/tokenizer_config.json"
    before = load_open_clip(f"local-dir:{tmp_path / 'model'}").encode_text(CLASSES)
    change = json.loads(content) if content.startswith("{") and content.endswith("}") else None
    file.write_text(json.dumps(json.loads(file.read_text()) | change) if change else content)
    try:
        after = load_open_clip(f"local-dir:{tmp_path / 'model'}").encode_text(CLASSES)
    except InputError as error:
        assert "tokenizer_config.json" in error.message
    else:
        torch.testing.assert_close(after, before, atol=0, rtol=0)


def test_tokens_that_a_text_tower_does_not_have_are_refused(tmp_path):
    write_text_tower(tmp_path / "bert")
    write_biomedclip(tmp_path / "model", tmp_path / "bert")
    tokenizer = transformers.AutoTokenizer.from_pretrained(tmp_path / "model")
    tokenizer.add_tokens([f"pneumonia{index}" for index in range(300)])
    tokenizer.save_pretrained(tmp_path / "model")
    model = load_open_clip(f"local-dir:{tmp_path / 'model'}")
    with pytest.raises(InputError, match=r"gives token \d+, and the model has 60.*tokenizer_config\.json"):
        model.encode_text(["pneumonia299"])


@pytest.mark.parametrize("tower", ["vision_cfg", "text_cfg"])
def test_more_layers_than_weights_are_refused_before_they_are_built(tmp_path, tower):
    folder = changed_folder(tmp_path, lambda content: content["model_cfg"][tower].update(layers=10**6))
    with pytest.raises(InputError, match=f"{tower} asks for 1000000 layers, and there are .* weights"):
        load_open_clip(f"local-dir:{folder}")


@pytest.mark.parametrize(
    ("place", "key"),
    [
        ("", "embed_dim"),
        ("vision_cfg", "image_size"),
        ("vision_cfg", "width"),
        ("text_cfg", "width"),
        ("text_cfg", "context_length"),
        ("text_cfg", "vocab_size"),
    ],
)
def test_sizes_that_are_not_those_of_the_weights_take_no_memory(tmp_path, place, key):
    def enlarge(content) -> None:
        settings = content["model_cfg"][place] if place else content["model_cfg"]
        settings[key] *= 10**5

    with pytest.raises(InputError, match="of another architecture: .*of another shape"):
        load_open_clip(f"local-dir:{changed_folder(tmp_path, enlarge)}")


@pytest.mark.parametrize(
    ("tower", "change"),
    [
        ("vision_cfg", {"patch_size": 0}),
        ("vision_cfg", {"width": -64}),
        ("vision_cfg", {"layers": "3"}),
        ("text_cfg", {"heads": 1.5}),
    ],
)
def test_sizes_that_are_no_whole_numbers_are_named(tmp_path, tower, change):
    folder = changed_folder(tmp_path, lambda content: content["model_cfg"][tower].update(change))
    ((key, value),) = change.items()
    with pytest.raises(InputError, match=f"{tower}.{key} must be a whole number above 0, not {value!r}"):
        load_open_clip(f"local-dir:{folder}")


def test_a_configuration_that_is_not_utf_8_is_refused_with_its_file(tmp_path):
    folder = Path(shutil.copytree(FOLDER, tmp_path / "model"))
    file = folder / "open_clip_config.json"
    file.write_bytes(file.read_text().encode("utf-16"))
    with pytest.raises(InputError, match="open_clip_config.json is not a configuration of open_clip"):
        load_open_clip(f"local-dir:{folder}")

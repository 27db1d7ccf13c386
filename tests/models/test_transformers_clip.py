"""CLIP and SigLIP of transformers: equal to transformers' own path, from a folder and from a file."""

import io
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import sentencepiece
import torch
import transformers
from model_sources import model_dataset
from PIL import Image
from published import TEXT, VISION, randomised, write_transformers
from safetensors.torch import load_file, save_file

from robustmedclip.errors import InputError
from robustmedclip.models.transformers_clip import load_transformers

pytestmark = pytest.mark.slow

TEXTS = ["a chest x-ray of pneumonia", "normal"]


@pytest.fixture(scope="module", params=["clip", "siglip"])
def published(request, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("hub") / request.param
    write_transformers(folder, request.param)
    return folder


def test_equal_to_transformers(published):
    model = load_transformers(str(published))
    reference = transformers.AutoModel.from_pretrained(published).eval()
    tokenizer = transformers.AutoTokenizer.from_pretrained(published)
    processor = transformers.AutoImageProcessor.from_pretrained(published)
    image = np.random.default_rng(0).integers(0, 256, (2, 40, 53, 3), np.uint8)
    inputs = tokenizer(TEXTS, padding="max_length", max_length=24, return_tensors="pt")
    pixels = processor([Image.fromarray(i) for i in image], return_tensors="pt").pixel_values
    assert (model.preprocess(image) - pixels).abs().max() < 2.5 / 255 / min(model.preprocess.std)
    with torch.inference_mode():
        output = reference(input_ids=inputs.input_ids, pixel_values=pixels)
        ours = model.logit_scale * model.encode_image(pixels) @ model.encode_text(TEXTS).T
    bias = reference.logit_bias if hasattr(reference, "logit_bias") else 0
    assert output.logits_per_image.std() > 0.01
    torch.testing.assert_close(ours, output.logits_per_image - bias, atol=1e-4, rtol=0)


def test_weights_come_from_a_file_too(tmp_path, published):
    folder = shutil.copytree(published, tmp_path / "model")
    file = shutil.move(folder / "model.safetensors", tmp_path / "tuned.safetensors")
    with pytest.raises(InputError, match=r"no model\.safetensors"):
        load_transformers(str(folder))
    entry = {"type": "transformers", "model": str(folder), "weights": str(file)}
    model = model_dataset(entry).load()
    assert model.content_hash() == load_transformers(str(published)).content_hash()


@pytest.mark.parametrize(
    ("tower", "key"), [("vision_config", "num_hidden_layers"), ("text_config", "hidden_size"), ("", "projection_dim")]
)
def test_sizes_that_are_not_those_of_the_weights_take_no_memory(tmp_path, published, tower, key):
    folder = shutil.copytree(published, tmp_path / "model")
    config = json.loads((folder / "config.json").read_text())
    settings = config[tower] if tower else config
    if key not in settings and not tower:
        pytest.skip("SigLIP has no projection")
    settings[key] = settings[key] * 10**6
    (folder / "config.json").write_text(json.dumps(config))
    with pytest.raises(InputError, match="of another architecture|it asks for .* layers"):
        load_transformers(str(folder))


def test_other_weights_beside_the_models_are_left_alone(tmp_path, published):
    folder = shutil.copytree(published, tmp_path / "model")
    weights = load_file(folder / "model.safetensors")
    save_file({name: 0 * tensor for name, tensor in weights.items()}, folder / "model_ema.safetensors")
    assert load_transformers(str(folder)).content_hash() == load_transformers(str(published)).content_hash()


def test_missing_weights_are_refused(tmp_path, published):
    folder = shutil.copytree(published, tmp_path / "model")
    weights = load_file(folder / "model.safetensors")
    del weights["vision_model.encoder.layers.1.self_attn.q_proj.weight"]
    save_file(weights, folder / "model.safetensors")
    with pytest.raises(InputError, match="1 missing"):
        load_transformers(str(folder))


@pytest.mark.parametrize(
    "file, change, message",
    [
        ("config.json", {"model_type": "siglip2"}, "type 'siglip2'; those .* clip, siglip"),
        ("preprocessor_config.json", {"resample": 1}, "preprocessor_config.json is not supported: resample is 1"),
        ("config.json", {"vision_config": 3}, r"config\.json"),
    ],
)
def test_what_is_not_supported_is_said(tmp_path, published, file, change, message):
    folder = shutil.copytree(published, tmp_path / "model")
    path = folder / file
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    with pytest.raises(InputError, match=message):
        load_transformers(str(folder))


IMAGES = np.random.default_rng(1).integers(0, 256, (2, 40, 53, 3), np.uint8)


@pytest.mark.parametrize(
    "change",
    [
        {"do_normalize": False},
        {"do_rescale": False},
        {"do_rescale": False, "do_normalize": False},
        {"rescale_factor": 1 / 127.5},
        {"rescale_factor": 1 / 127.5, "do_normalize": False},
        {"image_mean": [0.1, 0.2, 0.3], "image_std": [0.9, 0.8, 0.7]},
        {"resample": 2},
        {"resample": 3},
        {"do_center_crop": True, "size": {"shortest_edge": 32}, "crop_size": {"height": 32, "width": 32}},
        {"do_center_crop": False, "size": {"height": 32, "width": 32}},
        {"do_pad": False, "do_convert_rgb": True, "data_format": "channels_first"},
    ],
    ids=json.dumps,
)
def test_settings_of_the_images_are_followed_as_transformers_does(tmp_path, published, change):
    folder = changed(tmp_path, published, "preprocessor_config.json", change)
    preprocess = load_transformers(str(folder)).preprocess
    processor = transformers.AutoImageProcessor.from_pretrained(folder)
    pixels = processor([Image.fromarray(image) for image in IMAGES], return_tensors="pt").pixel_values.float()
    level = (processor.rescale_factor if processor.do_rescale else 1) / (
        min(processor.image_std) if processor.do_normalize else 1
    )
    assert (preprocess(IMAGES) - pixels).abs().max() < 2.5 * level


def changed(tmp_path: Path, published: Path, file: str, change: dict) -> Path:
    folder = shutil.copytree(published, tmp_path / "model")
    settings = json.loads((folder / file).read_text()) | change
    (folder / file).write_text(json.dumps({key: value for key, value in settings.items() if value != "delete"}))
    return folder


@pytest.mark.parametrize("mean, std", [(0.4, 0.2), ([0.4], [0.2])])
def test_a_single_mean_is_that_of_all_channels(tmp_path, published, mean, std):
    folder = changed(tmp_path, published, "preprocessor_config.json", {"image_mean": mean, "image_std": std})
    preprocess = load_transformers(str(folder)).preprocess
    assert (preprocess.mean, preprocess.std) == ((0.4,) * 3, (0.2,) * 3)
    grey = np.full((1, 32, 32, 3), 102, np.uint8)
    torch.testing.assert_close(preprocess(grey), torch.zeros(1, 3, 32, 32), atol=1e-6, rtol=0)


@pytest.mark.parametrize(
    "change, message",
    [
        ({"do_resize": False}, "do_resize is false"),
        ({"do_pad": True}, "do_pad: true may change the images"),
        ({"do_flip_channel_order": True}, "do_flip_channel_order: true may change the images"),
        ({"crop_pct": 0.875}, "crop_pct: 0.875 may change the images"),
        ({"do_rescale": "no"}, "do_rescale is 'no'; it is true or false"),
        ({"rescale_factor": -1}, "rescale_factor is -1"),
        ({"rescale_factor": "1/255"}, "rescale_factor is '1/255'"),
        ({"image_mean": [0.5, 0.5]}, "image_mean is .*one number, or one each"),
        ({"image_mean": [0.5] * 4}, "image_mean is .*one number, or one each"),
        ({"image_std": ["a"] * 3}, "image_std is .*one number, or one each"),
        ({"image_std": 0}, "std is .*above 0"),
        ({"image_mean": "delete"}, "image_mean is missing"),
        ({"size": "delete"}, "size is missing"),
        ({"resample": "delete"}, "resample is missing"),
        ({"size": {"longest_edge": 32}}, "size is .*'height' and 'width'"),
        ({"size": {"shortest_edge": 32}, "do_center_crop": False}, "size is one side, 32, without a crop"),
        ({"size": 36, "do_center_crop": True, "crop_size": 32}, r"scales to \(36, 36\) and crops to \(32, 32\)"),
        (
            {"size": 64, "do_center_crop": True, "crop_size": 64},
            r"\(64, 64\) pixels, and those of config.json \(32, 32\)",
        ),
        ({"image_processor_type": "ConvNextImageProcessor"}, "its image processor is 'ConvNextImageProcessor'"),
    ],
    ids=str,
)
def test_settings_of_the_images_that_can_not_be_followed_are_refused_by_name(tmp_path, published, change, message):
    folder = changed(tmp_path, published, "preprocessor_config.json", change)
    with pytest.raises(InputError, match=message):
        load_transformers(str(folder))


def test_preprocessing_is_not_guessed(tmp_path, published):
    folder = shutil.copytree(published, tmp_path / "model")
    (folder / "preprocessor_config.json").unlink()
    with pytest.raises(InputError, match="how it wants its images is not said, and not guessed"):
        load_transformers(str(folder))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_weights_of_another_precision_are_scored_in_float32(tmp_path, published, dtype):
    transformers.AutoModel.from_pretrained(published).to(dtype).save_pretrained(tmp_path / "model")
    for file in published.iterdir():
        if file.name not in ("config.json", "model.safetensors"):
            shutil.copy(file, tmp_path / "model")
    model = load_transformers(str(tmp_path / "model"))
    reference = transformers.AutoModel.from_pretrained(published).to(dtype).float().eval()
    assert {tensor.dtype for tensor in model.network.state_dict().values()} == {torch.float32}
    pixels = model.preprocess(IMAGES)
    with torch.inference_mode():
        expected = reference.vision_model(pixels).pooler_output
        torch.testing.assert_close(model.network.visual(pixels).pooler_output, expected, atol=1e-5, rtol=0)
    assert model.content_hash() == load_transformers(str(tmp_path / "model")).content_hash()


def test_the_content_hash_tells_weights_in_bfloat16_apart(published):
    model, other = (load_transformers(str(published)) for _ in range(2))
    for part in (model, other):
        part.network.to(torch.bfloat16)
    assert model.content_hash() == other.content_hash()
    next(other.network.parameters()).view(-1)[0] += 1
    assert model.content_hash() != other.content_hash()


@pytest.fixture(scope="module")
def medsiglip(tmp_path_factory) -> Path:
    """As the current transformers saves it: one file for image processor and tokenizer, and a sentencepiece model."""
    folder, trained = tmp_path_factory.mktemp("hub") / "medsiglip", io.BytesIO()
    sentences = ["a chest x-ray of pneumonia", "normal tissue of the colon", "microscopy of a blood cell"]
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(sentences * 10),
        model_writer=trained,
        vocab_size=60,
        hard_vocab_limit=False,
        bos_id=-1,
        eos_id=1,
        unk_id=2,
        pad_id=0,
        minloglevel=2,
    )
    config = transformers.SiglipConfig(text_config=TEXT, vision_config=VISION)
    randomised(transformers.SiglipModel(config)).save_pretrained(folder)
    (folder / "spiece.model").write_bytes(trained.getvalue())
    size = {"height": 32, "width": 32}
    transformers.SiglipProcessor(
        transformers.SiglipImageProcessor(size=size, resample=2, image_mean=[0.4] * 3, image_std=[0.5] * 3),
        transformers.SiglipTokenizer(str(folder / "spiece.model")),
    ).save_pretrained(folder)
    return folder


def test_siglip_of_sentencepiece_in_one_processor_file_is_equal_to_transformers(medsiglip):
    model = load_transformers(str(medsiglip))
    processor = transformers.AutoProcessor.from_pretrained(medsiglip)
    reference = transformers.AutoModel.from_pretrained(medsiglip).eval()
    inputs = processor(
        text=TEXTS,
        images=[Image.fromarray(image) for image in IMAGES],
        padding="max_length",
        max_length=24,
        return_tensors="pt",
    )
    assert model.preprocess.mean == (0.4,) * 3
    assert (model.preprocess(IMAGES) - inputs.pixel_values).abs().max() < 2.5 / 255 / 0.5
    assert torch.equal(model.tokenize(TEXTS), inputs.input_ids)
    with torch.inference_mode():
        # SigLIP was trained without a mask, which the class of the tokenizer adds unless the published file says so.
        output = reference(input_ids=inputs.input_ids, pixel_values=inputs.pixel_values)
        ours = model.logit_scale * model.encode_image(inputs.pixel_values) @ model.encode_text(TEXTS).T
    torch.testing.assert_close(ours, output.logits_per_image - reference.logit_bias, atol=1e-4, rtol=0)


def test_the_newer_processor_file_counts_as_in_transformers(tmp_path, medsiglip):
    folder = shutil.copytree(medsiglip, tmp_path / "model")
    older = json.loads((folder / "processor_config.json").read_text())["image_processor"] | {"image_mean": [0.1] * 3}
    (folder / "preprocessor_config.json").write_text(json.dumps(older))
    assert load_transformers(str(folder)).preprocess.mean == (0.4,) * 3
    (folder / "processor_config.json").write_text(json.dumps({"processor_class": "SiglipProcessor"}))
    assert load_transformers(str(folder)).preprocess.mean == (0.1,) * 3


@pytest.mark.parametrize(
    "content, message",
    [
        ("{", r"tokenizer_config\.json can't be read"),
        ("[]", r"tokenizer_config\.json holds no settings"),
        ('{"pad_token": null}', r"tokenizer.*tokenizer_config\.json"),
        ('{"added_tokens_decoder": {"0": 5}}', r"tokenizer.*tokenizer_config\.json"),
    ],
)
def test_a_changed_tokenizer_is_refused_with_its_files(tmp_path, published, content, message):
    folder = shutil.copytree(published, tmp_path / "model")
    before = json.loads((folder / "tokenizer_config.json").read_text())
    change = json.loads(content) if content.endswith("}") else None
    (folder / "tokenizer_config.json").write_text(json.dumps(before | change) if change else content)
    with pytest.raises(InputError, match=message):
        load_transformers(str(folder)).encode_text(TEXTS)


@pytest.mark.parametrize(
    "gone", [["tokenizer.json"], ["tokenizer_config.json"], ["tokenizer.json", "tokenizer_config.json"]]
)
def test_missing_files_of_a_tokenizer_are_named_and_no_others(tmp_path, published, gone):
    folder = shutil.copytree(published, tmp_path / "model")
    for name in gone:
        (folder / name).unlink()
    with pytest.raises(InputError, match="for its tokenizer: there is no ") as refusal:
        load_transformers(str(folder))
    named = {name for name in ("tokenizer.json", "tokenizer_config.json") if name in refusal.value.message}
    assert named == set(gone) and "sentencepiece installed" not in refusal.value.message


def test_tokens_that_the_model_does_not_have_are_refused(tmp_path, published):
    folder = shutil.copytree(published, tmp_path / "model")
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    tokenizer.add_tokens([f"pneumonia{i}" for i in range(300)])
    tokenizer.save_pretrained(folder)
    model = load_transformers(str(folder))
    assert model.encode_text(TEXTS).shape == (2, model.encode_text(TEXTS).shape[1])
    with pytest.raises(InputError, match=r"gives token \d+, and the model has 300.*tokenizer_config\.json"):
        model.encode_text(["pneumonia299"])


def test_query_key_and_value_are_adapted(published):
    import peft

    model = load_transformers(str(published))
    tuned = peft.get_peft_model(model.network, peft.LoraConfig(r=2, target_modules=model.lora_targets))
    adapted = {name.split(".lora_A")[0] for name, _ in tuned.named_parameters() if ".lora_A." in name}
    assert len(adapted) == 2 * 3
    assert all(".vision_model." in name for name in adapted)

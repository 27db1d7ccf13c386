"""A model format of a user's own: the example of the how-to, from a module outside the package."""

import json
import re
import sys
from importlib import import_module
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from content import content_of
from model_sources import model_dataset

from robustmedclip.commands.import_model import import_model
from robustmedclip.errors import InputError
from robustmedclip.models.formats import FORMER_NAMES, format_class, format_name, load_model, model_format
from robustmedclip.models.inference import image_logits
from robustmedclip.models.interface import zero_shot_classifier

NAME = "my_study.model_format.NpzModel"


@pytest.fixture
def source(tmp_path, monkeypatch):
    """The source of a model in the format that the how-to shows."""
    text = (Path(__file__).parents[2] / "docs/how-to/model-format.md").read_text()
    code = re.search(r"```python\n# my_study/model_format.py\n(.*?)```", text, re.DOTALL).group(1)
    (tmp_path / "my_study").mkdir()
    (tmp_path / "my_study/model_format.py").write_text(code)
    monkeypatch.syspath_prepend(tmp_path)
    import_module("my_study.model_format").write_example(str(tmp_path / "models/my_model.npz"))
    yield {"type": NAME, "path": "models/my_model.npz"}
    for module in ("my_study", "my_study.model_format"):
        sys.modules.pop(module, None)


def test_it_is_loaded_and_scored_as_every_model(tmp_path, source):
    dataset = model_dataset(source, root=str(tmp_path))
    assert dataset.problems() == [] and dataset.missing() is None
    model = dataset.load()
    classifier = zero_shot_classifier(model, ["drusen", "normal retina"], ["{class_name}"], "OCT")
    images = np.random.default_rng(0).integers(0, 256, (5, 40, 40, 3), np.uint8)
    logits = np.concatenate(list(image_logits(model, classifier, [images])))
    with np.load(tmp_path / "models/my_model.npz") as file:
        visual, text = (torch.from_numpy(file[name]) for name in ("visual.2.weight", "text.weight"))
        bias = torch.from_numpy(file["visual.2.bias"])
    features = torch.nn.functional.avg_pool2d(model.preprocess(images), 8).flatten(1) @ visual.T + bias
    vectors = torch.stack([text[list(name.encode().ljust(64))].mean(0) for name in ("drusen", "normal retina")])
    expected = 20 * torch.cosine_similarity(features[:, None], vectors, dim=-1)
    np.testing.assert_allclose(logits, expected.detach(), atol=1e-4)


def test_lora_adapts_its_layers(tmp_path, source):
    import peft

    model = model_dataset(source, root=str(tmp_path)).load()
    tuned = peft.get_peft_model(model.network, peft.LoraConfig(r=2, target_modules=model.lora_targets))
    assert sum(".lora_A." in name for name, _ in tuned.named_parameters()) == 1


def test_a_missing_file_is_named_with_its_origin(tmp_path, source):
    (tmp_path / "models/my_model.npz").unlink()
    dataset = model_dataset(source, root=str(tmp_path), origin={"url": "https://example.org", "licence": "MIT"})
    problem = f"there is no {tmp_path}/models/my_model.npz: import it from https://example.org (MIT)"
    assert dataset.problems()[0].startswith(problem) and dataset.missing() == dataset.problems()[0]


def test_a_damaged_file_is_named(tmp_path, source):
    (tmp_path / "models/my_model.npz").write_bytes(b"PK cut off")
    with pytest.raises(InputError, match=r"models/my_model\.npz is no \.npz file of numbers, or damaged"):
        model_format(source, str(tmp_path)).load()


def test_a_change_of_the_file_or_of_a_setting_changes_its_content(tmp_path, source):
    dataset = model_dataset(source, root=str(tmp_path))
    before = content_of(dataset)
    sys.modules["my_study.model_format"].write_example(str(tmp_path / "models/other.npz"))
    assert model_dataset({**source, "path": "models/other.npz"}, root=str(tmp_path)).signature() != before[0]
    (tmp_path / "models/my_model.npz").write_bytes(b"")
    assert content_of(dataset) != before


def test_a_package_that_it_needs_is_named_before_the_run(tmp_path, source, monkeypatch):
    monkeypatch.setattr(format_class(NAME), "needs", ("a_package_of_nobody",))
    problems = model_dataset(source, root=str(tmp_path)).problems()
    assert problems == ["models of this format need the package 'a_package_of_nobody': install it"]


def test_it_is_written_and_loaded_again_by_its_own_name(tmp_path, source):
    written = import_model({**source, "path": str(tmp_path / source["path"])}, tmp_path / "copy")
    assert written == {"type": NAME, "path": f"{tmp_path}/copy/weights.npz"}
    model = model_dataset(source, root=str(tmp_path)).load()
    assert format_name(model.format) == NAME
    for again in (load_model(tmp_path / "copy", NAME), model_dataset(written).load()):
        assert again.content_hash() == model.content_hash()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"type": "my_study.model_format.NpzModle"}, "there is no model format"),
        ({"type": "my_stud.NpzModel"}, "no module 'my_stud' can be imported"),
        ({"type": "open_clipp"}, "unknown model format 'open_clipp'; did you mean 'open_clip'"),
    ],
)
def test_a_wrong_name_is_said(source, change, message):
    with pytest.raises(InputError, match=message):
        model_dataset({**source, **change})


def test_an_unknown_setting_is_said(source):
    with pytest.raises(TypeError, match="unexpected keyword argument 'pth'"):
        model_dataset({**source, "pth": "x"})


def test_it_is_served_by_the_name_of_its_format(tmp_path, source):
    from robustmedclip.serving.served_model import GUARDS, PROMPTS, TunedModel

    model = model_format(source, str(tmp_path)).load()
    folder = tmp_path / "served"
    folder.mkdir()
    model.format.save(folder, model)
    prompts = {"class_names": ["drusen", "normal"], "templates": ["{class_name}"], "modality": "OCT"}
    (folder / PROMPTS).write_text(json.dumps({"oct": prompts}))
    (folder / GUARDS).write_text("{}")
    served = TunedModel()
    context = SimpleNamespace(artifacts={"model": str(folder)}, model_config={"format": format_name(model.format)})
    served.load_context(context)
    images = np.random.default_rng(0).integers(0, 256, (5, 40, 40, 3), np.uint8)
    classifier = zero_shot_classifier(model, **prompts)
    logits = np.concatenate(list(image_logits(model, classifier, [images])))
    predicted = served.predict(context, images, {"data_set": "oct"})
    np.testing.assert_allclose(predicted, torch.from_numpy(logits).double().softmax(1), atol=1e-6)


@pytest.mark.parametrize("former, name", FORMER_NAMES.items())
def test_the_names_of_earlier_releases_go_on(former, name):
    assert format_class(former) is format_class(name)

"""LoRA tuning: it learns, it is reproducible, and its adapters are standard peft folders."""

import copy
from dataclasses import replace

import numpy as np
import peft
import pytest
import torch
from published import write_transformers
from pydantic import ValidationError
from tasks import LORA, changed, classifier_of, phantoms, shipped
from timm.layers import StdConv2d

from robustmedclip.adaptation.lora import with_lora
from robustmedclip.adaptation.methods.full import FullFineTuning
from robustmedclip.adaptation.methods.lora import Lora
from robustmedclip.adaptation.objective import Objective
from robustmedclip.adaptation.samples import Samples
from robustmedclip.adaptation.tuning import merge_adapter, tune
from robustmedclip.errors import InputError
from robustmedclip.io import AdapterDataset
from robustmedclip.models.image_towers import PaddedConv2d
from robustmedclip.models.transformers_clip import load_transformers

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module", params=["phantom_vit", "phantom_resnet"])
def model(request):
    return shipped(request.param)


def task_of(model, count):
    sets, held_out = ([phantoms("oct", seed, count), phantoms("blood", seed, count)] for seed in (1, 2))
    return Samples(sets, model.preprocess), Samples(held_out, model.preprocess), classifier_of(model, sets)


@pytest.fixture(scope="module")
def task(model):
    return task_of(model, 16)


@pytest.fixture(scope="module")
def tuned(model, task):
    return tune(model, *task, LORA, seed=0, metadata={})


def test_the_training_loss_falls_and_the_best_epoch_is_kept(model):
    adapter, history = tune(model, *task_of(model, 32), LORA, seed=0, metadata={})
    assert [row["epoch"] for row in history] == [0, 1, 2, 3]
    assert history[-1]["training_loss"] < history[1]["training_loss"]
    best = min(history, key=lambda row: row["validation_loss"])
    assert adapter.metadata["epoch"] == best["epoch"]


def test_the_model_is_left_as_it_was(model, task):
    before = model.content_hash()
    tune(model, *task, LORA, seed=0, metadata={})
    assert model.content_hash() == before
    assert not any(parameter.requires_grad for parameter in model.network.parameters())


def test_the_same_seed_gives_the_same_bytes(model, task, tuned):
    torch.rand(3)
    adapter, history = tune(model, *task, LORA, seed=0, metadata={})
    np.testing.assert_equal(history, tuned[1])
    for name, weights in tuned[0].weights.items():
        np.testing.assert_array_equal(adapter.weights[name], weights)


def test_gradients_that_are_longer_than_their_limit_are_shortened_and_others_left(model, task, tuned):
    unlimited, unmoved = (
        tune(
            model, *task, changed(LORA, max_gradient_norm=norm, keep="scaled_update", scales=[1.0]), seed=0, metadata={}
        )
        for norm in (1e6, 1e-13)
    )
    assert unlimited[1][-1]["training_loss"] == tuned[1][-1]["training_loss"]
    assert unmoved[0].weights.keys() == unlimited[0].weights.keys()
    for name, weights in unmoved[0].weights.items():
        if "lora_B" in name:
            assert np.abs(weights).max() < 1e-3 * np.abs(unlimited[0].weights[name]).max()


def test_another_seed_gives_another_adapter(model, task, tuned):
    adapter, _ = tune(model, *task, LORA, seed=1, metadata={})
    assert any(not np.array_equal(adapter.weights[name], array) for name, array in tuned[0].weights.items())


def test_peft_loads_the_adapter_and_agrees_with_the_merged_model(tmp_path, model, task, tuned):
    rng = np.random.default_rng(0)
    weights = {name: rng.normal(0, 0.1, array.shape).astype(np.float32) for name, array in tuned[0].weights.items()}
    adapter = replace(tuned[0], weights=weights)
    AdapterDataset(filepath=str(tmp_path / "adapter")).save(adapter)
    network = peft.PeftModel.from_pretrained(copy.deepcopy(model.network), tmp_path / "adapter").eval()
    merged = merge_adapter(model, adapter)
    pixels = task[1].pixels(np.arange(8))
    with torch.inference_mode():
        torch.testing.assert_close(
            network.encode_image(pixels), merged.network.encode_image(pixels), atol=1e-5, rtol=1e-4
        )
        assert not torch.allclose(model.network.encode_image(pixels), merged.network.encode_image(pixels), atol=1e-4)


@pytest.mark.parametrize("rank, alpha", [(16, 16), (2, 2), (2, 5)], ids=["as one", "beside", "beside, scaled"])
def test_outputs_and_gradients_are_those_of_peft(model, rank, alpha):
    settings = changed(LORA, rank=rank, alpha=alpha, dropout=0.0, targets="all")
    network = with_lora(model, settings, {})[0].network
    targets = network.peft_config["default"].target_modules
    beside = peft.get_peft_model(
        copy.deepcopy(model.network), peft.LoraConfig(r=rank, lora_alpha=alpha, target_modules=targets)
    )
    pixels = torch.randn(2, 3, *model.preprocess.size, generator=torch.Generator().manual_seed(0))
    gradients = []
    for tuned in (network, beside.eval()):
        named = {name: parameter for name, parameter in tuned.named_parameters() if "lora_" in name}
        generator = torch.Generator().manual_seed(1)
        for parameter in named.values():
            parameter.data.normal_(0, 0.1, generator=generator)
        output = tuned.encode_image(pixels)
        output.square().sum().backward()
        gradients.append({"output": output.detach()} | {name: p.grad for name, p in named.items()})
    for name, expected in gradients[1].items():
        torch.testing.assert_close(gradients[0][name], expected, rtol=1e-3, atol=1e-4 * float(expected.abs().max()))


def test_the_layers_of_an_adapter_are_in_the_same_order_in_every_process(model, task):
    adapter, _ = tune(model, *task, changed(LORA, targets="all", epochs=1), seed=0, metadata={})
    layers = adapter.config["target_modules"]
    assert len(layers) > 8 and layers == sorted(layers)


def test_only_the_visual_encoder_is_adapted(tuned):
    assert all(".visual." in name for name in tuned[0].weights)


def test_an_adapter_of_other_weights_is_refused(model, tuned):
    other = copy.copy(model)
    other.network = copy.deepcopy(model.network)
    with torch.no_grad():
        other.network.visual.get_parameter(next(n for n, _ in other.network.visual.named_parameters())).mul_(1.01)
    other.name = "another one"
    with pytest.raises(InputError, match=f"other weights, those of {model.name}, than .* another one, has now"):
        merge_adapter(other, tuned[0])


@pytest.mark.parametrize(
    ("targets", "message"),
    [
        ("nothing_of_the_kind", "'nothing_of_the_kind' match no layer of phantom_"),
        (r"visual\..*(bn|ln)_?\w*", r"match 'visual\..*' of phantom_\w+, a \w*Norm\w*: let them match linear"),
    ],
)
def test_targets_that_cannot_be_adapted_are_refused(model, task, targets, message):
    with pytest.raises(InputError, match=message):
        tune(model, *task, changed(LORA, targets=targets), seed=0, metadata={})


#: Of each channel alone, of standardised weights, and with zeros around.
SPECIAL = {
    "Conv2d of 8 groups": lambda: torch.nn.Conv2d(8, 8, 3, groups=8),
    "StdConv2d": lambda: StdConv2d(8, 8, 3),
    "PaddedConv2d": lambda: PaddedConv2d(8, 8, 3, sides=(1, 1)),
}


class Special(torch.nn.Module):
    """An encoder of a convolution that can't be adapted between two layers that can."""

    def __init__(self, between: torch.nn.Module):
        super().__init__()
        self.visual = torch.nn.Sequential(
            torch.nn.Conv2d(3, 8, 3), between, torch.nn.Flatten(), torch.nn.LazyLinear(96)
        )

    def encode_image(self, image: torch.Tensor) -> torch.Tensor:
        return self.visual(image)


@pytest.fixture(params=SPECIAL)
def special(request):
    model = shipped("phantom_vit")
    network = Special(SPECIAL[request.param]())
    network.encode_image(torch.zeros(1, 3, *model.preprocess.size))
    return model.with_network(network.requires_grad_(False))


def test_of_an_encoder_with_a_special_convolution_all_other_layers_are_adapted(special):
    samples = Samples([phantoms("oct", 1)], special.preprocess)
    classifier = classifier_of(shipped("phantom_vit"), [phantoms("oct", 1)])
    adapter, _ = tune(
        special, samples, samples, classifier, changed(LORA, targets="all", epochs=1), seed=0, metadata={}
    )
    assert adapter.config["target_modules"] == ["visual.0", "visual.3"]
    merge_adapter(special, adapter)


def test_special_convolutions_are_refused(special, request):
    (problem,) = changed(LORA, targets=r"visual\.\d").check(special)
    kind = request.node.callspec.params["special"]
    assert f"match 'visual.1' of phantom_vit, a {kind}: let them match linear layers, and plain" in problem


def test_an_encoder_without_a_layer_to_adapt_is_named():
    network = torch.nn.Module()
    network.visual = torch.nn.Sequential(StdConv2d(3, 8, 3), torch.nn.Flatten())
    network.encode_image = network.visual
    (problem,) = changed(LORA, targets="all").check(shipped("phantom_vit").with_network(network))
    assert problem == "phantom_vit has no layer that takes a low-rank update: train a head, or all of it"


def test_layers_that_the_encoder_does_not_call_are_refused():
    (problem,) = changed(LORA, targets=r"visual\.(conv1|attnpool\.\w_proj)").check(shipped("phantom_resnet"))
    assert "match 'visual.attnpool.c_proj' of phantom_resnet, whose weights are read by" in problem
    assert not LORA.check(shipped("phantom_resnet"))


@pytest.mark.parametrize("kind", ["clip", "siglip"])
def test_every_layer_of_an_encoder_of_transformers_is_adapted(kind, tmp_path):
    write_transformers(tmp_path, kind)
    model = load_transformers(str(tmp_path))
    tuned, trainable = with_lora(model, changed(LORA, targets="all", rank=2), {})
    tuned.encode_image(torch.randn(2, 3, *model.preprocess.size)).sum().backward()
    assert all(parameter.grad is not None for parameter in trainable.parameters)
    names = [name for name, parameter in tuned.network.named_parameters() if parameter.requires_grad]
    assert all(".vision_model." in name for name in names)
    assert any("patch_embedding" in name for name in names) and any("mlp.fc2" in name for name in names)


def test_a_rank_larger_than_every_layer_is_refused_before_the_training(model, task):
    layers = [m for m in model.network.visual.modules() if isinstance(m, torch.nn.Linear | torch.nn.Conv2d)]
    sizes = [min(len(layer.weight), layer.weight[0].numel()) for layer in layers]
    rank = max(sizes)
    with pytest.raises(
        InputError, match=rf"The rank {rank + 1} is larger than every .*'visual.* a rank of at most \d+"
    ):
        tune(model, *task, changed(LORA, targets="all", rank=rank + 1), seed=0, metadata={})


def test_a_rank_that_only_some_layers_allow_is_taken(model, task):
    tune(model, *task, changed(LORA, targets="all", rank=8, epochs=1), seed=0, metadata={})


def test_a_class_without_training_images_is_refused(model, task):
    sets = [phantoms("oct", 1), phantoms("blood", 1)]
    sets[0] = sets[0].subset(np.flatnonzero(sets[0].labels > 0))
    with pytest.raises(InputError, match=f"no training image of oct: {sets[0].class_names[0]}: choose a larger"):
        tune(model, Samples(sets, model.preprocess), *task[1:], LORA, seed=0, metadata={})


def test_all_layers_are_adapted_and_the_merged_model_agrees(model, task):
    adapter, _ = tune(model, *task, changed(LORA, targets="all", epochs=1), seed=0, metadata={})
    first = "visual.conv1.lora_A"
    assert any(first in name for name in adapter.weights)
    network = peft.get_peft_model(copy.deepcopy(model.network), peft.LoraConfig(**adapter.config)).eval()
    weights = {name: torch.from_numpy(array) for name, array in adapter.weights.items()}
    peft.set_peft_model_state_dict(network, weights)
    pixels = task[1].pixels(np.arange(8))
    with torch.inference_mode():
        expected = network.encode_image(pixels)
        merged = merge_adapter(model, adapter).network.encode_image(pixels)
    torch.testing.assert_close(merged, expected, atol=1e-5, rtol=1e-4)


def test_the_chosen_scale_is_that_of_the_lowest_validation_loss(model, task):
    settings = changed(LORA, keep="scaled_update", label_space="data_set")
    adapter, history = tune(model, *task, settings, seed=0, metadata={})
    merged, unchanged = merge_adapter(model, adapter), changed(settings, epochs=1, learning_rate=0.0)
    _, rerun = tune(merged, *task, unchanged, seed=0, metadata={})
    ends = history[0]["validation_loss"], history[-1]["validation_loss"]
    assert rerun[0]["validation_loss"] <= min(ends) + 1e-4


def test_a_harmful_update_is_scaled_to_nothing(model, task):
    """An update that learns wrong labels, whatever the machine's rounding."""
    sets = [phantoms("oct", 1), phantoms("blood", 1)]
    wrong = [replace(one, labels=(one.labels + 1) % len(one.class_names)) for one in sets]
    training = Samples(wrong, model.preprocess)
    settings = changed(LORA, keep="scaled_update", label_space="data_set", learning_rate=0.01, epochs=6)
    adapter, history = tune(model, training, *task[1:], settings, seed=0, metadata={})
    assert history[-1]["validation_loss"] > 1.1 * history[0]["validation_loss"]
    assert adapter.metadata["scale"] == 0
    pixels = task[1].pixels(np.arange(4))
    merged = merge_adapter(model, adapter).network
    with torch.inference_mode():
        torch.testing.assert_close(merged.encode_image(pixels), model.network.encode_image(pixels))


def test_all_weights_of_the_encoder_are_tuned_and_kept(tmp_path, model, task):
    settings = FullFineTuning(epochs=3, batch_size=16, batch_norm="frozen", keep="best_epoch", label_space="joint")
    adapter, history = tune(model, *task, settings, seed=0, metadata={})
    assert history[-1]["training_loss"] < history[1]["training_loss"]
    dataset = AdapterDataset(filepath=str(tmp_path / "encoder"))
    dataset.save(adapter)
    tuned, pixels = merge_adapter(model, dataset.load()), task[1].pixels(np.arange(4))
    assert all(
        tuned.network.visual.state_dict()[name].equal(torch.from_numpy(a)) for name, a in adapter.weights.items()
    )
    with torch.inference_mode():
        assert not torch.allclose(tuned.encode_image(pixels), model.encode_image(pixels), atol=1e-4)
        torch.testing.assert_close(tuned.encode_text(["a cell"]), model.encode_text(["a cell"]))


def test_raw_features_are_compared_as_they_come(model, task):
    settings = changed(LORA, features="raw", epochs=1, learning_rate=0.0)
    _, history = tune(model, *task, settings, seed=0, metadata={})
    validation, classifier = task[1], task[2]
    with torch.inference_mode():
        logits = model.network.encode_image(validation.pixels(np.arange(len(validation)))) @ classifier.T
    losses = torch.nn.functional.cross_entropy(logits, torch.from_numpy(validation.labels), reduction="none")
    expected = np.mean([losses[inside].mean() for inside in validation.members()])
    assert history[0]["validation_loss"] == pytest.approx(expected, rel=1e-4)


def test_the_epoch_of_the_highest_accuracy_on_the_test_images_is_kept(model, task):
    adapter, history = tune(model, *task, changed(LORA, select_on="test"), seed=0, metadata={})
    accuracies = [row["validation_accuracy"] for row in history]
    assert adapter.metadata["epoch"] == np.argmax(accuracies)
    merged = merge_adapter(model, adapter)
    with torch.inference_mode():
        logits = merged.encode_image(task[1].pixels(np.arange(len(task[1])))) @ task[2].T
    assert (logits.argmax(1).numpy() == task[1].labels).mean() == pytest.approx(max(accuracies))


def test_classes_with_the_same_vector_count_as_one_where_the_test_images_choose(model):
    sets = [phantoms("oct", 1), replace(phantoms("oct", 1), name="other")]
    samples, classifier = Samples(sets, model.preprocess), classifier_of(model, sets)
    settings = changed(LORA, select_on="test")
    found = Objective(model, classifier, samples.label_ranges, settings).validate(samples)
    alone = Samples(sets[:1], model.preprocess)
    expected = Objective(model, classifier_of(model, sets[:1]), alone.label_ranges, settings).validate(alone)
    assert found["validation_accuracy"] == expected["validation_accuracy"] > 0


def test_the_loss_compares_the_classes_of_the_label_space(model, task):
    def untuned_loss(label_space: str) -> float:
        settings = changed(LORA, label_space=label_space, epochs=1, learning_rate=0.0)
        return tune(model, *task, settings, seed=0, metadata={})[1][0]["validation_loss"]

    validation, classifier = task[1], task[2]
    with torch.inference_mode():
        logits = model.logit_scale * model.encode_image(validation.pixels(np.arange(len(validation)))) @ classifier.T
    losses = []
    for position, (first, last) in enumerate(validation.label_ranges):
        inside = validation.data_set == position
        own = torch.from_numpy(validation.labels[inside] - first)
        losses.append(torch.nn.functional.cross_entropy(logits[inside, first:last], own).item())
    assert untuned_loss("data_set") == pytest.approx(np.mean(losses), rel=1e-4)
    assert untuned_loss("joint") > np.mean(losses)


def test_the_defaults_are_the_recipe_of_the_study():
    recipe = Lora()
    assert (recipe.rank, recipe.epochs, recipe.batch_size, recipe.learning_rate) == (8, 20, 256, 1e-4)
    assert (recipe.targets, recipe.label_space, recipe.guard, recipe.corruptions) == (None, "joint", None, None)


@pytest.mark.parametrize("name", ["batch_norm", "label_space", "schedule", "keep", "select_on"])
def test_an_unknown_choice_is_refused(name):
    with pytest.raises(ValidationError, match=rf"(?s){name}\n *Input should be .*input_value='sideways'"):
        changed(LORA, **{name: "sideways"})


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"suite": "imagenet-d"}, "unknown .* 'imagenet-d'"),
        ({"names": ["shot_noise", "rain"]}, r"unknown corruptions \['rain'\]"),
        ({"names": []}, "names must be a list"),
        ({"names": "fog"}, "names must be a list"),
        ({"probability": 0}, "probability must be above 0"),
        ({"probability": None}, "probability must lie between 0 and 1"),
        ({"strength": 3}, "expected suite, names and probability"),
    ],
)
def test_invalid_corruptions_of_the_training_are_refused(change, message):
    corruptions = {"suite": "imagenet-c", "names": ["shot_noise"], "probability": 0.5}
    with pytest.raises(ValidationError, match=rf"corruptions\n.*{message}"):
        changed(LORA, corruptions={**corruptions, **change})


def test_test_images_choose_no_scale():
    with pytest.raises(ValidationError, match="select_on: test images choose an epoch: set 'keep: best_epoch'"):
        changed(LORA, select_on="test", keep="scaled_update")


def test_a_diverging_training_is_stopped(model, task):
    with pytest.raises(ValueError, match="learning rate"):
        tune(model, *task, changed(LORA, learning_rate=1e30, epochs=20), seed=0, metadata={})


def test_samples_keep_the_order_of_the_indices(model):
    sets = [phantoms("oct", 1, 8), phantoms("blood", 1, 8)]
    samples = Samples(sets, model.preprocess)
    indices = np.array([12, 3, 9, 0])
    expected = torch.cat([model.preprocess(sets[i // 8].images[i % 8][None]) for i in indices])
    torch.testing.assert_close(samples.pixels(indices), expected)
    assert samples.labels[indices].tolist() == [4 + sets[1].labels[4], sets[0].labels[3], 4 + sets[1].labels[1], 0]

"""Tuning of the visual encoder: low-rank updates, or all of its weights."""

import copy
import hashlib
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, replace
from typing import Any

import numpy as np
import torch

from robustmedclip.adaptation.artefacts import Adapter, Classifier
from robustmedclip.adaptation.batch_norm import adapted_statistics
from robustmedclip.adaptation.checkpoint import Checkpoint
from robustmedclip.adaptation.guard import Guard, as_guard, with_guard
from robustmedclip.adaptation.lora import merged_lora
from robustmedclip.adaptation.memory import fit_into_memory
from robustmedclip.adaptation.methods.encoder import EncoderMethod
from robustmedclip.adaptation.objective import Objective
from robustmedclip.adaptation.probing_head import head_of_tasks, linear_probes, probing_head
from robustmedclip.adaptation.samples import Samples
from robustmedclip.adaptation.seeds import derived_seed
from robustmedclip.adaptation.task import Task, class_vectors
from robustmedclip.adaptation.training import train
from robustmedclip.adaptation.training_state import Trainable
from robustmedclip.errors import InputError
from robustmedclip.models.batch_norm import running_statistics
from robustmedclip.models.interface import VisionLanguageModel
from robustmedclip.parallel import in_one_thread


def tune_on_tasks(
    model: VisionLanguageModel,
    tasks: Sequence[Task],
    method: EncoderMethod,
    *,
    seed: int,
    precision: torch.dtype,
    checkpoint: Checkpoint,
    probes: Sequence[Classifier] | None = None,
) -> tuple[Adapter, list[dict[str, float]]]:
    """Tune on the images of all tasks jointly: see :func:`tune`. On a CPU it is done in float32.

    Against the class vectors of their prompts; or with a head that starts from `probes`, one for each task, or, without
    text or if asked, from linear probes (Kumar et al. 2022, arXiv:2202.10054).
    """
    precision = precision if model.device.type == "cuda" else torch.float32
    training, validation = (
        Samples(sets, model.preprocess)
        for sets in ([task.training for task in tasks], [task.validation for task in tasks])
    )
    metadata = {"data_sets": [task.name for task in tasks], "training_images": len(training)}
    if probes is None and not (model.has_text and method.classifier == "prompts"):
        probes = linear_probes(model, tasks, method.guard, precision)
    head = None if probes is None else probing_head(probes, model.device)
    if head is None:
        text_model = replace(model, unit_text=True)
        classifier = torch.cat([class_vectors(text_model, task) for task in tasks])
    else:
        classifier = head.weight
    adapter, history = tune(
        model,
        training,
        validation,
        classifier,
        method,
        seed=seed,
        metadata=metadata,
        precision=precision,
        checkpoint=checkpoint,
        head=head,
    )
    if head is not None:
        adapter = replace(adapter, head=head_of_tasks(head, tasks, adapter.metadata["base_model_hash"]))
    return adapter, history


def tune(
    model: VisionLanguageModel,
    training: Samples,
    validation: Samples,
    classifier: torch.Tensor,
    method: EncoderMethod,
    *,
    seed: int,
    metadata: Mapping[str, Any],
    precision: torch.dtype = torch.float32,
    checkpoint: Checkpoint | None = None,
    head: torch.nn.Linear | None = None,
) -> tuple[Adapter, list[dict[str, float]]]:
    """Tune the visual encoder on labelled images of several data sets jointly.

    Minimises the cross-entropy of ``logit scale * cosine(image, class text)`` over the classes of the method's label
    space, against frozen text features. The epoch or the scale of the update with the lowest mean validation loss is
    kept. A scale of 0 may keep adapted statistics of batch normalisation, which a few images tell better than an
    update; where neither helps, the model is the untuned one, its statistics included.

    Parameters
    ----------
    model : VisionLanguageModel
        Is left as it was.
    training, validation : Samples
        Few-shot images, and images for the choice of the epoch or the scale.
    classifier : Tensor
        Unit class vectors in the joint label space, float32 ``(classes, D)``; or the weight of `head`.
    method : EncoderMethod
        What is trained, and how.
    seed : int
        Seeds the initial weights, the order of the images, augmentation and dropout.
    metadata, precision
        Added to the adapter's metadata; and the dtype of the encoder's matrix products, for the rest is float32.
    checkpoint : Checkpoint, optional
        Records every epoch. If it has a state of the same training, that is gone on from, to the same bytes.
    head : Linear, optional
        Is trained in place, beside the encoder.

    Returns
    -------
    adapter : Adapter
        In peft's format, or the whole encoder.
    history : list of dict
        One per epoch: ``epoch``, ``training_loss``, ``validation_loss``, ``validation_accuracy``; the last two of the
        first and the last epoch alone, where the scale is chosen.

    Raises
    ------
    InputError
        If a class has no training image, the layers to adapt don't fit, or the loss is not finite.
    """
    if absent := training.absent_classes():
        raise InputError(
            f"There is no training image of {', '.join(absent)}: choose a larger fraction, or leave it out"
        )
    record = checkpoint or Checkpoint()
    network, history, facts = _trained(model, training, validation, classifier, method, seed, precision, record, head)
    config, weights = method.state(network)
    return Adapter(config, weights, {"base_model": model.name, **metadata, "seed": seed, **facts}), history


def _trained(
    model: VisionLanguageModel,
    training: Samples,
    validation: Samples,
    classifier: torch.Tensor,
    method: EncoderMethod,
    seed: int,
    precision: torch.dtype,
    checkpoint: Checkpoint,
    head: torch.nn.Linear | None,
) -> tuple[torch.nn.Module, list[dict[str, float]], dict[str, Any]]:
    """A trained copy of the model's network, the training curves, and what the adapter's metadata says of it."""
    guards: dict[str, Guard] = {}
    if method.guard is not None:
        training, guards = training.guarded(method.guard)
        validation = validation.with_guards(guards)
    base_hash, statistics = model.content_hash(), _statistics(model, training, method, seed)
    checkpoint.open(_key(model, base_hash, training, validation, classifier, method, seed, precision))
    with torch.random.fork_rng():
        torch.manual_seed(derived_seed(seed, "init"))
        tuned, trainable = method.prepared(model, statistics)
        fit_into_memory(tuned, method.batch_size, precision)
        bias = None if head is None else head.bias
        objective = Objective(tuned, classifier, training.label_ranges, method, precision, bias, training.findings)
        history, kept = train(objective, trainable.and_head(head), training, validation, method, seed, checkpoint)
    facts = {
        "base_model_hash": base_hash,
        "guards": {name: asdict(guard) for name, guard in guards.items()},
        "training_corruptions": list(method.training_corruptions),
    }
    return tuned.network, history, {**facts, **kept}


def _statistics(
    model: VisionLanguageModel, training: Samples, method: EncoderMethod, seed: int
) -> dict[str, torch.Tensor]:
    """Statistics of batch normalisation that the adapter holds: name in the network's state to value."""
    if method.batch_norm == "batch":
        return running_statistics(model.network)
    if method.batch_norm == "adapted":
        return adapted_statistics(model, training, np.random.default_rng(derived_seed(seed, "batch normalisation")))
    return {}


def merge_adapter(model: VisionLanguageModel, adapter: Adapter) -> VisionLanguageModel:
    """The model with the adapter's update in its weights: as fast as the plain model.

    Raises
    ------
    InputError
        If the adapter was tuned on another model, or its weights don't fit.
    """
    if adapter.metadata["base_model_hash"] != model.content_hash():
        raise InputError(
            f"The adapter was tuned on other weights, those of {adapter.metadata.get('base_model', 'another model')}, "
            f"than the model it is applied to, {model.name}, has now: apply it to that model, or tune it again"
        )
    if adapter.config:
        with in_one_thread():
            network = merged_lora(model, adapter.config, adapter.weights)
    else:
        network = copy.deepcopy(model.network)
        network.get_submodule("visual").load_state_dict(
            {name: torch.from_numpy(np.array(a)) for name, a in adapter.weights.items()}
        )
    return model.with_network(network.eval())


def _key(
    model: VisionLanguageModel,
    base_hash: str,
    training: Samples,
    validation: Samples,
    classifier: torch.Tensor,
    *others: Any,
) -> str:
    """A hash of all that a training depends on."""
    digest = hashlib.blake2b(classifier.detach().cpu().numpy().tobytes(), digest_size=16)
    of_model = (base_hash, model.preprocess, model.logit_scale, model.device)
    for part in (*of_model, training.content_hash(), validation.content_hash(), *others):
        digest.update(f"{part!r}\0".encode())
    return digest.hexdigest()


def guarded(model: VisionLanguageModel, adapter: Adapter, data_set: str) -> VisionLanguageModel:
    """The model behind the input guard of a data set, if the adapter was tuned behind guards."""
    guard = adapter.metadata.get("guards", {}).get(data_set)
    return with_guard(model, as_guard(guard) if guard else None)


def with_all_weights(
    model: VisionLanguageModel, statistics: Mapping[str, torch.Tensor], names: Collection[str] | None = None
) -> tuple[VisionLanguageModel, Trainable]:
    """A copy of the model of which weights of the visual encoder are to be trained, and which those are.

    `names` are those of parameters of the visual encoder; all of them, if not given.
    """
    network = copy.deepcopy(model.network).eval()
    named = dict(network.get_submodule("visual").named_parameters())
    weights = [parameter for name, parameter in named.items() if names is None or name in names]
    for weight in weights:
        weight.requires_grad_(True)
    buffers = [(network.get_buffer(name), value) for name, value in statistics.items()]
    return model.with_network(network), Trainable(parameters=weights, scaled=weights, statistics=buffers)


def encoder_state(network: torch.nn.Module) -> dict[str, np.ndarray]:
    state = network.get_submodule("visual").state_dict()
    return {name: np.array(tensor.detach().cpu(), order="C") for name, tensor in state.items()}

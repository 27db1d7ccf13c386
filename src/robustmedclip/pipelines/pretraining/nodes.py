"""Nodes of the pretraining."""

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from robustmedclip import phantoms
from robustmedclip.images.sets import ImageSet

_CAPTIONS_PER_CLASS = 2
_CARD_IMAGES = 300


def draw_corpus(parameters: dict[str, Any], anatomy: str) -> ImageSet:
    """Draw the training images of one anatomy, the same number from each domain."""
    module, domains = phantoms.ANATOMIES[anatomy], parameters["domains"]
    per_domain = parameters["images"][anatomy] // len(domains)
    ids = np.array([f"{domain}/{index:06d}" for domain in domains for index in range(per_domain)])
    labels = np.arange(len(ids), dtype=np.int64) % len(module.CLASSES)
    images = [
        phantoms.draw_phantoms(
            anatomy,
            ids[part],
            labels[part],
            size=parameters["size"],
            seed=parameters["seed"],
            domain=phantoms.DOMAINS[domain],
        )
        for domain, part in zip(domains, np.split(np.arange(len(ids)), len(domains)), strict=True)
    ]
    return ImageSet.validated(
        name=anatomy,
        split="train",
        modality=module.MODALITY,
        class_names=tuple(module.CLASSES),
        images=np.concatenate(images),
        labels=labels,
        sample_ids=ids,
    )


def pretrain_model(parameters: dict[str, Any], *corpora: ImageSet, name: str) -> dict[str, bytes]:
    """Train one model from scratch; its folder (configuration, weights, tokenizer, card) as bytes."""
    import torch

    from robustmedclip.models.open_clip_network import new_open_clip, save_open_clip
    from robustmedclip.models.preprocessing import Preprocessing
    from robustmedclip.pretraining import pretrain, train_tokenizer
    from robustmedclip.pretraining.captions import all_captions

    torch.manual_seed(parameters["seed"])
    rng = np.random.default_rng(parameters["seed"])
    tokenizer = train_tokenizer(all_captions(), parameters["vocabulary"], parameters["context_length"])
    config = _model_config(name, parameters, len(tokenizer))
    network = new_open_clip(config)
    side = config["vision_cfg"]["image_size"]
    preprocessing = Preprocessing(size=(side, side), mean=(0.5,) * 3, std=(0.25,) * 3)
    starts = np.cumsum([0, *map(len, corpora)])
    offsets = np.cumsum([0, *(len(corpus.class_names) for corpus in corpora)])
    groups = np.concatenate([corpus.labels + offset for corpus, offset in zip(corpora, offsets)])

    def pixels(batch: np.ndarray) -> torch.Tensor:
        places = np.searchsorted(starts, batch, side="right") - 1
        images = [corpora[place].images[index - starts[place]] for index, place in zip(batch, places, strict=True)]
        return preprocessing(np.stack([np.broadcast_to(image, (*image.shape[:2], 3)) for image in images]))

    def texts() -> tuple[torch.Tensor, torch.Tensor]:
        sentences = _drawn_captions(corpora, rng)
        length = parameters["context_length"]
        encoded = tokenizer(sentences, padding="max_length", truncation=True, max_length=length, return_tensors="pt")
        return encoded.input_ids, torch.arange(int(offsets[-1])).repeat_interleave(_CAPTIONS_PER_CLASS)

    losses = pretrain(
        network,
        pixels,
        texts,
        groups,
        epochs=parameters["epochs"],
        batch_size=parameters["batch_size"],
        learning_rate=parameters["learning_rate"],
        weight_decay=parameters["weight_decay"],
        seed=parameters["seed"],
    )
    with tempfile.TemporaryDirectory() as folder:
        save_open_clip(Path(folder), network, config, preprocessing)
        tokenizer.save_pretrained(folder)
        (Path(folder) / "README.md").write_text(_card(name, Path(folder), parameters, len(groups), losses))
        return {file.name: file.read_bytes() for file in sorted(Path(folder).iterdir())}


def _model_config(name: str, parameters: dict[str, Any], vocabulary: int) -> dict[str, Any]:
    """open_clip's ``model_cfg`` of a model, with a tokenizer of so many tokens."""
    from robustmedclip.pretraining.tokenizer import END_ID, PAD_ID

    architecture = parameters["models"][name]
    return {
        **architecture,
        "text_cfg": {
            **architecture["text_cfg"],
            "context_length": parameters["context_length"],
            "vocab_size": vocabulary,
            "hf_tokenizer_name": name,
            "pad_id": PAD_ID,
            "eos_id": END_ID,
            "pool_type": "eos",
        },
    }


def _drawn_captions(corpora: Sequence[ImageSet], rng: np.random.Generator) -> list[str]:
    """Two captions of each class of each corpus, class after class."""
    from robustmedclip.pretraining import captions

    return [
        caption
        for corpus in corpora
        for label in range(len(corpus.class_names))
        for caption in captions(corpus.name, label, rng, _CAPTIONS_PER_CLASS)
    ]


def _card(name: str, folder: Path, parameters: dict[str, Any], images: int, losses: list[float]) -> str:
    """Model card, with the zero-shot accuracy on phantoms that the training has not seen."""
    domains = [*parameters["domains"], *(d for d in phantoms.DOMAINS if d not in parameters["domains"])]
    rows = []
    for anatomy, module in phantoms.ANATOMIES.items():
        accuracies = [_zero_shot_accuracy(folder, anatomy, domain, parameters) for domain in domains]
        cells = " | ".join(f"{100 * accuracy:.1f}" for accuracy in accuracies)
        rows.append(f"| {anatomy} | {len(module.CLASSES)} | {100 / len(module.CLASSES):.1f} | {cells} |")
    return "\n".join(
        [
            f"# {name}",
            "",
            "A small CLIP that was trained on synthetic phantoms alone, so that the benchmark runs without any",
            "download. It has seen no patient and no photograph: it is of no clinical use.",
            "",
            f"- **Architecture**: open_clip, see `open_clip_config.json`; {_parameter_count(folder):,} parameters.",
            f"- **Data**: {images:,} phantoms of {parameters['size']} px of five modalities, drawn with seed",
            f"  {parameters['seed']} in the acquisition domains {' and '.join(parameters['domains'])}, with",
            "  captions varied in phrase and sentence. The benchmark's phantoms have another seed and another domain",
            "  (hospital).",
            f"- **Training**: {parameters['epochs']} epochs, batches of {parameters['batch_size']}, AdamW, peak",
            f"  learning rate {parameters['learning_rate']}, weight decay {parameters['weight_decay']}; the loss",
            "  (contrastive, with images of one class as positives of each other, plus a class head) ended at",
            f"  {losses[-1]:.3f} (first epoch {losses[0]:.3f}).",
            "- **Made by**: `kedro run --pipelines pretraining`",
            "",
            f"Zero-shot accuracy in percent, on {_CARD_IMAGES} new phantoms (seed {parameters['seed'] + 1}) per",
            'modality and domain, with the prompt "a {modality} image showing {class name}":',
            "",
            f"| phantoms | classes | chance | {' | '.join(domains)} |",
            f"| --- | ---: | ---: |{' ---: |' * len(domains)}",
            *rows,
            "",
        ]
    )


def _zero_shot_accuracy(folder: Path, anatomy: str, domain: str, parameters: dict[str, Any]) -> float:
    import torch

    from robustmedclip.models.interface import zero_shot_classifier
    from robustmedclip.models.open_clip import load_open_clip

    module = phantoms.ANATOMIES[anatomy]
    labels = np.arange(_CARD_IMAGES) % len(module.CLASSES)
    images = phantoms.draw_phantoms(
        anatomy,
        [f"card/{domain}/{index}" for index in range(len(labels))],
        labels,
        size=parameters["size"],
        seed=parameters["seed"] + 1,
        domain=phantoms.DOMAINS[domain],
    )
    model = load_open_clip(f"local-dir:{folder}")
    classifier = zero_shot_classifier(
        model, list(module.CLASSES), ["a {modality} image showing {class_name}"], module.MODALITY
    )
    with torch.inference_mode():
        features = model.encode_image(model.preprocess(images))
    return float(((features @ classifier.T).argmax(1).numpy() == labels).mean())


def _parameter_count(folder: Path) -> int:
    from safetensors import safe_open

    with safe_open(folder / "open_clip_model.safetensors", "pt") as weights:
        return sum(int(np.prod(weights.get_slice(key).get_shape())) for key in weights.keys())

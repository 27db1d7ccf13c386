"""Pretraining: the loss, the tokenizer, and that a tiny training learns and is written whole."""

import json

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from robustmedclip.phantoms import ANATOMIES
from robustmedclip.pipelines.pretraining.nodes import draw_corpus, pretrain_model
from robustmedclip.pretraining import captions, contrastive_loss, train_tokenizer
from robustmedclip.pretraining.captions import all_captions
from robustmedclip.pretraining.tokenizer import END_ID, PAD_ID


def unit(*shape: int) -> torch.Tensor:
    return F.normalize(torch.randn(*shape, generator=torch.Generator().manual_seed(0)), dim=-1)


def test_with_one_pair_per_group_the_loss_is_that_of_clip():
    images, texts, scale = unit(6, 8), unit(6, 8).flip(0), torch.tensor(10.0)
    logits, pairs = scale * images @ texts.T, torch.arange(6)
    expected = (F.cross_entropy(logits, pairs) + F.cross_entropy(logits.T, pairs)) / 2
    torch.testing.assert_close(contrastive_loss(images, texts, pairs, pairs, scale), expected)


def test_texts_without_an_image_are_negatives_only():
    images, texts, scale = unit(2, 8), unit(3, 8), torch.tensor(10.0)
    loss = contrastive_loss(images, texts, torch.tensor([0, 1]), torch.tensor([0, 1, 2]), scale)
    logits = scale * images @ texts.T
    expected = (F.cross_entropy(logits, torch.arange(2)) + F.cross_entropy(logits.T[:2], torch.arange(2))) / 2
    torch.testing.assert_close(loss, expected)


def test_every_text_can_be_encoded():
    tokenizer = train_tokenizer(all_captions(), 512, 40)
    assert max(len(tokenizer(text).input_ids) for text in all_captions()) <= 40
    encoded = tokenizer(["Zürich µ 漢字", "x " * 100], padding="max_length", truncation=True, max_length=40).input_ids
    assert [ids.count(END_ID) for ids in encoded] == [1, 1]
    assert encoded[0][-1] == PAD_ID and encoded[1][-1] == END_ID


def test_captions_speak_of_their_class():
    rng = np.random.default_rng(0)
    for caption in captions("oct", 2, rng, 20):
        assert any(phrase in caption for phrase in ANATOMIES["oct"].CLASSES["drusen"])
    assert len(set(captions("oct", 2, rng, 20))) > 5


@pytest.mark.parametrize(
    "vision",
    [
        {"patch_size": 8, "width": 32, "head_width": 16, "layers": 1},
        {"width": 8, "head_width": 16, "layers": [1, 1, 1, 1]},
    ],
)
def test_a_tiny_training_is_written_whole(vision, monkeypatch):
    monkeypatch.setattr("robustmedclip.pipelines.pretraining.nodes._CARD_IMAGES", 8)
    parameters = {
        "seed": 1,
        "images": {"oct": 40, "blood": 40},
        "domains": ["web", "archive"],
        "size": 32,
        "vocabulary": 300,
        "context_length": 80,
        "epochs": 2,
        "batch_size": 20,
        "learning_rate": 0.003,
        "weight_decay": 0.05,
        "models": {
            "tiny": {
                "embed_dim": 16,
                "vision_cfg": {"image_size": 32, **vision},
                "text_cfg": {"width": 32, "heads": 2, "layers": 1},
            }
        },
    }
    corpora = [draw_corpus(parameters, anatomy) for anatomy in ("oct", "blood")]
    files = pretrain_model(parameters, *corpora, name="tiny")
    assert {"open_clip_config.json", "open_clip_model.safetensors", "tokenizer.json", "README.md"} <= set(files)
    assert json.loads(files["open_clip_config.json"])["model_cfg"]["embed_dim"] == 16
    card = files["README.md"].decode()
    assert "2 epochs" in card and "| oct | 4 | 25.0 |" in card

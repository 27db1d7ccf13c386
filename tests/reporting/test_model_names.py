"""What models are called where people read of them."""

import pandas as pd

from robustmedclip.reporting.interactive import dumbbell_chart
from robustmedclip.reporting.model_names import model_names, renamed

METRICS = pd.DataFrame(
    [
        ("clip", "clip", "zero-shot", None, None),
        ("clip_lora_k10", "clip", "lora", 0.1, None),
        ("clip_probe_4shot", "clip", "probe", None, 4),
        ("clip_ensemble", "clip", "ensemble", None, None),
    ],
    columns=["model", "base", "adaptation", "fraction", "shots"],
).astype({"shots": "Int64"})


def test_a_name_says_base_adaptation_and_labels():
    names = ["clip", "clip + lora (10 %)", "clip + probe (4 of each class)", "clip + ensemble"]
    assert list(model_names(METRICS).values()) == names


def test_models_that_would_have_one_name_keep_theirs():
    alike = pd.concat([METRICS, METRICS.iloc[[1]].assign(model="clip_other")])
    names = model_names(alike)
    assert names["clip_lora_k10"] == "clip_lora_k10" and names["clip_other"] == "clip_other"


def test_names_change_in_pairs_too_and_names_that_are_not_known_stay():
    pairs = pd.DataFrame({"model": ["clip"], "other": ["clip_lora_k10"], "p": [0.1]})
    assert renamed(pairs, model_names(METRICS)).to_dict("records") == [
        {"model": "clip", "other": "clip + lora (10 %)", "p": 0.1}
    ]


def ends(clean: float, corrupted: float) -> dict[str, str]:
    """How the words at the ends of the first line are anchored."""
    board = pd.DataFrame({"model": ["clip"], "base": ["clip"], "training_images": [None]})
    for name, value in (("clean_error", clean), ("corrupted_error", corrupted)):
        board[[name, f"{name}_low", f"{name}_high"]] = value, value - 1, value + 1
    metrics = pd.DataFrame({"model": ["clip"], "adaptation": ["zero-shot"]})
    notes = dumbbell_chart(board, metrics, chance=70).layout.annotations
    return {note.text: note.xanchor for note in notes if note.text != "guess"}


def test_the_words_above_a_short_line_stand_beside_each_other():
    assert ends(30, 60) == {"clean": "center", "corrupted": "center"}
    assert ends(30, 31) == {"clean": "right", "corrupted": "left"}
    assert ends(31, 30) == {"corrupted": "right", "clean": "left"}

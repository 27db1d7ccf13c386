"""Methods as objects: known without torch, and their entries say what differs from the defaults."""

import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
import yaml

from robustmedclip.adaptation.methods import METHODS, Method
from robustmedclip.plugins import plugged_in
from robustmedclip.reporting.leaderboard import labelled_images

ENTRIES = yaml.safe_load((Path(__file__).parents[2] / "conf/base/parameters/methods.yml").read_text())["methods"]


def test_methods_are_known_without_torch_peft_and_scikit_learn():
    modules = {path.rpartition(".")[0] for path in METHODS.values()}
    code = (
        f"import sys, {', '.join(sorted(modules))}; print({{'torch', 'peft', 'sklearn', 'kedro'}} & set(sys.modules))"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "set()"


@pytest.mark.parametrize("name", METHODS)
def test_a_method_has_defaults_and_says_what_it_needs(name):
    method = plugged_in(name, METHODS, "method")()
    assert method.needs_labels == (method.artefact_kind is not None)
    assert method.scores_features == (method.artefact_kind != "adapter")
    assert method.needs_labels or not method.needs_validation
    assert not method.needs_test_images


@pytest.mark.parametrize("name", ENTRIES)
def test_an_entry_repeats_no_default(name):
    settings = {key: value for key, value in ENTRIES[name].items() if key not in ("type", "authors")}
    method_class = plugged_in(ENTRIES[name]["type"], METHODS, "method")
    method, defaults = method_class(**settings), method_class()
    assert not [key for key in settings if getattr(method, key) == getattr(defaults, key)]


def test_a_method_that_changes_nothing_is_zero_shot():
    assert Method().prompts(["a {class_name}"]) == ["a {class_name}"] and Method().check(None) == []


def test_the_test_images_choose_where_the_study_lets_them():
    method = plugged_in("lora", METHODS, "method")(**ENTRIES["lora"]["authors"])
    assert method.needs_test_images and not method.needs_validation


def test_a_method_that_chooses_nothing_by_validation_images_may_learn_from_them_and_tables_count_them_so():
    roles = ["training"] * 5 + ["validation"] * 3
    rows = [(f"vit_{adaptation}", adaptation) for adaptation in ("probe", "robust", "half", "clap")]
    methods = {
        "probe": plugged_in("linear_probe", METHODS, "method")(),
        "robust": plugged_in("robust_ensemble", METHODS, "method")(),
        "half": plugged_in("robust_probe", METHODS, "method")(validation="unused"),
        "clap": plugged_in("clap", METHODS, "method")(),
    }
    counts = labelled_images(
        pd.DataFrame(rows, columns=["model", "adaptation"]),
        {model: pd.DataFrame({"role": roles}) for model, _ in rows},
        {name: method.labelled_roles for name, method in methods.items()},
    )
    assert counts.set_index("model").T.to_dict("list") == {
        "vit_probe": [5, 3],
        "vit_robust": [8, 0],
        "vit_half": [5, 0],
        "vit_clap": [5, 0],
    }

"""Data sets of findings in the plan."""

import pytest

from robustmedclip.errors import InputError
from robustmedclip.pipelines import reporting
from robustmedclip.plan.entries import catalog_entries
from robustmedclip.plan.reading import read_plan

SOURCE = {"type": "robustmedclip.io.FolderDataset", "filepath": "chest"}
METHODS = {"probe": {"type": "linear_probe"}, "cache": {"type": "cache"}}


def plan(data_set=None, **settings):
    chest = {"modality": "X-ray", "source": SOURCE, "task": "findings", "classes": ["edema", "mass"]}
    return read_plan(
        {
            "data_sets": {"chest": chest | (data_set or {})},
            "corruptions": {"suite": "medimeta-c", "names": ["pixelate"]},
            "templates": ["{class_name}"],
            "models": {"clip": {"source": {"type": "open_clip"}}},
            "seeds": [0],
            "baseline": "clip",
            "mce_on": "auroc",
            "methods": METHODS,
        }
        | settings
    )


def test_the_source_is_asked_for_findings_which_are_scored_by_pairs_unless_it_is_said():
    (chest,) = plan().data_sets
    assert chest.scoring == "pair" and plan({"scoring": "margin"}).data_sets[0].scoring == "margin"
    assert catalog_entries(plan(), "/project")["raw-chest"]["findings"] is True
    assert "findings" in reporting.create_pipeline(plan()).all_outputs()
    classes = plan({"task": "classes"}, mce_on=None)
    assert "findings" not in catalog_entries(classes, "/project")["raw-chest"]
    assert "findings" not in reporting.create_pipeline(classes).all_outputs()


def test_what_findings_are_compared_with_may_have_synonyms():
    plan({"synonyms": {"no edema": ["dry lungs"]}})
    plan({"synonyms": {"no finding": ["clear lungs"]}, "scoring": "margin"})
    with pytest.raises(InputError, match="unknown 'no finding'"):
        plan({"synonyms": {"no finding": ["clear lungs"]}})


@pytest.mark.parametrize(
    ("data_set", "settings", "problem"),
    [
        ({}, {"mce_on": None}, "mce_on: missing. Of findings that few images have, as chest may have"),
        ({}, {"mce_on": "precision"}, "mce_on: expected one of error, balanced_accuracy, auroc.*found 'precision'"),
        ({"scoring": "triple"}, {}, "scoring: expected one of pair, margin"),
        ({"task": "classes", "scoring": "pair"}, {}, "set 'task: findings', or leave it out"),
        ({"task": "classes", "classes": ["edema"]}, {}, "at least two different class names"),
        ({"subgroup": ["sex"]}, {}, "findings are not compared by subgroup"),
        (
            {"corruptions": {"suite": "medimeta-c", "names": ["pixelate"], "released": "c"}},
            {},
            "one label per image, and findings several",
        ),
        (
            {},
            {"adaptations": {"tip": {"method": "cache", "models": "all", "fractions": [0.1]}}},
            "adaptations.tip: 'cache' chooses one class for an image, and an image of chest may have several findings",
        ),
    ],
)
def test_what_does_not_fit_findings_is_refused_in_words(data_set, settings, problem):
    with pytest.raises(InputError, match=problem):
        plan(data_set, **settings)


def test_a_probe_may_be_fitted_to_one_finding_alone():
    fitted = plan(
        {"classes": ["edema"]}, adaptations={"probe": {"method": "probe", "models": "all", "fractions": [0.1]}}
    )
    assert fitted.data_sets[0].class_names == ("edema",)

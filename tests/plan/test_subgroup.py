"""Subgroups in the plan: who reads them, and when."""

from robustmedclip.pipelines import reporting
from robustmedclip.plan.entries import catalog_entries
from robustmedclip.plan.reading import read_plan

SOURCE = {"type": "robustmedclip.io.PhantomDataset"}


def plan(**data_set):
    return read_plan(
        {
            "data_sets": {
                "chest": {"modality": "X-ray", "source": SOURCE, **data_set},
                "hand": {"modality": "X-ray", "source": SOURCE},
            },
            "corruptions": {"suite": "medimeta-c", "names": ["pixelate"]},
            "templates": ["{class_name}"],
            "models": {"clip": {"source": SOURCE}},
            "seeds": [0],
            "baseline": "clip",
        }
    )


def test_the_source_is_asked_for_subgroups_and_only_its_data_set_is_compared():
    divided = plan(subgroup=["sex", "scanner"])
    entries = catalog_entries(divided, "/project")
    assert entries["raw-chest"]["subgroup"] == ["sex", "scanner"] and "subgroup" not in entries["raw-hand"]
    graph = reporting.create_pipeline(divided)
    (compared,) = [node for node in graph.nodes if node.short_name == "compare_subgroups"]
    assert {*compared.inputs} == {"logits-clip-chest", "test-chest"}


def test_without_subgroups_there_is_no_such_table():
    assert "subgroups" not in reporting.create_pipeline(plan()).all_outputs()

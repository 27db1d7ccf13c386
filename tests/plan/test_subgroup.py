"""Subgroups in the plan: who reads them, and when."""

from small_benchmark import PHANTOM

from robustmedclip.io import FolderDataset
from robustmedclip.pipeline_registry import pipelines_of
from robustmedclip.pipelines import reporting
from robustmedclip.plan.entries import catalog_entries
from robustmedclip.plan.reading import read_plan
from robustmedclip.run.fingerprints import expected_fingerprints

MODEL = {"type": "open_clip", "path": "clip"}


def plan(**data_set):
    return read_plan(
        {
            "data_sets": {
                "chest": {"modality": "X-ray", "source": PHANTOM, **data_set},
                "hand": {"modality": "X-ray", "source": PHANTOM},
            },
            "corruptions": {"suite": "medimeta-c", "names": ["pixelate"]},
            "templates": ["{class_name}"],
            "models": {"clip": {"source": MODEL}},
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
    assert {*compared.inputs} == {"logits-clip-chest", "test-chest", "groups-chest"}


def test_other_subgroups_make_nothing_stale_but_their_tables():
    def fingerprints(*subgroup: str) -> dict[str, str]:
        source = FolderDataset(name="chest", modality="X-ray", filepath="chest", subgroup=subgroup)
        graph = pipelines_of(plan(subgroup=list(subgroup)), [])["benchmark"]
        return expected_fingerprints(graph, lambda name: source.signature() if name == "raw-chest" else name)

    before, after = fingerprints("sex"), fingerprints("sex", "scanner")
    assert before.keys() == after.keys()
    stale = {name for name in before if before[name] != after[name]}
    assert stale == {"groups-chest", "subgroups", "tables", "report", "report_page"}


def test_without_subgroups_there_is_no_such_table():
    assert "subgroups" not in reporting.create_pipeline(plan()).all_outputs()

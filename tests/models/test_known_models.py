"""The page of known models: the plan takes every entry, and every model that it names in a table has one."""

from pathlib import Path

import pytest
import yaml
from shown import blocks
from small_benchmark import PHANTOM

from robustmedclip.models.formats import model_format
from robustmedclip.plan.reading import read_plan

ROOT = Path(__file__).parents[2]
BLOCKS = [yaml.safe_load(text)["models"] for text in blocks("docs/known-models.md", "yaml")]
METHODS = yaml.safe_load((ROOT / "conf/base/parameters/methods.yml").read_text())


def test_the_plan_takes_every_entry():
    plan = read_plan(
        METHODS
        | {
            "data_sets": {"oct": {"modality": "OCT", "source": PHANTOM}},
            "corruptions": {"suite": "medimeta-c", "names": ["pixelate"]},
            "templates": ["{class_name}"],
            "models": {name: entry for block in BLOCKS for name, entry in block.items()},
            "adaptations": {"probe": {"method": "linear-probe", "models": "all", "shots": [1]}},
            "seeds": [0],
            "baseline": "clip",
        }
    )
    assert set(plan.vision_only) == set(BLOCKS[1])
    assert plan.licences["fetalclip"] == "CC BY-NC"


@pytest.mark.parametrize("entry", [entry for block in BLOCKS for entry in block.values()], ids=str)
def test_every_source_is_described_as_its_format_takes_it(entry):
    source = model_format(entry["source"], str(ROOT))
    assert all(path.startswith(str(ROOT)) for path in source.paths())

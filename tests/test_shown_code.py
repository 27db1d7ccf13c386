"""The Python and the YAML that README and docs show are run, or read as the file that they are for.

Those of the how-to pages and of the known models have tests of their own.
"""

from io import StringIO
from pathlib import Path

import numpy as np
import open_clip
import pandas as pd
import pytest
import yaml
from PIL import Image
from projects import ROOT, Project
from published import CLIP_CONFIGS, randomised, write_clip
from released_collections import medmnist_arrays
from shown import PAGES, blocks

from robustmedclip.benchmark import benchmark
from robustmedclip.corruptions import Corruption, Suite, corrupt
from robustmedclip.plan.reading import read_plan
from robustmedclip.run.distributed.settings import read_distributed

pytestmark = pytest.mark.slow

PLAIN = [page for page in PAGES if "how-to/" not in page and "known-models" not in page]
SETTINGS = [(page, text) for page in PLAIN for text in blocks(page, "yaml")]
BASE = {
    **yaml.safe_load((ROOT / "conf/base/benchmark.yml").read_text(encoding="utf-8")),
    **yaml.safe_load((ROOT / "conf/base/parameters/methods.yml").read_text(encoding="utf-8")),
}
OCT = BASE["data_sets"]["phantom_oct"]


@pytest.mark.parametrize(("page", "text"), SETTINGS)
def test_settings_of_a_page_are_taken(page, text):
    settings = yaml.safe_load(text)
    if "cluster" in settings:
        assert read_distributed(settings).cluster.workers
    elif "data" in settings:
        assert settings.keys() == yaml.safe_load((ROOT / "conf/base/globals.yml").read_text()).keys()
    else:
        data_sets = {name: OCT | entry for name, entry in settings.get("data_sets", {}).items()}
        clinics = dict.fromkeys(("clinic_a", "clinic_b"), OCT)
        methods = {
            name: BASE["methods"].get(name, {}) | entry
            for name, entry in {**BASE["methods"], **settings.get("methods", {})}.items()
        }
        changed = {"data_sets": {**BASE["data_sets"], **clinics, **data_sets}, "methods": methods}
        assert read_plan({**BASE, **settings, **changed})


@pytest.fixture
def run(tmp_path, monkeypatch):
    """Runs the nth Python block of a page in an empty folder, with the names that it takes as given."""
    monkeypatch.chdir(tmp_path)

    def namespace(page: str, index: int, **names) -> dict:
        exec(blocks(page, "python")[index], names)  # noqa: S102 - the page's own
        return names

    return namespace


LABELS = np.arange(20) % 2
IMAGES = np.random.default_rng(0).integers(0, 90, (20, 32, 32, 1), np.uint8)
IMAGES[LABELS == 1] += 99


def brightness(batch: np.ndarray) -> np.ndarray:
    return np.stack([95 - batch.mean((1, 2, 3)), batch.mean((1, 2, 3)) - 95], axis=1)


def test_five_lines_make_a_report(run, tmp_path):
    code = blocks("docs/library.md", "python")[0]
    assert len([line for line in code.splitlines() if line]) <= 5
    run("docs/library.md", 0, images=IMAGES, labels=LABELS, mine=brightness, other=lambda batch: -brightness(batch))
    assert (tmp_path / "report/report.html").exists()


def test_models_of_open_clip_and_of_the_package_are_classifiers(run, tmp_path, monkeypatch):
    def small(*_, **__):
        return randomised(open_clip.CLIP(**CLIP_CONFIGS["vit"])), None, open_clip.image_transform(32, False)

    monkeypatch.setattr(open_clip, "create_model_and_transforms", small)
    names = run("docs/library.md", 1, open_clip=open_clip)
    assert names["mine"](IMAGES).shape == (20, 2)
    (tmp_path / "data/06_models").mkdir(parents=True)
    write_clip(tmp_path / "data/06_models/biomedclip", "vit")
    names = run("docs/library.md", 2, np=np)
    assert names["mine"](IMAGES).shape == (20, 2)


def test_images_are_corrupted_and_scored_by_the_functions_of_the_rooms(run):
    blood = np.random.default_rng(0).integers(0, 256, (2, 64, 64, 3), np.uint8)
    names = run("src/robustmedclip/corruptions/README.md", 0, images=blood)
    assert names["noisy"].shape == names["stained"].shape == blood.shape
    models = {"clip": brightness, "other": lambda batch: -brightness(batch)}
    runs = benchmark(models, IMAGES, LABELS, ["dark", "bright"], corruptions=["pixelate"], resamples=20).logits
    names = run("src/robustmedclip/metrics/README.md", 0, logits=runs[0].logits, labels=LABELS, runs=runs)
    assert set(names["scores"].metrics["model"]) == {"clip", "other"}


def test_the_further_code_of_the_page_on_suites_runs(run):
    names = run("docs/how-to/suite.md", 0)
    assert run("docs/how-to/suite.md", 1, **names)
    side_light = run("docs/how-to/suite.md", 2)["side_light"]
    suite = Suite(
        name="lights", source="ours", lists={None: {"side": Corruption(side_light, (0.1, 0.2, 0.3, 0.4, 0.5))}}
    )
    assert (corrupt(IMAGES, "side", 5, suite=suite, seed=0) <= IMAGES).all()


def test_data_sets_of_the_pages_are_read_from_files_as_described(run, tmp_path, monkeypatch):
    project = Project(tmp_path / "study")
    (project.folder / "data/01_raw").mkdir(parents=True)
    monkeypatch.chdir(project.folder)
    plan = {}
    for page in ("README.md", "docs/your-data.md", "docs/your-clinic.md"):
        for settings in map(yaml.safe_load, blocks(page, "yaml")):
            plan |= settings | {"data_sets": {**plan.get("data_sets", {}), **settings.get("data_sets", {})}}
    for name in ("my_ultrasound", "my_blood_cells"):
        draw(Path("data/01_raw") / name, plan["data_sets"][name]["classes"])
    np.savez("data/01_raw/breastmnist.npz", **medmnist_arrays("breastmnist"))
    for index in range(len(blocks("docs/your-clinic.md", "python"))):
        run("docs/your-clinic.md", index)
    project.configure({"data_sets": plan["data_sets"], "mce_on": plan["mce_on"], "adaptations": {}})
    done = project.run("--pipelines", "ingestion")
    assert done.returncode == 0, done.stderr
    cards = {path.name.removesuffix(".json") for path in project.folder.glob("data/02_intermediate/cards/*")}
    assert cards == {"my_ultrasound", "my_blood_cells", "breast_clinic", "chest"}


def draw(folder: Path, classes: list[str], count: int = 24) -> None:
    """Images in the folder ``images``, and the CSV that the README shows, with these classes."""
    (folder / "images").mkdir(parents=True)
    rng, table = np.random.default_rng(0), pd.read_csv(StringIO(blocks("README.md", "")[0]), nrows=0)
    table["file"] = [f"images/{index:04}.png" for index in range(count)]
    for file in table["file"]:
        Image.fromarray(rng.integers(0, 256, (40, 50), np.uint8)).save(folder / file)
    table["label"] = np.resize(classes, count)
    table["split"] = np.where(np.arange(count) < 16, "train", "test")
    table.to_csv(folder / "labels.csv", index=False)
